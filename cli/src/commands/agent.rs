//! `homing agent run`: the agent alone, enrolled with a ticket at its first start.

use std::sync::Arc;

use anyhow::Context;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::first_run::choose_relay;
use super::join::{read_ticket, take_relay};
use super::serving::Serving;
use crate::answers::Answers;
use crate::args::AgentRunArgs;
use crate::config::Config;
use crate::control_socket::ControlSocket;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::host::{self, AgentFile, HostStatus, Upkeep, agent_half, reloading};
use crate::output::Output;
use crate::runtime;

pub(super) async fn run(dir: &DataDir, args: AgentRunArgs, output: Output) -> anyhow::Result<()> {
    let _held = dir.hold("agent run")?;
    let stored = Config::load(&dir.config())?;
    let first_run = stored.is_none();
    let mut config = stored.unwrap_or_default();
    let mut running = config.clone();
    if let Some(bind) = args.part.bind {
        running.quic.address = bind.ip();
        // Port 0 leaves the port that was chosen at first run: the directory names it.
        if bind.port() != 0 {
            running.quic.agent_port = Some(bind.port());
        }
    }
    enrol(dir, &mut running, &args, output).await?;
    choose_relay(&mut running, args.part.relay.as_deref(), false, output)?;
    let upkeep = Upkeep::new(dir);
    let agent = agent_half::bind(dir, &running, &upkeep).await?;
    if first_run {
        config.relay = running.relay.clone();
    }
    let port = host::port(agent.endpoint());
    config.quic.agent_port.get_or_insert(port);
    config.keep(&dir.config(), first_run)?;
    upkeep.config_file.started();
    host::wait_for_relay(&running, agent.endpoint()).await?;
    let status = HostStatus {
        network_id: agent.handle().trust().network_id().to_string(),
        coordinator: None,
        agent: Some(host::agent_status(&agent)),
    };
    let document = json!({
        "node_id": agent.endpoint().id().to_string(),
        "agent": agent.handle().name(),
        "network_id": status.network_id,
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let socket = ControlSocket::bind(dir)?;

    let mut tasks = JoinSet::new();
    let shutdown = runtime::shutdown_on_signal(&mut tasks)?;
    let answers = Answers::new(None, Some(status.clone()), shutdown.clone());
    tasks.spawn(socket.run(Arc::new(answers), shutdown.clone()));
    tasks.spawn(Upkeep::stop_for_restart(
        upkeep.restart.clone(),
        shutdown.clone(),
    ));
    runtime::on_hangup(&mut tasks, shutdown.clone(), reloading(status))?;
    let (serving, mut is_serving) = watch::channel(false);
    let mut parts = JoinSet::new();
    let stop = shutdown.clone();
    parts.spawn(async move { agent.run(serving, stop).await.context("the agent stopped") });
    let ready = async {
        is_serving.wait_for(|serving| *serving).await.ok();
        output.result(&document, || {
            format!(
                "{} is up.\n  NodeId   {}\n",
                output.bold(document["agent"].as_str().unwrap_or("The agent")),
                document["node_id"].as_str().unwrap_or_default(),
            )
        });
        Ok(())
    };
    let serving = Serving {
        parts,
        tasks,
        shutdown,
    };
    serving.until_end(output, ready, async {}).await?;
    upkeep.end()
}

/// Redeems the ticket, unless this agent is in its network already: the same command line may start
/// it again.
async fn enrol(
    dir: &DataDir,
    config: &mut Config,
    args: &AgentRunArgs,
    output: Output,
) -> anyhow::Result<()> {
    let known = AgentFile::load(dir)?;
    if args.ticket.is_none() && args.ticket_file.is_none() {
        // Without a file the agent says what it needs when it is bound.
        return Ok(());
    }
    if known.is_none() && (dir.has_device() || dir.has_coordinator()) {
        return Err(Failure::new(
            "already_enrolled",
            "this directory belongs to a device or a coordinator",
            "choose another directory for the agent with --dir",
        )
        .into());
    }
    let ticket = match (known, &args.ticket_file) {
        // A ticket file that was cleared away after the first start is no mistake.
        (Some(_), Some(file)) if !file.exists() => return Ok(()),
        (Some(file), _) => {
            let ticket = read_ticket(args.ticket.as_deref(), args.ticket_file.as_deref())?;
            if file.chain()?.network_id() != ticket.network_id {
                return Err(Failure::new(
                    "already_enrolled",
                    "this directory's agent belongs to another network than the ticket",
                    "choose another directory with --dir",
                )
                .into());
            }
            output.progress("the agent is enrolled already; the ticket is not used");
            return Ok(());
        }
        (None, _) => read_ticket(args.ticket.as_deref(), args.ticket_file.as_deref())?,
    };
    take_relay(config, args.part.relay.as_deref(), &ticket)?;
    agent_half::enrol(dir, config, ticket, args.name.clone(), output).await
}
