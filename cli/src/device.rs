//! This device: its key, certificate and network on disk, and its endpoint and coordinator while it
//! runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures_util::future::BoxFuture;
use homing_certs::{NodeId, SigningKey, UnixTime};
use homing_protocol::control::{AgentInfo, ControlReply, ControlRequest};
use homing_protocol::gateway::Reach;
use homing_protocol::{Document, ErrorBody};
use homing_transport::controlling::{ControlClient, ControlError};
use homing_transport::credentials::{Credentials, own_certificate};
use homing_transport::dial::DialError;
use homing_transport::pool::Home;
use homing_transport::renewing::{self, Keep};
use homing_transport::{Endpoint, EndpointConfig, PathReport, Relay, Trust};
use tracing::warn;

use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files;

pub(crate) mod dialing;
mod network_file;
pub(crate) mod notices;

pub(crate) use network_file::NetworkFile;

/// Program version that peers see.
pub(crate) const PROGRAM: &str = concat!("homing ", env!("CARGO_PKG_VERSION"));

/// An enrolled device with a bound endpoint.
pub(crate) struct Device {
    dir: DataDir,
    endpoint: Endpoint,
    credentials: Arc<Credentials>,
    control: Arc<ControlClient>,
    network: Arc<Mutex<NetworkFile>>,
}

impl Device {
    /// Reads the device's files and binds its endpoint.
    pub(crate) async fn open(
        dir: &DataDir,
        bind: SocketAddr,
        relay: Relay,
    ) -> anyhow::Result<Arc<Self>> {
        let key = files::read_key(&dir.device().join("key"))?.ok_or_else(not_joined)?;
        let network = NetworkFile::load(dir)?.ok_or_else(not_joined)?;
        let wire = files::read(&dir.device().join("cert"))?.ok_or_else(not_joined)?;
        let state = network.trust_state()?;
        let certificate = own_certificate(&state, &wire)
            .map_err(|error| damaged(&format!("its certificate: {error}")))?;
        // It is not earlier than when the signer said that it issued this.
        let floor = UnixTime(network.floor).max(certificate.certificate().issued_at);
        let trust = Arc::new(Trust::new(state.without_times_after(floor), floor));
        let credentials = Arc::new(Credentials::new(certificate, trust, PROGRAM.to_owned()));
        let endpoint = bind_endpoint(key, bind, relay).await?;
        let coordinator = network.coordinator.clone();
        let control = Arc::new(ControlClient::new(
            endpoint.clone(),
            coordinator,
            credentials.clone(),
        ));
        let network = Arc::new(Mutex::new(network));
        Ok(Arc::new(Self {
            dir: dir.clone(),
            endpoint,
            credentials,
            control,
            network,
        }))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    pub(crate) fn control(&self) -> &Arc<ControlClient> {
        &self.control
    }

    /// A copy of what is known of the network.
    pub(crate) fn network(&self) -> NetworkFile {
        self.network
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes renewed certificates, after the root documents that they stand on.
    pub(crate) fn keep(&self) -> Keep {
        let path = self.dir.device().join("cert");
        let (dir, network) = (self.dir.clone(), self.network.clone());
        let trust = self.credentials.trust().clone();
        Arc::new(move |wire| {
            let chain = root_chain(&trust);
            change(&dir, &network, |network| network.root_chain = chain)
                .map_err(std::io::Error::other)?;
            files::write(&path, wire).map_err(std::io::Error::other)
        })
    }

    /// The agent that a name, a NodeId or nothing stands for, with the addresses that are known.
    pub(crate) async fn find_agent(&self, selector: Option<&str>) -> anyhow::Result<AgentInfo> {
        if let Some(found) = self.network().find(selector)? {
            return Ok(found);
        }
        // Not known here: the directory may know more.
        self.refresh_agents()
            .await
            .map_err(|error| Failure(error.body()))?;
        match (
            self.network().find(selector)?,
            selector.map(str::parse::<NodeId>),
        ) {
            (Some(found), _) => Ok(found),
            (None, Some(Ok(node_id))) => Ok(AgentInfo {
                agent: node_id.short(),
                reach: Reach {
                    node_id,
                    relay: None,
                    addresses: Vec::new(),
                },
                online: false,
            }),
            (None, _) => Err(Failure::new(
                "unknown_agent",
                match selector {
                    Some(name) => format!("no agent of this network is called {name}"),
                    None => "this network has no agent".to_owned(),
                },
                "homing agents lists them",
            )
            .into()),
        }
    }

    /// Asks the coordinator for the agents and remembers them.
    pub(crate) async fn refresh_agents(&self) -> Result<Vec<AgentInfo>, ControlError> {
        let ControlReply::Agents(agents) = self.control.request(&ControlRequest::Agents).await?
        else {
            return Ok(Vec::new());
        };
        if let Err(error) = self.change(|network| network.agents.clone_from(&agents)) {
            warn!(%error, "the agents could not be remembered");
        }
        Ok(agents)
    }

    /// Takes over the newest revocation log, so that this device neither dials a revoked agent nor goes
    /// on talking to one.
    pub(crate) async fn refresh_log(&self) -> Result<(), ControlError> {
        let trust = self.credentials.trust();
        let head = trust.head().into();
        let reply = self.control.request(&ControlRequest::Log { head }).await?;
        let ControlReply::Log {
            snapshot: Some(snapshot),
        } = reply
        else {
            return Ok(());
        };
        if let Err(error) = trust.apply(snapshot.as_ref()) {
            warn!(
                error = &error as &dyn std::error::Error,
                "the coordinator's log was refused"
            );
            return Ok(());
        }
        // Together: a log of a new root epoch is worth nothing without its root document.
        let chain = root_chain(trust);
        let floor = trust.floor().0;
        let kept = self.change(|network| {
            network.snapshot = snapshot;
            network.root_chain = chain;
            network.floor = floor;
        });
        if let Err(error) = kept {
            warn!(%error, "the revocation log could not be kept");
        }
        Ok(())
    }

    /// The user has named this key in full; its name stands for it from now on.
    fn trust_name(&self, agent: NodeId) {
        if let Err(error) = self.change(|network| network.trust_name(agent)) {
            warn!(%error, "the agent's name could not be remembered");
        }
    }

    fn change(&self, by: impl FnOnce(&mut NetworkFile)) -> Result<(), Failure> {
        change(&self.dir, &self.network, by)
    }
}

fn root_chain(trust: &Trust) -> Vec<Document> {
    let state = trust.state();
    let wires = state.chain().wires().iter();
    wires.map(|wire| Document(wire.clone())).collect()
}

fn change(
    dir: &DataDir,
    network: &Mutex<NetworkFile>,
    by: impl FnOnce(&mut NetworkFile),
) -> Result<(), Failure> {
    let mut network = network.lock().unwrap_or_else(PoisonError::into_inner);
    let before = network.clone();
    by(&mut network);
    if *network == before {
        return Ok(());
    }
    network
        .save(dir)
        .map_err(|error| Failure::new("storage", format!("{error:#}"), "free some disk space"))
}

impl Home for Device {
    fn renew(&self) -> BoxFuture<'_, Result<(), ErrorBody>> {
        Box::pin(async { renewing::renew(&self.control, &self.credentials, &self.keep()).await })
    }

    fn locate(&self, agent: NodeId) -> BoxFuture<'_, Result<Option<Reach>, DialError>> {
        Box::pin(async move {
            match self.refresh_agents().await {
                Ok(agents) => {
                    let mut reaches = agents.into_iter().map(|known| known.reach);
                    Ok(reaches.find(|reach| reach.node_id == agent))
                }
                Err(ControlError::Dial(error)) => Err(error),
                Err(_) => Ok(None),
            }
        })
    }

    fn reached(&self, agent: NodeId, path: Option<PathReport>) {
        let remembered = self.change(|network| {
            network.remember(agent, path.and_then(|path| path.address));
        });
        if let Err(error) = remembered {
            warn!(%error, "the agent's address could not be remembered");
        }
    }

    fn proof(&self, node_id: NodeId) -> BoxFuture<'_, Result<Option<Vec<u8>>, DialError>> {
        Box::pin(async move {
            match self
                .control
                .request(&ControlRequest::Proof { node_id })
                .await
            {
                Ok(ControlReply::Proof { document }) => Ok(document.map(|document| document.0)),
                Err(ControlError::Dial(error)) => Err(error),
                _ => Ok(None),
            }
        })
    }
}

/// Binds an endpoint that only dials. A stored port that is taken gives way to a free one: the device
/// is the side that dials, so nobody looks for it there.
pub(crate) async fn bind_endpoint(
    key: SigningKey,
    bind: SocketAddr,
    relay: Relay,
) -> anyhow::Result<Endpoint> {
    let config = EndpointConfig {
        key,
        alpns: Vec::new(),
        bind,
        relay,
    };
    match Endpoint::bind(config.clone()).await {
        Ok(endpoint) => Ok(endpoint),
        Err(_) if bind.port() != 0 => {
            let bind = SocketAddr::new(bind.ip(), 0);
            Ok(Endpoint::bind(EndpointConfig { bind, ..config }).await?)
        }
        Err(error) => Err(error).context("the QUIC socket could not be bound"),
    }
}

/// A file of this device that cannot be what homing wrote.
fn damaged(what: &str) -> Failure {
    Failure::new(
        "damaged",
        format!("what this device keeps of its network is damaged: {what}"),
        "restore the directory from a backup, or join again with a new ticket",
    )
}

fn not_joined() -> Failure {
    Failure::new(
        "no_network",
        "this device is not enrolled in a network",
        "homing join <ticket> enters one, homing up makes one",
    )
}
