//! The host's half of a running process: coordinator and agent, and this machine as the owner's
//! device. Makes the network at first run.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use homing_agent::{Agent, AgentConfig, AgentHandle, AgentSettings};
use homing_certs::{NodeId, Role, SigningKey};
use homing_coordinator::authority::{self, NewNetwork, default_scopes, owner_scopes};
use homing_coordinator::{
    ALPNS, Authority, Coordinator, CoordinatorConfig, CoordinatorHandle, Moment,
};
use homing_protocol::Document;
use homing_protocol::control::{AgentInfo, ControlReply, ControlRequest};
use homing_transport::{BindError, Endpoint, EndpointConfig, ServerLimits};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::commands::join::host_name;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::device::{Device, NetworkFile, PROGRAM};
use crate::failure::Failure;
use crate::files;

/// Name of the agent when the settings give none.
const AGENT_NAME: &str = "home";
/// Handle of the first user when the system's user name cannot be one.
const OWNER: &str = "owner";

/// Bound, not yet running.
pub(crate) struct Host {
    pub(crate) coordinator: Coordinator,
    pub(crate) coordinator_endpoint: Endpoint,
    pub(crate) agent: Agent,
    pub(crate) device: Arc<Device>,
    pub(crate) agent_info: AgentInfo,
    pub(crate) network_id: String,
}

/// What commands ask of a running host.
#[derive(Clone)]
pub(crate) struct HostStatus {
    coordinator: CoordinatorHandle,
    agent: AgentHandle,
    agent_info: AgentInfo,
    agent_sockets: Vec<SocketAddr>,
    network_id: String,
}

impl Host {
    /// Opens or makes the network, and binds everything.
    pub(crate) async fn bind(dir: &DataDir, config: &mut Config) -> anyhow::Result<Self> {
        if dir.has_device() && !dir.has_coordinator() {
            return Err(Failure::new(
                "already_enrolled",
                "this directory belongs to a device of another host's network",
                "homing proxy serves it; choose another directory with --dir to make a network of your own",
            )
            .into());
        }
        let mut authority = open_authority(dir)?;
        let relay = config.relay.parse()?;
        let network_id = authority.network_id().to_string();
        let coordinator_endpoint = bind_served(
            EndpointConfig {
                key: authority.endpoint_key(),
                alpns: ALPNS.iter().map(|alpn| alpn.to_vec()).collect(),
                bind: config.quic_address(config.quic.coordinator_port),
                relay,
            },
            "coordinator_port",
        )
        .await?;

        let name = config
            .agent
            .name
            .clone()
            .unwrap_or_else(|| AGENT_NAME.to_owned());
        let own = Enrolling {
            dir,
            authority: &mut authority,
        };
        let (agent_key, agent_certificate, agent_name) = own.agent(&name)?;
        let own = Enrolling {
            dir,
            authority: &mut authority,
        };
        let (device_key, device_name) = own.device()?;

        let agent = Agent::bind(AgentConfig {
            settings: agent_settings(dir, config, agent_name.clone(), &agent_key, &authority),
            key: agent_key,
            certificate: agent_certificate,
            keep: keep(dir.agent().join("cert")),
            root_chain: authority.chain().wires().to_vec(),
            coordinator: coordinator_endpoint.reach(),
            bind: config.quic_address(config.quic.agent_port),
            relay: config.relay.parse()?,
            limits: server_limits(config),
            program: PROGRAM.to_owned(),
        })
        .await
        .context("the agent could not be started")?;
        let agent_info = AgentInfo {
            agent: agent_name,
            reach: agent.endpoint().reach(),
            online: true,
        };

        let known = NetworkFile::load(dir)?;
        let snapshot = authority
            .snapshot(Moment::system())
            .map(|wire| Document::from(&wire[..]));
        NetworkFile {
            device: device_name,
            root_chain: authority
                .chain()
                .wires()
                .iter()
                .map(|wire| Document::from(&wire[..]))
                .collect(),
            // A coordinator that is recovering signs nothing; what the device has is good enough.
            snapshot: match (snapshot, &known) {
                (Ok(snapshot), _) => snapshot,
                (Err(_), Some(known)) => known.snapshot.clone(),
                (Err(error), None) => {
                    return Err(error).context("the revocation log could not be signed");
                }
            },
            coordinator: coordinator_endpoint.reach(),
            agents: vec![agent_info.clone()],
            pins: Default::default(),
            last_addresses: Default::default(),
        }
        .save(dir)?;
        drop(device_key);
        let device_bind = config.quic_address(config.quic.device_port);
        let device = Device::open(dir, device_bind, config.relay.parse()?).await?;

        let mut coordinator_config =
            CoordinatorConfig::new(coordinator_endpoint.clone(), authority);
        coordinator_config.limits = server_limits(config);
        let coordinator = Coordinator::bind(coordinator_config)
            .context("the coordinator could not be started")?;
        Ok(Self {
            coordinator,
            coordinator_endpoint,
            agent,
            device,
            agent_info,
            network_id,
        })
    }

    /// Fills in the ports that were chosen, for the settings file of a first run.
    pub(crate) fn note_ports(&self, config: &mut Config) {
        let port =
            |endpoint: &Endpoint| endpoint.bound_sockets().first().map_or(0, SocketAddr::port);
        config.quic.agent_port = port(self.agent.endpoint());
        config.quic.coordinator_port = port(&self.coordinator_endpoint);
        config.quic.device_port = port(self.device.endpoint());
    }

    pub(crate) fn status(&self) -> HostStatus {
        HostStatus {
            coordinator: self.coordinator.handle(),
            agent: self.agent.handle(),
            agent_info: self.agent_info.clone(),
            agent_sockets: self.agent.endpoint().bound_sockets(),
            network_id: self.network_id.clone(),
        }
    }
}

/// Runs coordinator and agent until `shutdown`: the agent ends first, the coordinator outlives it so
/// that the agent's last acknowledgements are heard.
pub(crate) async fn run(
    coordinator: Coordinator,
    endpoint: Endpoint,
    agent: Agent,
    serving: watch::Sender<bool>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let coordinator_stop = CancellationToken::new();
    let stop = coordinator_stop.clone();
    let agent_done = async {
        let ended = agent.run(serving, shutdown).await;
        stop.cancel();
        ended
    };
    let (ended, _) = tokio::join!(agent_done, coordinator.run(coordinator_stop));
    endpoint.close().await;
    ended.context("the agent stopped")
}

/// Does a request on the files of this host, when nothing runs.
pub(crate) async fn offline(
    dir: &DataDir,
    request: ControlRequest,
) -> anyhow::Result<ControlReply> {
    let _held = dir.hold("command")?;
    let config = Config::load(&dir.config())?.unwrap_or_default();
    let authority = open_authority(dir)?;
    // Bound, not served: a ticket that is made now must name the port of the next start.
    let endpoint = bind_served(
        EndpointConfig {
            key: authority.endpoint_key(),
            alpns: Vec::new(),
            bind: config.quic_address(config.quic.coordinator_port),
            relay: config.relay.parse()?,
        },
        "coordinator_port",
    )
    .await?;
    let coordinator = Coordinator::bind(CoordinatorConfig::new(endpoint.clone(), authority))
        .context("the coordinator's files could not be used")?;
    let reply = coordinator.handle().request(request).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    coordinator.run(stopped).await;
    endpoint.close().await;
    Ok(reply)
}

impl HostStatus {
    pub(crate) async fn request(&self, request: ControlRequest) -> ControlReply {
        self.coordinator.request(request).await
    }

    /// One document for `homing status`.
    pub(crate) fn document(&self) -> Value {
        let trust = self.agent.trust();
        let head = trust.head();
        json!({
            "network_id": self.network_id,
            "agent": self.agent_info.agent,
            "agent_node_id": self.agent_info.reach.node_id.to_string(),
            "agent_connections": self.agent.connections(),
            "agent_sockets": self.agent_sockets,
            "log_seq": head.seq,
            "log_staleness_seconds": trust.staleness().as_secs(),
            "revoked_devices": trust.state().revoked_len(),
            "coordinator_node_id": self.coordinator.reach().node_id.to_string(),
            "coordinator_connections": self.coordinator.connections(),
            "coordinator_addresses": self.coordinator.reach().addresses,
        })
    }
}

/// Enrols what runs on this host itself, without a ticket.
struct Enrolling<'a> {
    dir: &'a DataDir,
    authority: &'a mut Authority,
}

impl Enrolling<'_> {
    fn agent(self, name: &str) -> anyhow::Result<(SigningKey, Vec<u8>, String)> {
        let folder = self.dir.agent();
        let key = own_key(&folder)?;
        let mut scopes: Vec<String> = default_scopes(Role::Agent, true)
            .iter()
            .map(str::to_owned)
            .collect();
        // The agent that `up` makes may pass on an admin's revocations.
        scopes.push("devices.revoke".to_owned());
        let scopes = homing_certs::Scopes::new(scopes).context("the agent's scopes")?;
        let node_id = node_id(&key);
        let enrolled = self
            .authority
            .enrol_local(node_id, name, Role::Agent, &scopes, None, Moment::system())
            .context("the agent could not be enrolled")?;
        files::write(&folder.join("cert"), &enrolled.certificate)?;
        Ok((key, enrolled.certificate, enrolled.device.device))
    }

    fn device(self) -> anyhow::Result<(SigningKey, String)> {
        let folder = self.dir.device();
        let key = own_key(&folder)?;
        let name = host_name().unwrap_or_else(|| OWNER.to_owned());
        let enrolled = self
            .authority
            .enrol_local(
                node_id(&key),
                &name,
                Role::Admin,
                &owner_scopes(),
                None,
                Moment::system(),
            )
            .context("this machine could not be enrolled as the owner's device")?;
        files::write(&folder.join("cert"), &enrolled.certificate)?;
        Ok((key, enrolled.device.device))
    }
}

fn open_authority(dir: &DataDir) -> anyhow::Result<Authority> {
    if dir.has_coordinator() {
        return Authority::open(&dir.coordinator(), Moment::system())
            .context("the coordinator's files could not be opened");
    }
    let network = NewNetwork {
        owner_handle: owner_handle(),
        now: Moment::system(),
    };
    Authority::create(&dir.coordinator(), &network).context("the network could not be made")
}

fn agent_settings(
    dir: &DataDir,
    config: &Config,
    name: String,
    key: &SigningKey,
    authority: &Authority,
) -> AgentSettings {
    let mut settings = AgentSettings::new(dir.agent(), name, node_id(key), authority.network_id());
    let limits = &config.limits;
    settings.rates.reads_per_second = limits.reads_per_second;
    settings.rates.writes_per_second = limits.writes_per_second;
    settings.rates.runs_per_minute = limits.runs_per_minute;
    settings.rates.chat_per_minute = limits.chat_per_minute;
    if let Some(bytes) = config.agent.upload_limit {
        settings.sizes.upload = bytes;
    }
    settings
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
        Err(BindError::Address { addr, .. }) if bind.port() != 0 => Err(Failure::new(
            "port_taken",
            format!("another program uses the UDP port {addr}"),
            format!("stop it, or set {setting} in homing.toml to another port; tickets made before name the old one"),
        )
        .into()),
        Err(error) => Err(error).context("a QUIC socket could not be bound"),
    }
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

fn owner_handle() -> String {
    let user = std::env::var("USER").unwrap_or_default().to_lowercase();
    let clean = user
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    if clean && !user.is_empty() && user.len() <= authority::MAX_NAME_LEN {
        user
    } else {
        OWNER.to_owned()
    }
}
