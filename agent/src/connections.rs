//! Which devices are connected right now: a count per key, for lists and the health report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use homing_certs::NodeId;

/// Counts of live connections.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    counts: Arc<Mutex<HashMap<NodeId, usize>>>,
}

/// One live connection; it counts until it is dropped.
#[derive(Debug)]
pub struct Connected {
    node_id: NodeId,
    connections: Connections,
}

impl Connections {
    /// Counts a connection of a device.
    #[must_use]
    pub fn connected(&self, node_id: NodeId) -> Connected {
        *self.lock().entry(node_id).or_default() += 1;
        Connected {
            node_id,
            connections: self.clone(),
        }
    }

    /// Whether the device has a connection.
    #[must_use]
    pub fn online(&self, node_id: &NodeId) -> bool {
        self.lock().contains_key(node_id)
    }

    /// Connections of all devices.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut counts = self.connections.lock();
        if let Some(count) = counts.get_mut(&self.node_id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.node_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_online_until_its_last_connection_has_gone() {
        let connections = Connections::default();
        let device = NodeId::from([1; 32]);
        let first = connections.connected(device);
        let second = connections.connected(device);
        assert_eq!(connections.count(), 2);
        drop(first);
        assert!(connections.online(&device));
        drop(second);
        assert!(!connections.online(&device));
    }
}
