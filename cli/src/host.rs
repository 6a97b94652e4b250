//! The host's half of a running process: coordinator, agent, or both with this machine as the owner's
//! device. Makes the network at first run.

mod agent_file;
pub(crate) mod agent_half;
pub(crate) mod coordinator_half;
pub(crate) mod offline;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use homing_agent::Agent;
use homing_agent::denied::SelectError;
use homing_certs::{NodeId, SigningKey};
use homing_protocol::control::AgentInfo;
use homing_transport::{BindError, Endpoint, EndpointConfig, Relay, ServerLimits};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use self::agent_file::AgentFile;
use self::coordinator_half::{BoundCoordinator, CoordinatorHalf};
pub(crate) use self::status::{AgentStatus, HostStatus};
use crate::config::Config;
use crate::config::store::ConfigStore;
use crate::data_dir::DataDir;
use crate::device::Device;
use crate::failure::Failure;
use crate::files;

/// How long a start may wait for a relay to answer.
const RELAY_WAIT: Duration = Duration::from_secs(3);

/// What an agent may do to the process that runs it.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) config_file: Arc<ConfigStore>,
    /// Raised when it is to be started anew.
    pub(crate) restart: CancellationToken,
}

impl Upkeep {
    pub(crate) fn new(dir: &DataDir) -> Self {
        Self {
            config_file: Arc::new(ConfigStore::new(dir.config())),
            restart: CancellationToken::new(),
        }
    }

    /// Waits for somebody to ask for a restart, and stops the process then.
    pub(crate) async fn stop_for_restart(restart: CancellationToken, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = restart.cancelled() => shutdown.cancel(),
        }
    }

    /// How the command ends: with the exit code of a restart when one was asked for.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        match self.restart.is_cancelled() {
            true => {
                Err(Failure::new("restart", "a restart was asked for", "start it again").into())
            }
            false => Ok(()),
        }
    }
}

/// Bound, not yet running.
pub(crate) struct Host {
    pub(crate) coordinator: BoundCoordinator,
    pub(crate) agent: Agent,
    pub(crate) device: Arc<Device>,
    pub(crate) agent_info: AgentInfo,
    pub(crate) network_id: String,
}

impl Host {
    /// Opens or makes the network, and binds everything.
    pub(crate) async fn bind(
        dir: &DataDir,
        config: &mut Config,
        upkeep: &Upkeep,
    ) -> anyhow::Result<Self> {
        let mut half = CoordinatorHalf::open(dir, config).await?;
        let network_id = half.authority.network_id().to_string();
        half.enrol_agent(dir, config)?;
        let agent = agent_half::bind(dir, config, upkeep).await?;
        // Tickets and the directory should name the relay from the first moment on.
        let relayed = tokio::join!(
            half.endpoint.relayed(RELAY_WAIT),
            agent.endpoint().relayed(RELAY_WAIT)
        );
        if config.relay.parse()? != Relay::None && relayed != (true, true) {
            warn!("the relay did not answer; for now only the local network can reach this host");
        }
        let agent_info = info(&agent);
        half.enrol_device(dir, vec![agent_info.clone()])?;
        let device_bind = config.quic_address(config.quic.device_port);
        let device = Device::open(dir, device_bind, config.relay.parse()?).await?;
        Ok(Self {
            coordinator: half.bind(config)?,
            agent,
            device,
            agent_info,
            network_id,
        })
    }

    /// Fills in the ports that were chosen because the settings name none.
    pub(crate) fn note_ports(&self, config: &mut Config) {
        let quic = &mut config.quic;
        quic.agent_port.get_or_insert(port(self.agent.endpoint()));
        quic.coordinator_port
            .get_or_insert(port(&self.coordinator.endpoint));
        quic.device_port.get_or_insert(port(self.device.endpoint()));
    }

    pub(crate) fn status(&self) -> HostStatus {
        HostStatus {
            network_id: self.network_id.clone(),
            coordinator: Some(self.coordinator.coordinator.handle()),
            agent: Some(agent_status(&self.agent)),
        }
    }
}

/// Runs coordinator and agent until `shutdown`: the agent ends first, the coordinator outlives it so
/// that the agent's last acknowledgements are heard.
pub(crate) async fn run(
    coordinator: BoundCoordinator,
    agent: Agent,
    serving: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let coordinator_stop = CancellationToken::new();
    let agent_stop = shutdown.child_token();
    let agent_done = async {
        let ended = agent.run(serving, agent_stop.clone()).await;
        coordinator_stop.cancel();
        ended.context("the agent stopped")
    };
    let coordinator_done = async {
        let ended = coordinator.run(coordinator_stop.clone()).await;
        agent_stop.cancel();
        ended
    };
    let (agent_ended, coordinator_ended) = tokio::join!(agent_done, coordinator_done);
    agent_ended.and(coordinator_ended)
}

/// What a hang-up signal means to a process without a terminal.
pub(crate) fn reloading(status: HostStatus) -> impl Fn() -> BoxFuture<'static, ()> {
    move || {
        let status = status.clone();
        // It has told the log what was wrong.
        async move { drop(status.reload_config().await) }.boxed()
    }
}

/// What commands ask of an agent.
pub(crate) fn agent_status(agent: &Agent) -> AgentStatus {
    AgentStatus {
        handle: agent.handle(),
        info: info(agent),
        sockets: agent.endpoint().bound_sockets(),
    }
}

/// The port that an endpoint has got.
pub(crate) fn port(endpoint: &Endpoint) -> u16 {
    endpoint.bound_sockets().first().map_or(0, SocketAddr::port)
}

fn info(agent: &Agent) -> AgentInfo {
    AgentInfo {
        agent: agent.handle().name().to_owned(),
        reach: agent.endpoint().reach(),
        online: true,
    }
}

fn server_limits(config: &Config) -> ServerLimits {
    ServerLimits {
        burst_per_address: config.limits.handshake_burst,
        rate_per_address: config.limits.handshakes_per_second,
        ..ServerLimits::default()
    }
}

/// Binds an endpoint that others look for at this port.
async fn bind_served(config: EndpointConfig, setting: &str) -> anyhow::Result<Endpoint> {
    let bind = config.bind;
    match Endpoint::bind(config).await {
        Ok(endpoint) => Ok(endpoint),
        Err(BindError::Address { addr, .. }) if bind.port() != 0 => {
            Err(port_taken(addr, setting).into())
        }
        Err(error) => Err(error).context("a QUIC socket could not be bound"),
    }
}

fn port_taken(addr: SocketAddr, setting: &str) -> Failure {
    Failure::new(
        "port_taken",
        format!("another program uses the UDP port {addr}"),
        format!(
            "stop it, or set {setting} in homing.toml to another port; tickets made before name the old one"
        ),
    )
}

fn own_key(folder: &std::path::Path) -> anyhow::Result<SigningKey> {
    files::make_folder(folder)?;
    let path = folder.join("key");
    if let Some(key) = files::read_key(&path)? {
        return Ok(key);
    }
    let key = files::new_key()?;
    files::write_key(&path, &key)?;
    Ok(key)
}

fn keep(path: std::path::PathBuf) -> homing_transport::renewing::Keep {
    Arc::new(move |wire| files::write(&path, wire).map_err(std::io::Error::other))
}

fn node_id(key: &SigningKey) -> NodeId {
    NodeId::from(key.verifying_key().to_bytes())
}

/// This host has no coordinator to ask.
pub(crate) fn no_coordinator() -> Failure {
    Failure::new(
        "no_coordinator",
        "there is no coordinator in this directory",
        "run the command on the coordinator's host, or on a device that has joined",
    )
}

/// This host has no agent.
pub(crate) fn no_agent() -> Failure {
    Failure::new(
        "no_agent",
        "there is no agent in this directory",
        "run it on the agent's host; homing revoke without --local revokes everywhere",
    )
}

/// A text that does not name one device at an agent.
fn not_selected(error: &SelectError) -> Failure {
    let (code, hint) = match error {
        SelectError::Ambiguous(_) => ("ambiguous_device", "give more of the NodeId"),
        _ => (
            "unknown_device",
            "give the whole NodeId, or 8 or more of its first digits when the device was here before",
        ),
    };
    Failure::new(code, error.to_string(), hint)
}

/// Waits a moment for the relay, so that tickets and the directory name it from the start.
pub(crate) async fn wait_for_relay(config: &Config, endpoint: &Endpoint) -> anyhow::Result<()> {
    if config.relay.parse()? != Relay::None && !endpoint.relayed(RELAY_WAIT).await {
        warn!("the relay did not answer; for now only the local network can reach this host");
    }
    Ok(())
}
