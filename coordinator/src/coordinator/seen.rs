//! Who was connected since the last write to the database.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use homing_certs::NodeId;

/// Keys of members only, so it is as small as the device list.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    devices: Mutex<HashSet<NodeId>>,
}

impl Seen {
    pub(crate) fn add(&self, node_id: NodeId) {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node_id);
    }

    pub(crate) fn take(&self) -> Vec<NodeId> {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain()
            .collect()
    }
}
