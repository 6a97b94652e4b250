//! The device in whose name a turn runs, with the rights that it had when it spoke.

use homing_certs::{NodeId, Scopes, UserId};
use homing_protocol::text;
use serde::{Deserialize, Serialize};

/// Stored with the turn, so that a turn that waited through a restart has no more rights than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    /// The device's key.
    #[serde(with = "text::plain")]
    pub node_id: NodeId,
    /// Whose it is.
    #[serde(with = "text::plain")]
    pub user_id: UserId,
    /// That user's handle.
    pub handle: String,
    /// Role.
    pub role: String,
    /// Effective scopes.
    pub scopes: Vec<String>,
    /// `direct` or `relay`.
    pub path: String,
}

impl Speaker {
    /// The effective scopes. None when what was stored is not a list of scopes.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        Scopes::new(self.scopes.iter().cloned()).unwrap_or_default()
    }
}
