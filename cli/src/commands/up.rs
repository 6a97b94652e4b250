//! `homing up`: everything in this process.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::first_run::choose_relay;
use super::serving::Serving;
use crate::answers::Answers;
use crate::args::UpArgs;
use crate::config::Config;
use crate::control_socket::ControlSocket;
use crate::data_dir::DataDir;
use crate::device_side::DeviceSide;
use crate::failure::Failure;
use crate::host::{self, Host, Upkeep, reloading};
use crate::output::Output;
use crate::runtime;

pub(super) async fn run(dir: &DataDir, args: UpArgs, output: Output) -> anyhow::Result<()> {
    let _held = dir.hold("up")?;
    let stored = Config::load(&dir.config())?;
    let first_run = stored.is_none();
    let mut config = stored.unwrap_or_default();
    choose_relay(&mut config, args.relay.as_deref(), first_run, output)?;
    let mut running = config.clone();
    if let Some(port) = args.port {
        running.proxy.port = port;
    }
    if let Some(bind) = args.bind {
        running.quic.address = bind.ip();
        // Port 0 leaves the port that was chosen at first run: devices remember it.
        if bind.port() != 0 {
            running.quic.agent_port = Some(bind.port());
        }
    }

    let upkeep = Upkeep::new(dir);
    let host = Host::bind(dir, &mut running, &upkeep).await?;
    host.note_ports(&mut config);
    config.keep(&dir.config(), first_run)?;
    let side =
        DeviceSide::bind(dir, &running, host.device.clone(), host.agent_info.clone()).await?;
    host.agent.handle().hide_port(side.proxy_port);
    upkeep.config_file.started();
    let socket = ControlSocket::bind(dir)?;

    let mut tasks = JoinSet::new();
    let shutdown = runtime::shutdown_on_signal(&mut tasks)?;
    let status = host.status();
    let answers = Answers::new(Some(side.status()), Some(status.clone()), shutdown.clone());
    tasks.spawn(socket.run(Arc::new(answers), shutdown.clone()));
    tasks.spawn(Upkeep::stop_for_restart(
        upkeep.restart.clone(),
        shutdown.clone(),
    ));
    runtime::on_hangup(&mut tasks, shutdown.clone(), reloading(status.clone()))?;

    let Host {
        coordinator,
        agent,
        device,
        agent_info,
        network_id,
    } = host;
    let (serving, mut is_serving) = watch::channel(false);
    let (proxy_url, pool) = (side.proxy_url.clone(), side.pool.clone());
    let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
    // The proxy ends first, so that its requests still find the agent.
    let agent_stop = tokio_util::sync::CancellationToken::new();
    let (proxy_stop, stop_agent) = (shutdown.clone(), agent_stop.clone());
    parts.spawn(async move {
        let ended = side.run(output, proxy_stop).await;
        stop_agent.cancel();
        ended
    });
    parts.spawn(host::run(coordinator, agent, serving, agent_stop));

    let ready = async {
        is_serving.wait_for(|serving| *serving).await.ok();
        let connected = pool.connected().await;
        // While recovering nothing is renewed; it runs all the same, so that the owner can look at
        // the devices and resume.
        if let Err(error) = connected
            && !status.is_recovering().await
        {
            return Err(Failure(error).into());
        }
        announce(output, &agent_info, &network_id, &proxy_url, first_run);
        Ok(())
    };
    let serving = Serving {
        parts,
        tasks,
        shutdown,
    };
    serving
        .until_end(output, ready, async { device.endpoint().close().await })
        .await?;
    upkeep.end()
}

fn announce(
    output: Output,
    agent: &homing_protocol::control::AgentInfo,
    network_id: &str,
    proxy_url: &str,
    first_run: bool,
) {
    let document = json!({
        "node_id": agent.reach.node_id.to_string(),
        "network_id": network_id,
        "agent": agent.agent,
        "proxy_url": proxy_url,
        "web_url": format!("{proxy_url}/"),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    output.result(&document, || {
        let first = if first_run {
            "\nA new network was made. Its root key lies in coordinator/root.kit: move it offline with\nhoming kit export <file> and homing kit verify <file>.\n"
        } else {
            ""
        };
        format!(
            "{} is up.\n  NodeId   {}\n  proxy    {proxy_url}\n{first}\nTry it:\n\n  curl {proxy_url}/api/health\n\nInvite a phone:\n\n  homing invite --name phone\n",
            output.bold(&agent.agent),
            agent.reach.node_id,
        )
    });
}
