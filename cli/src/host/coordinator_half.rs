//! The coordinator on this host, and what it enrols here without a ticket.

use anyhow::Context;
use homing_certs::{NodeId, Role, Scopes};
use homing_coordinator::authority::{
    self, AuthorityError, NewNetwork, Refusal, default_scopes, owner_scopes,
};
use homing_coordinator::{ALPNS, Authority, Coordinator, CoordinatorConfig, Moment};
use homing_protocol::Document;
use homing_protocol::control::AgentInfo;
use homing_transport::server::Ended;
use homing_transport::{Endpoint, EndpointConfig};
use tokio_util::sync::CancellationToken;

use super::{AgentFile, bind_served, node_id, own_key, server_limits};
use crate::commands::join::host_name;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::device::NetworkFile;
use crate::failure::Failure;
use crate::files;

/// Name of the agent when the settings give none.
const AGENT_NAME: &str = "home";
/// Handle of the first user when the system's user name cannot be one.
const OWNER: &str = "owner";

/// Opened and bound, not yet running.
pub(crate) struct CoordinatorHalf {
    pub(crate) authority: Authority,
    pub(crate) endpoint: Endpoint,
}

/// Ready to run.
pub(crate) struct BoundCoordinator {
    pub(crate) coordinator: Coordinator,
    pub(crate) endpoint: Endpoint,
}

impl CoordinatorHalf {
    /// Opens or makes the network, and binds the coordinator's endpoint.
    pub(crate) async fn open(dir: &DataDir, config: &Config) -> anyhow::Result<Self> {
        if dir.has_device() && !dir.has_coordinator() {
            return Err(Failure::new(
                "already_enrolled",
                "this directory belongs to a device of another host's network",
                "homing proxy serves it; choose another directory with --dir to make a network of your own",
            )
            .into());
        }
        if dir.has_agent_network() && !dir.has_coordinator() {
            return Err(Failure::new(
                "already_enrolled",
                "this directory belongs to an agent of another host's network",
                "homing agent run serves it; choose another directory with --dir to make a network of your own",
            )
            .into());
        }
        let authority = open_authority(dir)?;
        let endpoint = bind_served(
            EndpointConfig {
                key: authority.endpoint_key(),
                alpns: ALPNS.iter().map(|alpn| alpn.to_vec()).collect(),
                bind: config.quic_address(config.quic.coordinator_port),
                relay: config.relay.parse()?,
            },
            "coordinator_port",
        )
        .await?;
        Ok(Self {
            authority,
            endpoint,
        })
    }

    /// Enrols the agent of this host, and writes what it starts from.
    pub(crate) fn enrol_agent(&mut self, dir: &DataDir, config: &Config) -> anyhow::Result<()> {
        let folder = dir.agent();
        let key = own_key(&folder)?;
        let name = config.agent.name.as_deref().unwrap_or(AGENT_NAME);
        let mut scopes: Vec<String> = default_scopes(Role::Agent, true)
            .iter()
            .map(str::to_owned)
            .collect();
        // The agent that `up` makes may pass on an admin's revocations.
        scopes.push("devices.revoke".to_owned());
        let scopes = Scopes::new(scopes).context("the agent's scopes")?;
        let known = AgentFile::load(dir)?.map(|file| file.agent);
        let agent = self
            .enrol(&folder, node_id(&key), (name, known), Role::Agent, &scopes)
            .context("the agent could not be enrolled")?;
        AgentFile {
            agent,
            root_chain: self.root_chain(),
            coordinator: self.endpoint.reach(),
        }
        .save(dir)
    }

    /// Enrols this machine as the owner's device, and writes what it starts from.
    pub(crate) fn enrol_device(
        &mut self,
        dir: &DataDir,
        agents: Vec<AgentInfo>,
    ) -> anyhow::Result<()> {
        let folder = dir.device();
        let key = own_key(&folder)?;
        let name = host_name().unwrap_or_else(|| OWNER.to_owned());
        let known = NetworkFile::load(dir)?;
        let device = self
            .enrol(
                &folder,
                node_id(&key),
                (&name, known.as_ref().map(|known| known.device.clone())),
                Role::Admin,
                &owner_scopes(),
            )
            .context("this machine could not be enrolled as the owner's device")?;
        let snapshot = self.authority.snapshot(Moment::system());
        let snapshot = match (snapshot, &known) {
            (Ok(snapshot), _) => Document::from(&snapshot[..]),
            // A coordinator that is recovering signs nothing; what the device has is good enough.
            (Err(_), Some(known)) => known.snapshot.clone(),
            (Err(error), None) => {
                return Err(error).context("the revocation log could not be signed");
            }
        };
        NetworkFile {
            device,
            root_chain: self.root_chain(),
            snapshot,
            floor: known.as_ref().map_or(0, |known| known.floor),
            coordinator: self.endpoint.reach(),
            agents,
            pins: known
                .as_ref()
                .map(|known| known.pins.clone())
                .unwrap_or_default(),
            last_addresses: known.map(|known| known.last_addresses).unwrap_or_default(),
        }
        .save(dir)
    }

    /// Ready to run.
    pub(crate) fn bind(self, config: &Config) -> anyhow::Result<BoundCoordinator> {
        let mut settings = CoordinatorConfig::new(self.endpoint.clone(), self.authority);
        settings.limits = server_limits(config);
        settings.enrolments_per_second = config.limits.enrolments_per_second;
        let coordinator =
            Coordinator::bind(settings).context("the coordinator could not be started")?;
        Ok(BoundCoordinator {
            coordinator,
            endpoint: self.endpoint,
        })
    }

    // The name of the enrolled row. A coordinator that is recovering, or whose clock has jumped, issues
    // nothing: what was enrolled before goes on with the certificate that it has, so that the owner can look and resume.
    fn enrol(
        &mut self,
        folder: &std::path::Path,
        node_id: NodeId,
        (name, known): (&str, Option<String>),
        role: Role,
        scopes: &Scopes,
    ) -> Result<String, anyhow::Error> {
        let now = Moment::system();
        let enrolled = self
            .authority
            .enrol_local(node_id, name, role, scopes, None, now);
        match (enrolled, known) {
            (Ok(enrolled), _) => {
                files::write(&folder.join("cert"), &enrolled.certificate)?;
                Ok(enrolled.device.device)
            }
            (
                Err(AuthorityError::Refused(Refusal::Recovering | Refusal::ClockDeparted)),
                Some(known),
            ) if folder.join("cert").exists() => Ok(known),
            (Err(error), _) => Err(error.into()),
        }
    }

    fn root_chain(&self) -> Vec<Document> {
        self.authority.root_chain_after(0)
    }
}

impl BoundCoordinator {
    /// Serves until `shutdown`. A coordinator that has lost its endpoint ends the process with an error:
    /// one that nobody can ask must not look as if it ran.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let ended = self.coordinator.run(shutdown).await;
        self.endpoint.close().await;
        match ended {
            Ended::Shutdown => Ok(()),
            Ended::EndpointLost => Err(Failure::new(
                "endpoint_lost",
                "the coordinator's QUIC socket failed",
                "start homing again; if it happens again, look at the machine's network",
            )
            .into()),
        }
    }
}

/// The network in this directory, made when there is none.
fn open_authority(dir: &DataDir) -> anyhow::Result<Authority> {
    if dir.has_coordinator() {
        return super::offline::open(dir);
    }
    let network = NewNetwork {
        owner_handle: owner_handle(),
        now: Moment::system(),
    };
    Authority::create(&dir.coordinator(), &network).context("the network could not be made")
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
