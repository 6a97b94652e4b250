//! Live connections by device key, so that a revoked device can be cut everywhere at once.
//!
//! A connection is registered before it is checked: whichever of the two races, the revocation
//! either finds it here or the check finds the revocation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_certs::{NodeId, ReasonCode};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, WeakConnection};

/// Most live connections of one device; a phone that changes networks leaves a few dying ones.
pub const MAX_CONNECTIONS_PER_DEVICE: usize = 8;

/// The map. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    devices: Arc<Mutex<HashMap<NodeId, Vec<Entry>>>>,
}

#[derive(Debug)]
struct Entry {
    id: usize,
    connection: WeakConnection,
    cut: CancellationToken,
}

/// Keeps a connection in the map; dropping it takes it out.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    node_id: NodeId,
    id: usize,
    cut: CancellationToken,
}

/// A device has too many live connections.
#[derive(Debug, thiserror::Error)]
#[error("the device has {MAX_CONNECTIONS_PER_DEVICE} live connections already")]
pub struct TooManyConnections;

impl Registry {
    /// Adds a connection under its peer's key.
    ///
    /// # Errors
    /// [`TooManyConnections`]; dead ones are dropped first.
    pub fn register(&self, connection: &Connection) -> Result<Registration, TooManyConnections> {
        let node_id = connection.peer();
        let cut = CancellationToken::new();
        let id = connection.stable_id();
        let mut devices = self.lock();
        let entries = devices.entry(node_id).or_default();
        entries.retain(|entry| entry.connection.upgrade().is_some());
        if entries.len() >= MAX_CONNECTIONS_PER_DEVICE {
            return Err(TooManyConnections);
        }
        entries.push(Entry {
            id,
            connection: connection.weak(),
            cut: cut.clone(),
        });
        Ok(Registration {
            registry: self.clone(),
            node_id,
            id,
            cut,
        })
    }

    /// Tells everything that serves this device to stop. The connections stay open for the moment
    /// that close frames of WebSockets need; [`Registry::close`] ends them.
    pub fn cut(&self, node_id: &NodeId) -> usize {
        let devices = self.lock();
        let entries = devices.get(node_id).map(Vec::as_slice).unwrap_or_default();
        for entry in entries {
            entry.cut.cancel();
        }
        entries.len()
    }

    /// Closes all connections of this device with `revoked` and the signed entry.
    pub fn close(&self, node_id: &NodeId, proof: Option<&[u8]>) -> usize {
        self.refuse(node_id, ReasonCode::Revoked, proof)
    }

    /// Closes all connections of this device with a reason; `proof` goes with `revoked` alone.
    pub fn refuse(&self, node_id: &NodeId, reason: ReasonCode, proof: Option<&[u8]>) -> usize {
        let connections: Vec<Connection> = {
            let devices = self.lock();
            let entries = devices.get(node_id).map(Vec::as_slice).unwrap_or_default();
            entries
                .iter()
                .filter_map(|entry| entry.connection.upgrade())
                .collect()
        };
        for connection in &connections {
            connection.refuse(reason, proof);
        }
        connections.len()
    }

    /// Closes the connections of all devices with a reason.
    pub fn refuse_all(&self, reason: ReasonCode) {
        let connections: Vec<Connection> = {
            let devices = self.lock();
            devices
                .values()
                .flatten()
                .filter_map(|entry| entry.connection.upgrade())
                .collect()
        };
        for connection in &connections {
            connection.refuse(reason, None);
        }
    }

    /// Whether the device has a live connection.
    #[must_use]
    pub fn is_online(&self, node_id: &NodeId) -> bool {
        let devices = self.lock();
        devices.get(node_id).is_some_and(|entries| {
            entries
                .iter()
                .any(|entry| entry.connection.upgrade().is_some())
        })
    }

    /// Number of registered connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Vec<Entry>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Cancelled when the device is cut.
    #[must_use]
    pub fn cut_token(&self) -> CancellationToken {
        self.cut.clone()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut devices = self.registry.lock();
        if let Some(entries) = devices.get_mut(&self.node_id) {
            entries.retain(|entry| entry.id != self.id);
            if entries.is_empty() {
                devices.remove(&self.node_id);
            }
        }
    }
}
