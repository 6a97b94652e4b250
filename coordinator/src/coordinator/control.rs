//! `homing/control/1`: a device asks its coordinator. Owns the conversation, not the answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use homing_certs::{NodeId, ReasonCode};
use homing_protocol::control::{ControlReply, ControlRequest, ControlWelcome};
use homing_protocol::frame::MAX_SNAPSHOT_FRAME;
use homing_protocol::gateway::Hello;
use homing_protocol::{ErrorBody, alpn, version};
use homing_transport::{Connection, FrameStream, Protocol};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{FIRST_MESSAGE, LAST_ANSWER, Shared};
use crate::authority::Caller;
use crate::limits::{Buckets, Rate};

/// Requests at once on one connection; a long poll for notices is one of them.
const MAX_REQUESTS: usize = 16;
/// Bytes that a member may have on the way to us: sixteen requests of a frame each.
const WINDOW: u32 = 1024 * 1024;
/// Requests of one device, over all its connections: a person with a script, not a loop.
const REQUESTS: Rate = Rate {
    burst: 40,
    per_second: 10.0,
};
/// Renewals of one device; each leaves a line in the audit log. One in 20 days is honest use.
const RENEWALS: Rate = Rate {
    burst: 10,
    per_second: 1.0 / 60.0,
};
/// From opening a stream to the end of its request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// How long an answer may take to be read.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The protocol.
#[derive(Debug)]
pub(crate) struct Control {
    shared: Arc<Shared>,
    requests: Mutex<Buckets<NodeId>>,
    renewals: Mutex<Buckets<NodeId>>,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            requests: Mutex::new(Buckets::new(REQUESTS)),
            renewals: Mutex::new(Buckets::new(RENEWALS)),
        }
    }

    async fn converse(self: Arc<Self>, connection: Connection, shutdown: CancellationToken) {
        // Registered before it is looked up: a revocation finds it here, or the look-up finds the
        // revocation.
        let Ok(registration) = self.shared.registry.register(&connection) else {
            return connection.refuse(ReasonCode::Busy, None);
        };
        let Some(name) = self
            .shared
            .member(&connection, |authority, peer| authority.member_name(peer))
            .await
        else {
            return;
        };
        // Held, because dropping its sending half would end the stream.
        let Some((stream, root_epoch)) = self.greet(&connection).await else {
            return;
        };
        debug!(device = name, "a device is connected");
        // One more for the stream of the Hello, which stays open.
        connection.set_limits(u32::try_from(MAX_REQUESTS + 1).unwrap_or(u32::MAX), WINDOW);
        let cut = registration.cut_token();
        let mut requests = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    connection.refuse(ReasonCode::Draining, None);
                    break;
                }
                () = cut.cancelled() => break,
                Some(_) = requests.join_next(), if !requests.is_empty() => {}
                opened = connection.accept_frames(), if requests.len() < MAX_REQUESTS => {
                    let Ok(opened) = opened else { break };
                    requests.spawn(self.clone().serve_request(connection.clone(), opened, root_epoch));
                }
            }
        }
        drop(stream);
        requests.shutdown().await;
        self.shared.seen.add(connection.peer());
    }

    async fn greet(&self, connection: &Connection) -> Option<(FrameStream, u32)> {
        let opened = tokio::time::timeout(FIRST_MESSAGE, connection.accept_frames()).await;
        let mut stream = opened.ok()?.ok()?;
        let hello: Hello = match stream.recv_within(FIRST_MESSAGE).await {
            Ok(hello) => hello,
            Err(error) => {
                debug!(%error, "no Hello");
                connection.refuse(ReasonCode::CertInvalid, None);
                return None;
            }
        };
        let Some(version) = version::agree(&hello.versions) else {
            connection.refuse(ReasonCode::UpgradeRequired, None);
            return None;
        };
        let epoch = hello.root_epoch;
        let answer = self
            .shared
            .authority
            .call(move |authority| (authority.root_chain_after(epoch), authority.head().seq))
            .await;
        let (root_chain, log_seq) = answer.ok()?;
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let welcome = ControlWelcome {
            version,
            program,
            root_chain,
            log_seq,
        };
        stream.send(&welcome).await.ok()?;
        Some((stream, epoch))
    }

    async fn serve_request(
        self: Arc<Self>,
        connection: Connection,
        mut stream: FrameStream,
        root_epoch: u32,
    ) {
        let caller = connection.peer();
        let request: ControlRequest = match stream.recv_within(REQUEST_DEADLINE).await {
            Ok(request) => request,
            Err(error) => return refuse_request(stream, &error.to_string()).await,
        };
        let allowed = take(&self.requests, caller)
            && (request != ControlRequest::Renew || take(&self.renewals, caller));
        let reply = if allowed {
            self.shared.seen.add(caller);
            self.shared
                .answer(Caller::Device(caller), root_epoch, request)
                .await
        } else {
            ControlReply::Error(ErrorBody::new(
                "busy",
                "this device asks too often",
                "wait a second and try again",
            ))
        };
        let revoked_itself =
            matches!(&reply, ControlReply::Revoked(info) if info.node_id == caller);
        let mut stream = stream.with_limit(MAX_SNAPSHOT_FRAME);
        let sent = tokio::time::timeout(ANSWER_DEADLINE, stream.send(&reply)).await;
        stream.finish();
        if !matches!(sent, Ok(Ok(()))) {
            debug!(peer = %caller.short(), "an answer was not read");
        }
        // A device that is revoked by its own request, or by another's with it, reads the answer and
        // is then cut like any other. Until then every request of it is refused by its row.
        let shared = &self.shared;
        if revoked_itself
            || matches!(&reply, ControlReply::Revoked(_)) && self.is_revoked(caller).await
        {
            let proof = shared
                .ask(move |authority| authority.proof(&caller))
                .await
                .unwrap_or_default();
            let _ = tokio::time::timeout(LAST_ANSWER, connection.closed()).await;
            shared.cut(&caller, proof.as_deref());
        }
    }

    async fn is_revoked(&self, node_id: NodeId) -> bool {
        self.shared
            .ask(move |authority| authority.is_revoked(&node_id))
            .await
            .unwrap_or(true)
    }
}

impl Protocol for Control {
    fn alpn(&self) -> &'static [u8] {
        alpn::CONTROL
    }

    fn serve(
        self: Arc<Self>,
        connection: Connection,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        self.converse(connection, shutdown).boxed()
    }
}

async fn refuse_request(mut stream: FrameStream, what: &str) {
    let error = ErrorBody::new(
        "bad_request",
        format!("the request could not be read: {what}"),
        "use the same version of homing on both sides",
    );
    // The peer may have gone; there is nobody else to tell.
    let _ = tokio::time::timeout(ANSWER_DEADLINE, stream.send(&ControlReply::Error(error))).await;
    stream.finish();
}

fn take(buckets: &Mutex<Buckets<NodeId>>, device: NodeId) -> bool {
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    buckets.take(device, Instant::now())
}
