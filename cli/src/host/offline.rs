//! What commands do on the files of a host when nothing runs there.

use anyhow::Context;
use homing_agent::confirmed_time;
use homing_agent::denied::{self, Denied};
use homing_agent::store::Store;
use homing_certs::NodeId;
use homing_coordinator::authority::Caller;
use homing_coordinator::{Authority, Coordinator, CoordinatorConfig, Moment};
use homing_protocol::ErrorBody;
use homing_protocol::control::{ControlReply, ControlRequest};
use homing_transport::EndpointConfig;
use tokio_util::sync::CancellationToken;

use super::bind_served;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files;

/// Most devices that are looked through for the start of a key.
const MAX_LISTED: usize = 10_000;

/// The coordinator's files.
pub(crate) fn open(dir: &DataDir) -> anyhow::Result<Authority> {
    if !dir.has_coordinator() {
        return Err(super::no_coordinator().into());
    }
    for secret in ["key", "signer", "root.kit"] {
        files::refuse_exposed(&dir.coordinator().join(secret))?;
    }
    Authority::open(&dir.coordinator(), Moment::system())
        .context("the coordinator's files could not be opened")
}

/// A request to the coordinator.
pub(crate) async fn request(
    dir: &DataDir,
    request: ControlRequest,
) -> anyhow::Result<ControlReply> {
    let _held = dir.hold("command")?;
    let config = Config::load(&dir.config())?.unwrap_or_default();
    let authority = open(dir)?;
    // Bound, not served: a ticket that is made now must name the port of the next start. Nothing else
    // needs a port, and a revocation must not fail for want of one.
    let port = match request {
        ControlRequest::Invite(_) => config.quic.coordinator_port,
        _ => None,
    };
    let endpoint = bind_served(
        EndpointConfig {
            key: authority.endpoint_key(),
            alpns: Vec::new(),
            bind: config.quic_address(port),
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

/// Ends the coordinator's recovery.
pub(crate) fn resume(dir: &DataDir, without_newest_log: bool) -> anyhow::Result<()> {
    let _held = dir.hold("command")?;
    let mut authority = open(dir)?;
    authority
        .resume(without_newest_log, Moment::system())
        .map_err(|error| Failure(ErrorBody::from(&error)))?;
    if dir.has_agent() {
        confirmed_time::write(&dir.agent(), Moment::system().wall)
            .context("the confirmed time could not be written")?;
    }
    Ok(())
}

/// Denies a device at this host's agent; the next start knows.
pub(crate) async fn deny(dir: &DataDir, device: &str) -> anyhow::Result<NodeId> {
    if !dir.has_agent() {
        return Err(super::no_agent().into());
    }
    let _held = dir.hold("command")?;
    let node_id = match named(dir, device)? {
        Some(node_id) => node_id,
        None => {
            let path = dir.agent().join("agent.db");
            let store = tokio::task::spawn_blocking(move || Store::open(&path)).await??;
            let seen = store.devices(None, None, MAX_LISTED).await;
            store.shutdown().await;
            denied::select(device, &seen?).map_err(|error| super::not_selected(&error))?
        }
    };
    let list = Denied::open(&dir.agent())?;
    list.insert(node_id);
    list.save()?;
    Ok(node_id)
}

fn named(dir: &DataDir, device: &str) -> anyhow::Result<Option<NodeId>> {
    if !dir.has_coordinator() {
        return Ok(None);
    }
    let devices = open(dir)?.devices(Caller::Local)?;
    let found = devices.into_iter().find(|known| known.device == device);
    Ok(found.map(|known| known.node_id))
}
