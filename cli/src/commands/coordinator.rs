//! `homing coordinator run` and `homing coordinator resume`.

use std::sync::Arc;

use homing_protocol::local::{LocalCommand, LocalReply};
use serde_json::json;
use tokio::task::JoinSet;

use super::first_run::choose_relay;
use super::network;
use super::serving::Serving;
use crate::answers::Answers;
use crate::args::PartArgs;
use crate::config::Config;
use crate::control_socket::ControlSocket;
use crate::data_dir::DataDir;
use crate::host::coordinator_half::CoordinatorHalf;
use crate::host::{self, HostStatus};
use crate::output::Output;
use crate::runtime;

/// The coordinator alone. Whoever runs it is the owner, through the control socket; this machine is
/// no device, so there is one key less to lose on a public host.
pub(super) async fn run(dir: &DataDir, args: PartArgs, output: Output) -> anyhow::Result<()> {
    let _held = dir.hold("coordinator run")?;
    let stored = Config::load(&dir.config())?;
    let first_run = stored.is_none();
    let mut config = stored.unwrap_or_default();
    choose_relay(&mut config, args.relay.as_deref(), first_run, output)?;
    let mut running = config.clone();
    if let Some(bind) = args.bind {
        running.quic.address = bind.ip();
        // Port 0 leaves the port that was chosen at first run: tickets name it.
        if bind.port() != 0 {
            running.quic.coordinator_port = Some(bind.port());
        }
    }
    let half = CoordinatorHalf::open(dir, &running).await?;
    let port = host::port(&half.endpoint);
    config.quic.coordinator_port.get_or_insert(port);
    config.keep(&dir.config(), first_run)?;
    host::wait_for_relay(&running, &half.endpoint).await?;
    let network_id = half.authority.network_id().to_string();
    let node_id = half.endpoint.id().to_string();
    let bound = half.bind(&running)?;
    let socket = ControlSocket::bind(dir)?;

    let mut tasks = JoinSet::new();
    let shutdown = runtime::shutdown_on_signal(&mut tasks)?;
    let status = HostStatus {
        network_id: network_id.clone(),
        coordinator: Some(bound.coordinator.handle()),
        agent: None,
    };
    let answers = Answers::new(None, Some(status), shutdown.clone());
    tasks.spawn(socket.run(Arc::new(answers), shutdown.clone()));
    let mut parts = JoinSet::new();
    let stop = shutdown.clone();
    parts.spawn(bound.run(stop));
    let document = json!({
        "node_id": node_id,
        "network_id": network_id,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let ready = async {
        output.result(&document, || {
            let first = if first_run {
                "\nA new network was made. Its root key lies in coordinator/root.kit: move it offline with\nhoming kit export <file> and homing kit verify <file>.\n"
            } else {
                ""
            };
            format!(
                "{} serves.\n  NodeId   {node_id}\n{first}\nInvite an agent, and a device:\n\n  homing invite --role agent --name home\n  homing invite --name phone\n",
                output.bold("The coordinator")
            )
        });
        Ok(())
    };
    let serving = Serving {
        parts,
        tasks,
        shutdown,
    };
    serving.until_end(output, ready, async {}).await
}

/// Ends the recovery after a restore.
pub(super) async fn resume(
    dir: &DataDir,
    without_newest_log: bool,
    output: Output,
) -> anyhow::Result<()> {
    let command = LocalCommand::Resume { without_newest_log };
    match network::ask_running(dir, command).await? {
        Some(LocalReply::Done) => {}
        Some(_) => return Err(network::unexpected().into()),
        None => host::offline::resume(dir, without_newest_log)?,
    }
    output.result(&json!({ "resumed": true }), || {
        "The coordinator signs again. Tickets that were open are void.".to_owned()
    });
    Ok(())
}
