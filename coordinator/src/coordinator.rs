//! The network half: three protocols on one endpoint, the push of the revocation log, and the
//! periodic work. Every decision is the [`Authority`]'s, on its own thread.

mod control;
mod enroll;
mod feed;
mod handle;
mod replicas;
mod requests;
mod revocations;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use homing_certs::{NodeId, ReasonCode};
use homing_protocol::revocations::HEARTBEAT_SECS;
use homing_protocol::{ErrorBody, alpn};
use homing_transport::server::Ended;
use homing_transport::{Connection, Endpoint, Protocol, Registry, Server, ServerLimits};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::control::Control;
use self::enroll::Enroll;
use self::feed::Feed;
use self::replicas::Replicas;
use self::revocations::Revocations;
use self::seen::Seen;
use crate::authority::{Authority, AuthorityError, Refusal};
use crate::moment::Moment;
use crate::writer::{AuthorityHandle, Stopped, Writer};

pub use self::handle::CoordinatorHandle;

/// The protocols that a coordinator's endpoint must be bound with.
pub const ALPNS: [&[u8]; 3] = [alpn::ENROLL, alpn::CONTROL, alpn::REVOCATIONS];

/// A peer that has opened a connection and says nothing is let go after this long.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);
/// Between two looks at ending certificates and two writes of who was seen.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How long a peer may take to read the last answer before its connection is closed.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Reads the clocks.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// What a coordinator is made of.
pub struct CoordinatorConfig {
    /// Bound with the authority's own key and with [`ALPNS`].
    pub endpoint: Endpoint,
    /// What decides.
    pub authority: Authority,
    /// What may be started before a row was looked up. Default: the transport's.
    pub limits: ServerLimits,
    /// Tickets that may be redeemed per second, over all peers; twice as many at once. Default 10.
    pub enrolments_per_second: u32,
    /// The clocks. Default: the system's.
    pub clock: Clock,
}

impl CoordinatorConfig {
    /// With default limits and the system's clocks.
    #[must_use]
    pub fn new(endpoint: Endpoint, authority: Authority) -> Self {
        Self {
            endpoint,
            authority,
            limits: ServerLimits::default(),
            enrolments_per_second: enroll::PER_SECOND,
            clock: Arc::new(Moment::system),
        }
    }
}

impl std::fmt::Debug for CoordinatorConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoordinatorConfig")
            .field("endpoint", &self.endpoint.id())
            .finish_non_exhaustive()
    }
}

/// Why a coordinator cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The endpoint was bound with another key.
    #[error("the endpoint has the key {}, the coordinator's is {}", endpoint.short(), coordinator.short())]
    WrongKey {
        /// Of the endpoint.
        endpoint: NodeId,
        /// Of the authority.
        coordinator: NodeId,
    },
    /// The root document names other coordinators.
    #[error("the network's root document does not name this coordinator")]
    NotNamed,
    /// No thread can be started.
    #[error("the coordinator's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A coordinator that is bound and not running yet.
#[derive(Debug)]
pub struct Coordinator {
    endpoint: Endpoint,
    limits: ServerLimits,
    enrolments_per_second: u32,
    shared: Arc<Shared>,
    writer: Writer,
}

/// What all connections of a coordinator share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) authority: AuthorityHandle,
    pub(crate) registry: Registry,
    pub(crate) feed: Feed,
    pub(crate) replicas: Replicas,
    pub(crate) seen: Seen,
    pub(crate) clock: Clock,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("endpoint", &self.endpoint.id())
            .finish_non_exhaustive()
    }
}

impl Coordinator {
    /// Takes over the authority. Nothing is accepted before [`Coordinator::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn bind(config: CoordinatorConfig) -> Result<Self, StartError> {
        let (endpoint, coordinator) = (config.endpoint.id(), config.authority.node_id());
        if endpoint != coordinator {
            return Err(StartError::WrongKey {
                endpoint,
                coordinator,
            });
        }
        if !config
            .authority
            .chain()
            .current()
            .coordinators
            .contains(&coordinator)
        {
            return Err(StartError::NotNamed);
        }
        let feed = Feed::new(config.authority.head().seq);
        let push = feed.clone();
        let (writer, authority) =
            Writer::start(config.authority, Box::new(move |delta| push.delta(delta)))
                .map_err(StartError::Thread)?;
        let shared = Shared {
            endpoint: config.endpoint.clone(),
            authority,
            registry: Registry::default(),
            feed,
            replicas: Replicas::default(),
            seen: Seen::default(),
            clock: config.clock,
        };
        Ok(Self {
            endpoint: config.endpoint,
            limits: config.limits,
            enrolments_per_second: config.enrolments_per_second,
            shared: Arc::new(shared),
            writer,
        })
    }

    /// Asks this coordinator from within its process.
    #[must_use]
    pub fn handle(&self) -> CoordinatorHandle {
        CoordinatorHandle::new(self.shared.clone())
    }

    /// Serves until `shutdown`, then ends its connections, its tasks and its thread, in this order.
    /// The endpoint stays open; it belongs to the caller.
    pub async fn run(self, shutdown: CancellationToken) -> Ended {
        let protocols: Vec<Arc<dyn Protocol>> = vec![
            Arc::new(Enroll::new(self.shared.clone(), self.enrolments_per_second)),
            Arc::new(Control::new(self.shared.clone())),
            Arc::new(Revocations::new(self.shared.clone())),
        ];
        let periodic = shutdown.child_token();
        let mut tasks = JoinSet::new();
        tasks.spawn(beat(self.shared.clone(), periodic.clone()));
        tasks.spawn(keep_house(self.shared.clone(), periodic.clone()));
        info!(node_id = %self.endpoint.id(), "the coordinator serves");
        let ended = Server::new(self.endpoint, protocols, self.limits)
            .run(shutdown)
            .await;
        periodic.cancel();
        while tasks.join_next().await.is_some() {}
        self.shared.write_seen().await;
        self.writer.stop().await;
        ended
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Runs a call that may be refused, and turns what went wrong into words.
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Authority) -> Result<R, AuthorityError> + Send + 'static,
    ) -> Result<R, ErrorBody> {
        match self.authority.call(call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refused)) => Err(describe(&refused)),
            Err(Stopped) => Err(stopping()),
        }
    }

    /// The name of the peer's row, or the connection is closed with the reason.
    pub(crate) async fn member(
        &self,
        connection: &Connection,
        look_up: impl FnOnce(&mut Authority, &NodeId) -> Result<String, AuthorityError> + Send + 'static,
    ) -> Option<String> {
        let peer = connection.peer();
        match self
            .authority
            .call(move |authority| look_up(authority, &peer))
            .await
        {
            Ok(Ok(name)) => {
                self.seen.add(peer);
                Some(name)
            }
            Ok(Err(AuthorityError::Refused(refusal))) => {
                debug!(peer = %peer.short(), %refusal, "a connection is refused");
                connection.refuse(reason(&refusal), refusal.proof());
                None
            }
            Ok(Err(failed)) => {
                describe(&failed);
                connection.refuse(ReasonCode::Busy, None);
                None
            }
            Err(Stopped) => {
                connection.refuse(ReasonCode::Draining, None);
                None
            }
        }
    }

    /// Signs a heartbeat and sends it to all agents.
    pub(crate) async fn send_heartbeat(&self) -> Result<(), ErrorBody> {
        let (now, feed) = (self.now(), self.feed.clone());
        // Published on the thread, so that it cannot overtake or be overtaken by a delta.
        self.ask(move |authority| {
            feed.heartbeat(&authority.heartbeat(now)?);
            Ok(())
        })
        .await
    }

    pub(crate) async fn write_seen(&self) {
        self.replicas
            .online()
            .into_iter()
            .for_each(|agent| self.seen.add(agent));
        let (devices, now) = (self.seen.take(), self.now().wall);
        if !devices.is_empty()
            && let Err(error) = self
                .ask(move |authority| authority.seen(&devices, now))
                .await
        {
            warn!(%error, "who was seen could not be written");
        }
    }
}

/// Words for a caller; what is internal goes to the log here and nowhere else.
pub(crate) fn describe(error: &AuthorityError) -> ErrorBody {
    if !matches!(error, AuthorityError::Refused(_)) {
        let cause = std::error::Error::source(error)
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(%error, cause, "the coordinator failed");
    }
    error.into()
}

pub(crate) fn stopping() -> ErrorBody {
    ErrorBody::new(
        "draining",
        "the coordinator is shutting down",
        "try again in a moment",
    )
}

fn reason(refusal: &Refusal) -> ReasonCode {
    match refusal {
        Refusal::Revoked { .. } => ReasonCode::Revoked,
        Refusal::NotEnrolled => ReasonCode::CertMissing,
        _ => ReasonCode::Forbidden,
    }
}

async fn beat(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match shared.send_heartbeat().await {
            Ok(()) => quiet = false,
            // Said once, not every 15 seconds.
            Err(error) if !std::mem::replace(&mut quiet, true) => {
                warn!(code = error.code, %error, "no heartbeat: {}", error.hint);
            }
            Err(_) => {}
        }
    }
}

async fn keep_house(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        shared.write_seen().await;
        let now = shared.now();
        if let Err(error) = shared
            .ask(move |authority| authority.warn_of_expiry(now))
            .await
        {
            warn!(%error, "ending certificates could not be looked at");
        }
    }
}
