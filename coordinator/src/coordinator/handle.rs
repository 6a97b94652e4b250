//! The coordinator as the rest of its process sees it: the control socket's requests as the owner's,
//! and what only this host may do.

use std::sync::Arc;

use homing_certs::{NodeId, Role, Scopes};
use homing_protocol::ErrorBody;
use homing_protocol::control::{ControlReply, ControlRequest};
use homing_protocol::gateway::Reach;

use super::Shared;
use crate::authority::{Caller, LocalEnrollment};
use crate::writer::AuthorityHandle;

/// Asks a coordinator of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CoordinatorHandle {
    shared: Arc<Shared>,
}

impl CoordinatorHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Does what a command on this host asks; the caller has proved to be the owner.
    pub async fn request(&self, request: ControlRequest) -> ControlReply {
        self.shared.answer(Caller::Local, 0, request).await
    }

    /// Enrols a key of this host; for the same key again it is a renewal.
    ///
    /// # Errors
    /// What a caller should hear.
    pub async fn enrol_local(
        &self,
        node_id: NodeId,
        name: String,
        role: Role,
        scopes: Scopes,
    ) -> Result<LocalEnrollment, ErrorBody> {
        let now = self.shared.now();
        self.shared
            .ask(move |authority| authority.enrol_local(node_id, &name, role, &scopes, None, now))
            .await
    }

    /// Ends the recovery after a restore and confirms the clock; agents hear at once.
    ///
    /// # Errors
    /// What a caller should hear.
    pub async fn resume(&self, without_newest_log: bool) -> Result<(), ErrorBody> {
        let now = self.shared.now();
        self.shared
            .ask(move |authority| authority.resume(without_newest_log, now))
            .await?;
        self.shared.send_heartbeat().await
    }

    /// Whether nothing is signed until [`CoordinatorHandle::resume`].
    ///
    /// # Errors
    /// What a caller should hear.
    pub async fn is_recovering(&self) -> Result<bool, ErrorBody> {
        self.shared.ask(|authority| authority.is_recovering()).await
    }

    /// Where the coordinator can be dialed.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.shared.endpoint.reach()
    }

    /// Number of live connections of members.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.registry.len()
    }

    /// The authority itself, for what has no method here.
    #[must_use]
    pub fn authority(&self) -> AuthorityHandle {
        self.shared.authority.clone()
    }
}
