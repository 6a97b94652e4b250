//! Revocations that an admin's device asks this agent for: passed on to the coordinator under the agent's
//! own certificate, with the name of the device that asked.
//!
//! Whether they happen is the coordinator's to say. Who may ask here is the gateway's.

use std::sync::{Arc, Mutex, PoisonError};

use homing_certs::NodeId;
use homing_protocol::ErrorBody;
use homing_protocol::control::{ControlReply, ControlRequest, RevokedInfo};
use homing_transport::controlling::{ControlClient, ControlError};

/// Longest name or key of a device that is passed on, in bytes: a key has 64, a name no more.
const MAX_SELECTOR: usize = 64;

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// This is no name or key.
    #[error(
        "a device is named by 1 to {MAX_SELECTOR} bytes: its name, or the beginning of its key"
    )]
    BadSelector,
    /// The coordinator cannot be reached, or this agent has no line to it.
    #[error("the coordinator cannot be asked now")]
    Unreachable(#[source] Option<ControlError>),
    /// The coordinator said no.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
    /// It answered something else.
    #[error("the coordinator answered what was not asked")]
    Unexpected,
}

/// The line to the coordinator, while there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Revoking {
    control: Arc<Mutex<Option<Arc<ControlClient>>>>,
}

impl Revoking {
    /// From now on through this client; `None` for not at all.
    pub fn through(&self, control: Option<Arc<ControlClient>>) {
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = control;
    }

    /// Asks the coordinator to revoke a device everywhere, for `principal`.
    ///
    /// # Errors
    /// [`RevokeError`]. When the coordinator could not be heard, the device may be revoked nevertheless;
    /// doing it again is no mistake.
    pub async fn revoke(
        &self,
        principal: NodeId,
        device: String,
        with_invited: bool,
    ) -> Result<RevokedInfo, RevokeError> {
        if device.is_empty() || device.len() > MAX_SELECTOR {
            return Err(RevokeError::BadSelector);
        }
        let control = self
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let control = control.ok_or(RevokeError::Unreachable(None))?;
        let request = ControlRequest::Revoke {
            device,
            with_invited,
            on_behalf_of: Some(principal),
        };
        match control.request(&request).await {
            Ok(ControlReply::Revoked(info)) => Ok(info),
            Ok(_) => Err(RevokeError::Unexpected),
            Err(ControlError::Answer(body)) => Err(RevokeError::Refused(body)),
            Err(error) => Err(RevokeError::Unreachable(Some(error))),
        }
    }
}
