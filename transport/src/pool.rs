//! One connection to one agent, kept for all requests of this device.
//!
//! [`PoolDriver::run`] alone dials and redials, with backoff; [`Pool::open`] only takes a stream of the
//! connection that is there, or waits a bounded time for one. A refusal that trying again cannot
//! change stops the driver until the credentials change.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use homing_certs::{NodeId, ReasonCode};
use homing_protocol::ErrorBody;
use homing_protocol::close::AfterClose;
use homing_protocol::gateway::{HelloOk, Reach};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::backoff::Backoff;
use crate::connection::{Connection, PathReport};
use crate::credentials::Credentials;
use crate::dial::{AgentConnection, DialError, dial_agent, refusal};
use crate::endpoint::Endpoint;
use crate::stream::ByteStream;

mod keep;

/// How long a request may wait for a connection that is being made.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(12);
/// How long a request may wait for stream credit on a live connection.
const STREAM_DEADLINE: Duration = Duration::from_secs(2);
/// A request that comes this long after a failed dial is worth another one at once.
const REDIAL_ON_DEMAND: Duration = Duration::from_millis(400);
/// A connection that was lost before this is not a success that resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// What the pool asks of the device around it.
pub trait Home: Send + Sync + 'static {
    /// Gets a new certificate from the coordinator and puts it into the credentials.
    fn renew(&self) -> BoxFuture<'_, Result<(), ErrorBody>>;
    /// Where the agent is now, by the coordinator's directory; an error when the coordinator could
    /// not be asked or has refused this device.
    fn locate(&self, agent: NodeId) -> BoxFuture<'_, Result<Option<Reach>, DialError>>;
    /// The agent was reached; `path` may be remembered for the next start.
    fn reached(&self, agent: NodeId, path: Option<PathReport>);
    /// The signed entry that revoked `node_id`, from the coordinator, if there is one; an error when
    /// the coordinator could not be asked or has refused this device.
    fn proof(&self, node_id: NodeId) -> BoxFuture<'_, Result<Option<Vec<u8>>, DialError>>;
}

/// Hands out streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    link: watch::Receiver<Link>,
    wanted: Arc<Notify>,
}

/// Dials; to be run in a task of its own.
pub struct PoolDriver {
    endpoint: Endpoint,
    agent: Reach,
    credentials: Arc<Credentials>,
    home: Arc<dyn Home>,
    link: watch::Sender<Link>,
    wanted: Arc<Notify>,
}

impl std::fmt::Debug for PoolDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolDriver")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// The state of the one connection.
#[derive(Debug, Clone)]
pub enum Link {
    /// Being dialed.
    Connecting,
    /// Admitted.
    Live {
        /// The connection.
        connection: Connection,
        /// What the agent said of itself.
        agent: Arc<HelloOk>,
    },
    /// The last dial failed; another follows.
    Down {
        /// Why.
        error: ErrorBody,
        /// When.
        at: Instant,
    },
    /// Trying again changes nothing.
    Stopped(ErrorBody),
}

impl Pool {
    /// A pool for this agent, and its driver.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        agent: Reach,
        credentials: Arc<Credentials>,
        home: Arc<dyn Home>,
    ) -> (Self, PoolDriver) {
        let link = watch::Sender::new(Link::Connecting);
        let wanted = Arc::new(Notify::new());
        let pool = Self {
            link: link.subscribe(),
            wanted: wanted.clone(),
        };
        (
            pool,
            PoolDriver {
                endpoint,
                agent,
                credentials,
                home,
                link,
                wanted,
            },
        )
    }

    /// A new stream to the agent.
    ///
    /// # Errors
    /// The reason why there is no connection, with a next step.
    pub async fn open(&self) -> Result<ByteStream, ErrorBody> {
        let give_up = Instant::now() + OPEN_DEADLINE;
        loop {
            let connection = self.connection(give_up).await?;
            let opened = tokio::time::timeout(STREAM_DEADLINE, connection.raw().open_bi()).await;
            match opened {
                Ok(Ok((send, recv))) => return Ok(ByteStream::new(send, recv)),
                // The connection has just ended: the driver knows in a moment.
                Ok(Err(_)) => self.left(&connection, give_up).await?,
                Err(_) => {
                    return Err(ErrorBody::new(
                        "busy",
                        "all streams of the connection to the agent are in use",
                        "close some requests and try again",
                    ));
                }
            }
        }
    }

    /// The state of the connection.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.borrow().clone()
    }

    /// Waits for a connection, or for the reason why there is none.
    ///
    /// # Errors
    /// That reason.
    pub async fn connected(&self) -> Result<(Connection, Arc<HelloOk>), ErrorBody> {
        let give_up = Instant::now() + OPEN_DEADLINE;
        self.connection(give_up).await?;
        match self.link() {
            Link::Live { connection, agent } => Ok((connection, agent)),
            Link::Down { error, .. } | Link::Stopped(error) => Err(error),
            Link::Connecting => Err(timeout_error()),
        }
    }

    async fn connection(&self, give_up: Instant) -> Result<Connection, ErrorBody> {
        let mut link = self.link.clone();
        let waited = tokio::time::timeout_at(give_up, async {
            loop {
                match &*link.borrow_and_update() {
                    Link::Live { connection, .. } => return Ok(connection.clone()),
                    Link::Stopped(error) => return Err(error.clone()),
                    Link::Down { error, at } if at.elapsed() < REDIAL_ON_DEMAND => {
                        return Err(error.clone());
                    }
                    Link::Down { .. } => self.wanted.notify_one(),
                    Link::Connecting => {}
                }
                if link.changed().await.is_err() {
                    return Err(ErrorBody::new("stopped", "the proxy is stopping", ""));
                }
            }
        });
        waited.await.unwrap_or_else(|_| Err(timeout_error()))
    }

    async fn left(&self, ended: &Connection, give_up: Instant) -> Result<(), ErrorBody> {
        let mut link = self.link.clone();
        let gone = link.wait_for(
            |link| !matches!(link, Link::Live { connection, .. } if connection.stable_id() == ended.stable_id()),
        );
        match tokio::time::timeout_at(give_up, gone).await {
            Ok(_) => Ok(()),
            Err(_) => Err(timeout_error()),
        }
    }
}

fn timeout_error() -> ErrorBody {
    ErrorBody::new(
        "timeout",
        "no connection to the agent came about in time",
        "check that the agent runs: homing dial",
    )
}

impl PoolDriver {
    /// Keeps the connection until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut renewals = self.credentials.renewals();
        loop {
            renewals.mark_unchanged();
            let dialed = tokio::select! {
                () = shutdown.cancelled() => return,
                dialed = self.dial() => dialed,
            };
            let error = match dialed {
                Ok(live) => {
                    let since = Instant::now();
                    let ended = self.keep(live, &shutdown).await;
                    if shutdown.is_cancelled() {
                        return;
                    }
                    if since.elapsed() >= STABLE_AFTER {
                        backoff.reset();
                    }
                    match ended {
                        // Draining or superseded: dial at once.
                        None => {
                            self.link.send_replace(Link::Connecting);
                            continue;
                        }
                        Some(error) => error,
                    }
                }
                Err(error) => error,
            };
            debug!(%error, "no connection to the agent");
            if error.after() == AfterClose::Stop {
                self.link.send_replace(Link::Stopped(error.body()));
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = renewals.changed() => {}
                }
                backoff.reset();
            } else {
                self.link.send_replace(Link::Down {
                    error: error.body(),
                    at: Instant::now(),
                });
                let wait = backoff.next(jitter());
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                    () = self.wanted.notified() => {}
                }
            }
            self.link.send_replace(Link::Connecting);
        }
    }

    async fn dial(&mut self) -> Result<AgentConnection, DialError> {
        let mut error = match dial_agent(&self.endpoint, &self.agent, &self.credentials).await {
            Ok(live) => return Ok(live),
            Err(error) => error,
        };
        match &error {
            refused if refused.wants_renewal() => {
                if let Err(renewal) = self.home.renew().await {
                    info!(code = renewal.code, "the certificate could not be renewed");
                    return Err(error);
                }
            }
            DialError::Refused {
                reason: ReasonCode::Revoked,
                proved: false,
            } => {
                // Ask the one whose word counts.
                if self.revocation_is_proved().await {
                    return Err(DialError::Refused {
                        reason: ReasonCode::Revoked,
                        proved: true,
                    });
                }
                return Err(error);
            }
            DialError::Unreachable { .. } => match self.home.locate(self.agent.node_id).await {
                Ok(Some(reach)) if reach != self.agent => self.agent = reach,
                Err(refused @ DialError::Refused { .. }) => return Err(refused),
                _ => return Err(error),
            },
            _ => return Err(error),
        }
        match dial_agent(&self.endpoint, &self.agent, &self.credentials).await {
            Ok(live) => return Ok(live),
            Err(again) => error = again,
        }
        Err(error)
    }

    async fn revocation_is_proved(&self) -> bool {
        let own = self.endpoint.id();
        match self.home.proof(own).await {
            Ok(Some(proof)) => {
                let state = self.credentials.trust().state();
                state.verify_revocation_proof(&own, &proof).is_ok()
            }
            Ok(None) => false,
            // The coordinator's own refusal came with the entry, and it was verified.
            Err(error) => matches!(
                error,
                DialError::Refused {
                    reason: ReasonCode::Revoked,
                    proved: true
                }
            ),
        }
    }

    async fn keep(&self, live: AgentConnection, shutdown: &CancellationToken) -> Option<DialError> {
        let AgentConnection {
            connection,
            agent,
            control,
        } = live;
        let agent = Arc::new(agent);
        self.home.reached(self.agent.node_id, connection.path());
        self.link.send_replace(Link::Live {
            connection: connection.clone(),
            agent,
        });
        let ended = keep::keep(&connection, control, &self.credentials, shutdown).await;
        match ended {
            keep::Ended::Shutdown => {
                connection.close_done();
                None
            }
            // Streams of the old connection finish on it; it closes when the last one is dropped.
            keep::Ended::Superseded => None,
            // Never talk to a revoked peer.
            keep::Ended::AgentRevoked => {
                connection.close_done();
                Some(DialError::AgentRevoked(self.agent.node_id))
            }
            keep::Ended::Closed(closed) => {
                Some(refusal(closed, self.endpoint.id(), &self.credentials))
            }
        }
    }
}

fn jitter() -> u8 {
    // Only spreads retries; any changing number will do.
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    nanos.map_or(0, |since| (since.subsec_nanos() >> 8) as u8)
}
