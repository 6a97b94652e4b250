//! One agent as a service: its endpoint, its doorkeeper, its line to the coordinator, and the order in
//! which they start and stop.

mod deny;
mod handle;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use homing_certs::{
    CertificateError, NodeId, ReasonCode, RootChain, RootError, SigningKey, TrustState,
    VerifiedCertificate,
};
use homing_protocol::alpn;
use homing_protocol::gateway::Reach;
use homing_transport::admission::{Admission, Admitted, Peer};
use homing_transport::clock::wall_clock;
use homing_transport::controlling::ControlClient;
use homing_transport::credentials::{Credentials, own_certificate};
use homing_transport::renewing::{self, Keep};
use homing_transport::server::Ended;
use homing_transport::{
    BindError, Connection, Endpoint, EndpointConfig, Protocol, Registry, Relay, Server,
    ServerLimits, Trust, http,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::deny::DenyError;
use crate::config::AgentSettings;
use crate::confirmed_time;

use crate::gateway::{Caller, ConnectionService, Gateway};
use crate::state::{AgentState, OpenError};
use crate::store::{StoreError, StoredTrust};
use crate::updates::Updates;

/// How long an agent waits for the newest revocation log before it admits anybody.
const NEWEST_LOG_WAIT: Duration = Duration::from_secs(2);
/// How long requests in flight may take once the agent stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Everything that an agent is started with.
pub struct AgentConfig {
    /// Identity, place and limits.
    pub settings: AgentSettings,
    /// The agent's secret key.
    pub key: SigningKey,
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// Writes a renewed certificate where `certificate` came from.
    pub keep: Keep,
    /// Root documents, genesis first; those that the agent has stored itself may be newer.
    pub root_chain: Vec<Vec<u8>>,
    /// Where the coordinator is.
    pub coordinator: Reach,
    /// Address of the QUIC socket.
    pub bind: SocketAddr,
    /// What the endpoint may contact.
    pub relay: Relay,
    /// What may be started before admission.
    pub limits: ServerLimits,
    /// Program version that devices see.
    pub program: String,
}

impl std::fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentConfig")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why an agent could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Its files cannot be used.
    #[error("the agent's files cannot be used")]
    Open(#[source] OpenError),
    /// Its replica of the revocation log cannot be read or written.
    #[error("the agent's copy of the revocation log cannot be used")]
    Store(#[source] StoreError),
    /// The root documents are damaged.
    #[error("the root documents of the network are damaged")]
    Root(#[source] RootError),
    /// Its certificate is not one of this network.
    #[error("the agent's certificate was refused")]
    Certificate(#[source] CertificateError),
    /// The time that its owner confirmed cannot be read.
    #[error("the agent's file time-confirmed cannot be read")]
    ConfirmedTime(#[source] std::io::Error),
    /// Its endpoint cannot be bound.
    #[error("the agent's QUIC socket cannot be bound")]
    Bind(#[source] BindError),
}

/// A bound agent.
#[derive(Debug)]
pub struct Agent {
    state: Arc<AgentState>,
    credentials: Arc<Credentials>,
    registry: Registry,
    endpoint: Endpoint,
    rebind: EndpointConfig,
    coordinator: Reach,
    keep: KeepFn,
    limits: ServerLimits,
    program: String,
}

struct KeepFn(Keep);

impl std::fmt::Debug for KeepFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keep")
    }
}

/// What may be asked of a running agent from its own process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    trust: Arc<Trust>,
    registry: Registry,
    state: Arc<AgentState>,
}

impl Agent {
    /// Opens the files, loads the revocation log, binds the endpoint. Nobody is admitted before
    /// [`Agent::run`].
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn bind(config: AgentConfig) -> Result<Self, AgentError> {
        let state = AgentState::open(config.settings)
            .await
            .map_err(AgentError::Open)?;
        let stored = state.store.load_trust().await.map_err(AgentError::Store)?;
        let floor = stored.floor;
        let trust_state = load(&stored, &config.root_chain)?;
        for (index, wire) in trust_state
            .chain()
            .wires()
            .iter()
            .enumerate()
            .skip(stored.chain.len())
        {
            let epoch = u32::try_from(index + 1).unwrap_or(u32::MAX);
            state
                .store
                .save_root(epoch, wire.clone())
                .await
                .map_err(AgentError::Store)?;
        }
        let certificate =
            own_certificate(&trust_state, &config.certificate).map_err(AgentError::Certificate)?;
        // The floor was written with every document; a time above it is one that was not believed.
        let trust_state = trust_state.without_times_after(floor);
        let limit = confirmed_time::read(&state.settings.dir, wall_clock())
            .map_err(AgentError::ConfirmedTime)?;
        let (trust_state, floor) = confirmed_time::limited(trust_state, floor, limit);
        let trust = Arc::new(Trust::new(trust_state, floor));
        let credentials = Arc::new(Credentials::new(certificate, trust, config.program.clone()));
        let rebind = EndpointConfig {
            key: config.key,
            alpns: vec![alpn::GATEWAY.to_vec()],
            bind: config.bind,
            relay: config.relay,
        };
        let endpoint = Endpoint::bind(rebind.clone())
            .await
            .map_err(AgentError::Bind)?;
        Ok(Self {
            state,
            credentials,
            registry: Registry::default(),
            endpoint,
            rebind,
            coordinator: config.coordinator,
            keep: KeepFn(config.keep),
            limits: config.limits,
            program: config.program,
        })
    }

    /// The agent's endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// For the rest of the process.
    #[must_use]
    pub fn handle(&self) -> AgentHandle {
        AgentHandle {
            trust: self.credentials.trust().clone(),
            registry: self.registry.clone(),
            state: self.state.clone(),
        }
    }

    /// Serves until `shutdown`. `serving` becomes true when devices are admitted.
    ///
    /// # Errors
    /// When the endpoint was lost and could not be bound again.
    pub async fn run(
        mut self,
        serving: watch::Sender<bool>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        let mut resumed = false;
        let result = loop {
            let ended = self.serve(&serving, &mut resumed, &shutdown).await;
            if ended == Ended::Shutdown || shutdown.is_cancelled() {
                break Ok(());
            }
            warn!("the QUIC endpoint was lost; it is bound again");
            self.endpoint.close().await;
            match Endpoint::bind(self.rebind.clone()).await {
                Ok(endpoint) => self.endpoint = endpoint,
                Err(error) => break Err(AgentError::Bind(error)),
            }
        };
        self.state.shutdown().await;
        self.endpoint.close().await;
        result
    }

    async fn serve(
        &self,
        serving: &watch::Sender<bool>,
        resumed: &mut bool,
        shutdown: &CancellationToken,
    ) -> Ended {
        let links = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (current, mut newest) = watch::channel(false);
        let updates = Updates {
            endpoint: self.endpoint.clone(),
            coordinator: self.coordinator.clone(),
            credentials: self.credentials.clone(),
            registry: self.registry.clone(),
            state: self.state.clone(),
        };
        tasks.spawn(updates.run(current, links.clone()));
        let control = Arc::new(ControlClient::new(
            self.endpoint.clone(),
            self.coordinator.clone(),
            self.credentials.clone(),
        ));
        self.state.revoking.through(Some(control.clone()));
        let jitter = self.endpoint.id().as_bytes()[0];
        tasks.spawn(renewing::run(
            control.clone(),
            self.credentials.clone(),
            self.keep.0.clone(),
            jitter,
            links.clone(),
        ));
        let waited = tokio::select! {
            () = shutdown.cancelled() => false,
            waited = tokio::time::timeout(NEWEST_LOG_WAIT, newest.wait_for(|newest| *newest)) => waited.is_ok(),
        };
        if !waited {
            info!("the coordinator did not answer yet; the revocation log on disk is used");
        }
        self.resume_turns(resumed).await;
        let doorkeeper = Arc::new(Doorkeeper {
            admission: self.admission(),
            gateway: Gateway::new(self.state.clone()),
            state: self.state.clone(),
        });
        serving.send_replace(true);
        let server = Server::new(self.endpoint.clone(), vec![doorkeeper], self.limits.clone());
        let goodbye = async {
            shutdown.cancelled().await;
            self.state.leaving.cancel();
        };
        let serve = server.run(shutdown.clone());
        tokio::pin!(goodbye, serve);
        let ended = tokio::select! {
            ended = &mut serve => ended,
            () = &mut goodbye => serve.await,
        };
        links.cancel();
        self.state.revoking.through(None);
        control.close().await;
        while tasks.join_next().await.is_some() {}
        ended
    }

    async fn resume_turns(&self, resumed: &mut bool) {
        if std::mem::replace(resumed, true) {
            return;
        }
        let trust = self.credentials.trust().clone();
        let denied = self.state.denied.clone();
        let cut_off = |device: &NodeId| trust.is_revoked(device) || denied.contains(device);
        match self.state.resume(cut_off).await {
            Ok(0) => {}
            Ok(turns) => info!(turns, "turns of an earlier run go on"),
            Err(error) => warn!(%error, "turns of an earlier run could not be read"),
        }
    }

    fn admission(&self) -> Admission {
        let store = self.state.store.clone();
        Admission {
            credentials: self.credentials.clone(),
            agent: self.state.settings.name.clone(),
            program: self.program.clone(),
            registry: self.registry.clone(),
            proofs: Arc::new(move |node_id| {
                let store = store.clone();
                async move { store.proof(node_id).await.ok().flatten() }.boxed()
            }),
        }
    }
}

/// Admits connections and serves their streams.
struct Doorkeeper {
    admission: Admission,
    gateway: Gateway,
    state: Arc<AgentState>,
}

impl Protocol for Doorkeeper {
    fn alpn(&self) -> &'static [u8] {
        alpn::GATEWAY
    }

    fn serve(
        self: Arc<Self>,
        connection: Connection,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        async move {
            match self.admission.admit(connection).await {
                // After the admission, which registers the connection: whichever of the two comes
                // first, a denial that runs meanwhile finds it there or is found here.
                Ok(admitted) if self.state.denied.contains(&admitted.peer().node_id()) => {
                    admitted.connection().refuse(ReasonCode::Forbidden, None);
                    self.state.audit.count_refusal("forbidden");
                }
                Ok(admitted) => {
                    let caller = Arc::new(PeerCaller(admitted.peer().clone()));
                    let service = self.gateway.connect(caller).await;
                    serve_streams(admitted, service, shutdown).await;
                }
                Err(refusal) => {
                    debug!(
                        error = &refusal as &dyn std::error::Error,
                        "a connection was refused"
                    );
                    self.state.audit.count_refusal(refusal.code().as_str());
                }
            }
        }
        .boxed()
    }
}

async fn serve_streams(
    mut admitted: Admitted,
    service: ConnectionService,
    shutdown: CancellationToken,
) {
    let mut keeper = JoinSet::new();
    keeper.spawn(admitted.keeper(shutdown.clone()));
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            stream = admitted.next_stream() => match stream {
                Some(stream) => {
                    streams.spawn(http::serve(stream, service.clone()));
                }
                None => break,
            }
        }
    }
    // Requests in flight end, or are cut off when the agent's time is up.
    let drain = async { while streams.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drain).await;
    admitted.connection().close_done();
}

/// The gateway's view of a connection's peer.
#[derive(Debug)]
struct PeerCaller(Arc<Peer>);

impl Caller for PeerCaller {
    fn node_id(&self) -> NodeId {
        self.0.node_id()
    }

    fn authorize(&self) -> Result<Arc<VerifiedCertificate>, CertificateError> {
        self.0.authorize()?;
        Ok(self.0.certificate())
    }

    fn staleness(&self) -> Duration {
        self.0.staleness()
    }

    fn path(&self) -> &'static str {
        self.0.path()
    }

    fn revoked(&self) -> CancellationToken {
        self.0.cut()
    }
}

/// The trust state that was on disk, with the longer of the two root chains.
fn load(stored: &StoredTrust, given: &[Vec<u8>]) -> Result<TrustState, AgentError> {
    let mut chain = if stored.chain.is_empty() {
        RootChain::from_chain(given, None).map_err(AgentError::Root)?
    } else {
        RootChain::from_chain(&stored.chain, None).map_err(AgentError::Root)?
    };
    chain.extend_from(given).map_err(AgentError::Root)?;
    let mut state = TrustState::new(chain);
    let documents = stored
        .snapshot
        .iter()
        .chain(&stored.deltas)
        .chain(&stored.heartbeat);
    for document in documents {
        // What was verified when it came may be of an older root epoch now; it is then of no use.
        if let Err(error) = state.apply(document) {
            debug!(%error, "a stored document of the log is not used");
        }
    }
    Ok(state)
}
