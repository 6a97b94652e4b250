//! `homing revoke --local`: a device is denied at this host at once, whether or not the coordinator
//! can be reached.

use homing_certs::{NodeId, ReasonCode};

use super::AgentHandle;
use crate::denied::{self, DeniedError, SelectError};
use crate::store::StoreError;
use crate::updates::FLUSH;

/// Most devices that are looked through for the start of a key.
const MAX_LISTED: usize = 10_000;

/// Why a device was not denied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DenyError {
    /// The text does not name one device.
    #[error("{0}")]
    Select(SelectError),
    /// The devices that were here cannot be read.
    #[error("the agent's device list cannot be read")]
    Store(#[source] StoreError),
    /// The device is cut off, but a restart of the agent would forget it.
    #[error("the device is cut off until the agent restarts, but the denial could not be written")]
    Keep(#[source] DeniedError),
}

impl AgentHandle {
    /// Denies a device by its NodeId, or the start of one that was here, and cuts it off. In the
    /// order of a revocation: refuse, cut, write.
    ///
    /// # Errors
    /// [`DenyError`].
    pub async fn deny(&self, selector: &str) -> Result<NodeId, DenyError> {
        // A whole key needs no database: a disk that fails must not keep a device in.
        let node_id = match selector.parse() {
            Ok(node_id) => node_id,
            Err(_) => self.select(selector).await?,
        };
        self.state.denied.insert(node_id);
        self.registry.cut(&node_id);
        let denied = self.state.denied.clone();
        let save = tokio::task::spawn_blocking(move || denied.save());
        let close = async {
            tokio::time::sleep(FLUSH).await;
            self.registry.refuse(&node_id, ReasonCode::Forbidden, None);
        };
        let (kept, (), ()) = tokio::join!(save, close, self.state.device_revoked(node_id));
        match kept {
            Ok(kept) => kept.map_err(DenyError::Keep)?,
            Err(_) => return Err(DenyError::Store(StoreError::Closed)),
        }
        Ok(node_id)
    }

    async fn select(&self, prefix: &str) -> Result<NodeId, DenyError> {
        let seen = self.state.store.devices(None, None, MAX_LISTED).await;
        let seen = seen.map_err(DenyError::Store)?;
        denied::select(prefix, &seen).map_err(DenyError::Select)
    }
}
