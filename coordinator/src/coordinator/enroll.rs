//! `homing/enroll/1`: the only protocol for keys without a row. One message, one answer; a device
//! that must be approved keeps its stream and hears later.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use homing_certs::{InviteId, ReasonCode, Role, TicketSecret};
use homing_protocol::enroll::{EnrollReply, EnrollRequest};
use homing_protocol::frame::MAX_SNAPSHOT_FRAME;
use homing_protocol::gateway::Reach;
use homing_protocol::{ErrorBody, alpn, version};
use homing_transport::{Connection, FrameStream, Protocol};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{FIRST_MESSAGE, LAST_ANSWER, Shared, describe, stopping};
use crate::authority::{Applicant, Authority, AuthorityError, RedeemOutcome};
use crate::limits::{Bucket, Rate};
use crate::moment::Moment;

/// Conversations before the first answer, over all peers.
const MAX_OPEN: usize = 64;
/// Devices that wait on their stream for somebody's approval; others ask again by themselves.
const MAX_WAITING: usize = 256;
/// Redemptions over all peers: far above any honest use, far below what a guesser would need.
pub(crate) const PER_SECOND: u32 = 10;

/// The protocol.
#[derive(Debug)]
pub(crate) struct Enroll {
    shared: Arc<Shared>,
    open: Semaphore,
    waiting: Semaphore,
    redemptions: Mutex<Bucket>,
}

impl Enroll {
    pub(crate) fn new(shared: Arc<Shared>, per_second: u32) -> Self {
        let rate = Rate {
            burst: per_second.saturating_mul(2),
            per_second: f64::from(per_second),
        };
        Self {
            shared,
            open: Semaphore::new(MAX_OPEN),
            waiting: Semaphore::new(MAX_WAITING),
            redemptions: Mutex::new(Bucket::new(rate)),
        }
    }

    async fn converse(self: Arc<Self>, connection: Connection, shutdown: CancellationToken) {
        let Ok(open) = self.open.try_acquire() else {
            return connection.refuse(ReasonCode::Busy, None);
        };
        // A revocation of a waiting device cuts it here as well.
        let Ok(_registration) = self.shared.registry.register(&connection) else {
            return connection.refuse(ReasonCode::Busy, None);
        };
        let Some((mut stream, request)) = first_message(&connection).await else {
            return;
        };
        let Some(invite_id) = self.first_answer(&connection, &mut stream, &request).await else {
            return;
        };
        drop(open);
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return connection.refuse(ReasonCode::Busy, None);
        };
        self.wait(&connection, &mut stream, invite_id, request.reach, shutdown)
            .await;
    }

    /// Answers the request. Returns the invitation when somebody must approve.
    async fn first_answer(
        &self,
        connection: &Connection,
        stream: &mut FrameStream,
        request: &EnrollRequest,
    ) -> Option<InviteId> {
        let reply = if self
            .redemptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now())
        {
            self.redeem(connection, request).await
        } else {
            refused(ErrorBody::new(
                "busy",
                "too many devices join at once",
                "try again in a few seconds",
            ))
        };
        let waits = matches!(reply, EnrollReply::Pending { .. });
        if waits {
            return stream.send(&reply).await.ok().map(|()| request.invite_id);
        }
        last_answer(connection, stream, &reply).await;
        None
    }

    async fn redeem(&self, connection: &Connection, request: &EnrollRequest) -> EnrollReply {
        // A secret of another length is a wrong one, and reads like any other.
        let secret = <[u8; 16]>::try_from(request.secret.as_ref()).unwrap_or_default();
        let secret = TicketSecret::from(secret);
        let (invite_id, reach) = (request.invite_id, request.reach.clone());
        let (name, platform) = (request.name.clone(), request.platform.clone());
        let from = connection.path().map(|path| path.remote);
        let peer = connection.peer();
        self.decide(reach, move |authority, now| {
            let applicant = Applicant {
                name: name.as_deref(),
                platform: platform.as_deref(),
                from: from.as_deref(),
            };
            authority.redeem(invite_id, &secret, peer, &applicant, now)
        })
        .await
    }

    async fn wait(
        &self,
        connection: &Connection,
        stream: &mut FrameStream,
        invite_id: InviteId,
        reach: Option<Reach>,
        shutdown: CancellationToken,
    ) {
        let peer = connection.peer();
        let mut admissions = self.shared.authority.admissions();
        loop {
            admissions.mark_unchanged();
            // Asked before every wait: the approval may have come before this task listened.
            let reply = self
                .decide(reach.clone(), move |authority, now| {
                    authority.redeem_again(invite_id, peer, now)
                })
                .await;
            if !matches!(reply, EnrollReply::Pending { .. }) {
                return last_answer(connection, stream, &reply).await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return connection.refuse(ReasonCode::Draining, None),
                _ = connection.closed() => return,
                changed = admissions.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn decide(
        &self,
        reach: Option<Reach>,
        call: impl FnOnce(&mut Authority, Moment) -> Result<RedeemOutcome, AuthorityError>
        + Send
        + 'static,
    ) -> EnrollReply {
        let (now, coordinator) = (self.shared.now(), self.shared.endpoint.reach());
        let decided = self
            .shared
            .authority
            .call(move |authority| {
                let outcome = call(authority, now)?;
                reply(authority, outcome, coordinator, reach.as_ref(), now)
            })
            .await;
        match decided {
            Ok(Ok(reply)) => reply,
            Ok(Err(failed)) => refused(describe(&failed)),
            Err(_) => refused(stopping()),
        }
    }
}

impl Protocol for Enroll {
    fn alpn(&self) -> &'static [u8] {
        alpn::ENROLL
    }

    fn serve(
        self: Arc<Self>,
        connection: Connection,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        self.converse(connection, shutdown).boxed()
    }
}

fn reply(
    authority: &mut Authority,
    outcome: RedeemOutcome,
    coordinator: Reach,
    reach: Option<&Reach>,
    now: Moment,
) -> Result<EnrollReply, AuthorityError> {
    match outcome {
        RedeemOutcome::Refused(refusal) => Ok(refused((&refusal).into())),
        RedeemOutcome::Pending { check_code } => Ok(EnrollReply::Pending { check_code }),
        RedeemOutcome::Enrolled(enrolled) => {
            if let Some(reach) = reach
                && enrolled.device.role == Role::Agent
            {
                authority.agent_moved(enrolled.device.node_id, reach, now)?;
            }
            let enrollment = authority.enrollment(*enrolled, coordinator, now)?;
            Ok(EnrollReply::Enrolled(Box::new(enrollment)))
        }
    }
}

fn refused(error: ErrorBody) -> EnrollReply {
    EnrollReply::Refused { error }
}

async fn first_message(connection: &Connection) -> Option<(FrameStream, EnrollRequest)> {
    let opened = tokio::time::timeout(FIRST_MESSAGE, connection.accept_frames()).await;
    let mut stream = opened.ok()?.ok()?;
    match stream.recv_within::<EnrollRequest>(FIRST_MESSAGE).await {
        Ok(request) if version::agree(&request.versions).is_some() => {
            Some((stream.with_limit(MAX_SNAPSHOT_FRAME), request))
        }
        Ok(_) => {
            connection.refuse(ReasonCode::UpgradeRequired, None);
            None
        }
        Err(error) => {
            debug!(%error, "no enrol request");
            connection.refuse(ReasonCode::Forbidden, None);
            None
        }
    }
}

async fn last_answer(connection: &Connection, stream: &mut FrameStream, reply: &EnrollReply) {
    let sent = async {
        stream.send(reply).await?;
        stream.finish();
        Ok::<(), homing_transport::FrameIoError>(())
    };
    match tokio::time::timeout(LAST_ANSWER, sent).await {
        // The device closes once it has read; closing first could overtake the answer.
        Ok(Ok(())) => drop(tokio::time::timeout(LAST_ANSWER, connection.closed()).await),
        _ => debug!("an enrol answer was not read"),
    }
    connection.close_done();
}
