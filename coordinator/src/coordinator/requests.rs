//! What each request of `homing/control/1` does, whoever passes it on: a device's stream or the
//! control socket of this host.

use std::time::{Duration, Instant};

use homing_certs::{LogHead, NodeId};
use homing_protocol::control::{ControlReply, ControlRequest, RevokedInfo};
use homing_protocol::{Document, ErrorBody};

use tracing::warn;

use super::{Shared, stopping};
use crate::authority::{Authority, Caller, RevokeCommit};
use crate::moment::Moment;

/// How long a revocation waits for the agents' acknowledgements.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(3);
/// How long a question for notices stays open without one.
pub(crate) const NOTICE_WAIT: Duration = Duration::from_secs(60);

/// A revocation and what has to be known after its commit.
struct Committed {
    commit: RevokeCommit,
    at: Instant,
    head: LogHead,
    agents: Vec<(NodeId, String)>,
    proofs: Vec<(NodeId, Option<Vec<u8>>)>,
}

impl Shared {
    /// Does what was asked. `root_epoch` is the newest root document that the caller holds.
    pub(crate) async fn answer(
        &self,
        caller: Caller,
        root_epoch: u32,
        request: ControlRequest,
    ) -> ControlReply {
        self.try_answer(caller, root_epoch, request)
            .await
            .unwrap_or_else(ControlReply::Error)
    }

    async fn try_answer(
        &self,
        caller: Caller,
        root_epoch: u32,
        request: ControlRequest,
    ) -> Result<ControlReply, ErrorBody> {
        let now = self.now();
        match request {
            ControlRequest::Renew => self.renew(caller, root_epoch, now).await,
            ControlRequest::Devices => {
                let mut list = self.ask(move |authority| authority.devices(caller)).await?;
                for device in &mut list {
                    device.online = self.is_online(&device.node_id);
                }
                Ok(ControlReply::Devices(list))
            }
            ControlRequest::Agents => {
                let mut list = self.ask(move |authority| authority.agents(caller)).await?;
                for agent in &mut list {
                    agent.online = self.replicas.is_online(&agent.reach.node_id);
                }
                Ok(ControlReply::Agents(list))
            }
            ControlRequest::Pending => {
                let list = self
                    .ask(move |authority| authority.pending(caller, now))
                    .await?;
                Ok(ControlReply::Pending(list))
            }
            ControlRequest::Invite(wish) => {
                let reach = self.endpoint.reach();
                let info = self
                    .ask(move |authority| authority.invite(caller, &wish, &reach, now))
                    .await?;
                Ok(ControlReply::Invited(Box::new(info)))
            }
            ControlRequest::Approve { device, code } => {
                let info = self
                    .ask(move |authority| authority.approve(caller, &device, &code, now))
                    .await?;
                Ok(ControlReply::Device(Box::new(info)))
            }
            ControlRequest::Deny { device } => {
                let device = self
                    .ask(move |authority| authority.deny(caller, &device, now))
                    .await?;
                Ok(ControlReply::Denied { device })
            }
            ControlRequest::Revoke {
                device,
                with_invited,
                on_behalf_of,
            } => {
                self.revoke(caller, on_behalf_of, device, with_invited, now)
                    .await
            }
            ControlRequest::Rename { device, name } => {
                let mut info = self
                    .ask(move |authority| authority.rename(caller, &device, &name, now))
                    .await?;
                info.online = self.is_online(&info.node_id);
                Ok(ControlReply::Device(Box::new(info)))
            }
            ControlRequest::Log { head } => {
                let snapshot = self
                    .ask(move |authority| match authority.head() == head.into() {
                        true => Ok(None),
                        false => authority.snapshot(now).map(Some),
                    })
                    .await?;
                let snapshot = snapshot.map(|wire| Document::from(&wire[..]));
                Ok(ControlReply::Log { snapshot })
            }
            ControlRequest::Proof { node_id } => {
                let document = self.ask(move |authority| authority.proof(&node_id)).await?;
                Ok(ControlReply::Proof {
                    document: document.map(Document),
                })
            }
            ControlRequest::Notices { after } => self.notices(caller, after).await,
            _ => Err(ErrorBody::new(
                "unknown_request",
                "this coordinator does not know the request",
                "use the same version of homing on both sides",
            )),
        }
    }

    pub(crate) fn is_online(&self, node_id: &NodeId) -> bool {
        self.registry.is_online(node_id)
    }

    async fn renew(
        &self,
        caller: Caller,
        root_epoch: u32,
        now: Moment,
    ) -> Result<ControlReply, ErrorBody> {
        let Caller::Device(node_id) = caller else {
            return Err(ErrorBody::new(
                "no_device",
                "only a device renews its certificate",
                "nothing has to be done: devices renew by themselves",
            ));
        };
        let renewal = self
            .ask(move |authority| authority.renew(node_id, root_epoch, now))
            .await?;
        Ok(ControlReply::Renewed {
            certificate: Document(renewal.certificate),
            root_chain: renewal.root_chain,
        })
    }

    // Commit, push (on the authority's thread), cut what is connected here, wait for the agents.
    async fn revoke(
        &self,
        caller: Caller,
        on_behalf_of: Option<NodeId>,
        selector: String,
        with_invited: bool,
        now: Moment,
    ) -> Result<ControlReply, ErrorBody> {
        let done = self
            .ask(move |authority| {
                let commit =
                    authority.revoke_for(caller, on_behalf_of, &selector, with_invited, now)?;
                Ok(after_commit(authority, commit))
            })
            .await?;
        for (node_id, proof) in &done.proofs {
            // The caller itself still has to hear the answer; its stream is cut after that.
            if caller != Caller::Device(*node_id) {
                self.cut(node_id, proof.as_deref());
            }
        }
        let agents = self
            .replicas
            .confirmations(done.agents, done.head, done.at, ACK_WAIT)
            .await;
        let RevokeCommit {
            device,
            node_id,
            also,
            enrolled_by_it,
            committed_at_us,
            ..
        } = done.commit;
        Ok(ControlReply::Revoked(RevokedInfo {
            device,
            node_id,
            also,
            enrolled_by_it,
            agents,
            committed_at_us,
        }))
    }

    /// Ends all connections of a revoked device here.
    pub(crate) fn cut(&self, node_id: &NodeId, proof: Option<&[u8]>) {
        self.registry.cut(node_id);
        self.registry.close(node_id, proof);
    }

    async fn notices(&self, caller: Caller, after: u64) -> Result<ControlReply, ErrorBody> {
        let mut newest = self.authority.notices();
        let deadline = tokio::time::Instant::now() + NOTICE_WAIT;
        loop {
            newest.mark_unchanged();
            let list = self
                .ask(move |authority| authority.notices(caller, after))
                .await?;
            if !list.is_empty() {
                return Ok(ControlReply::Notices(list));
            }
            match tokio::time::timeout_at(deadline, newest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(stopping()),
                Err(_) => return Ok(ControlReply::Notices(list)),
            }
        }
    }
}

// What is on disk is done: nothing that fails from here on may be told as a failure, or keep a device
// from being cut off.
fn after_commit(authority: &mut Authority, commit: RevokeCommit) -> Committed {
    let at = Instant::now();
    let agents = authority.agents(Caller::Local).unwrap_or_else(|error| {
        warn!(%error, "a revocation is committed, but the agents cannot be listed");
        Vec::new()
    });
    let proofs = commit
        .affected
        .iter()
        .map(|node_id| (*node_id, authority.proof(node_id).ok().flatten()));
    let proofs = proofs.collect();
    let head = LogHead {
        seq: commit.seq,
        ..authority.head()
    };
    let agents = agents
        .into_iter()
        .map(|agent| (agent.reach.node_id, agent.agent))
        .collect();
    Committed {
        commit,
        at,
        head,
        agents,
        proofs,
    }
}
