//! `homing up`: everything in this process.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::answers::Answers;
use crate::args::UpArgs;
use crate::config::{Config, RelaySetting};
use crate::control_socket::ControlSocket;
use crate::data_dir::DataDir;
use crate::device_side::DeviceSide;
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::output::Output;
use crate::{files, runtime};

/// From a signal to the end of the process.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn run(dir: &DataDir, args: UpArgs, output: Output) -> anyhow::Result<()> {
    let _held = dir.hold("up")?;
    let stored = Config::load(&dir.config())?;
    let first_run = stored.is_none();
    let mut config = stored.unwrap_or_default();
    choose_relay(&mut config, &args, first_run, output)?;
    let mut running = config.clone();
    if let Some(port) = args.port {
        running.proxy.port = port;
    }
    if let Some(bind) = args.bind {
        running.quic.address = bind.ip();
        // Port 0 leaves the port that was chosen at first run: devices remember it.
        if bind.port() != 0 {
            running.quic.agent_port = bind.port();
        }
    }

    let host = Host::bind(dir, &mut running).await?;
    if first_run {
        host.note_ports(&mut config);
        files::write(&dir.config(), config.to_text().as_bytes())?;
    }
    let side =
        DeviceSide::bind(dir, &running, host.device.clone(), host.agent_info.clone()).await?;
    let socket = ControlSocket::bind(dir)?;

    let mut tasks = JoinSet::new();
    let shutdown = runtime::shutdown_on_signal(&mut tasks)?;
    let answers = Answers::new(side.status(), Some(host.status()), shutdown.clone());
    tasks.spawn(socket.run(Arc::new(answers), shutdown.clone()));

    let Host {
        coordinator,
        coordinator_endpoint,
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
        let ended = side.run(proxy_stop).await;
        stop_agent.cancel();
        ended
    });
    parts.spawn(host::run(
        coordinator,
        coordinator_endpoint,
        agent,
        serving,
        agent_stop,
    ));

    let ready = async {
        is_serving.wait_for(|serving| *serving).await.ok();
        pool.connected().await
    };
    let first_end = tokio::select! {
        ready = ready => {
            ready.map_err(Failure)?;
            announce(output, &agent_info, &network_id, &proxy_url, first_run);
            None
        }
        ended = parts.join_next() => ended,
    };
    let first_end = match first_end {
        Some(ended) => Some(ended),
        None => tokio::select! {
            () = shutdown.cancelled() => None,
            ended = parts.join_next() => ended,
        },
    };
    shutdown.cancel();
    let stop = async {
        let mut result = flatten(first_end);
        while let Some(ended) = parts.join_next().await {
            result = result.and(flatten(Some(ended)));
        }
        while tasks.join_next().await.is_some() {}
        device.endpoint().close().await;
        result
    };
    match tokio::time::timeout(SHUTDOWN_DEADLINE, stop).await {
        Ok(result) => result,
        Err(_) => {
            output.warn("some connections did not end in time");
            Ok(())
        }
    }
}

type Ended = Result<anyhow::Result<()>, tokio::task::JoinError>;

fn flatten(ended: Option<Ended>) -> anyhow::Result<()> {
    match ended {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(anyhow::Error::new(error).context("a part of homing failed")),
    }
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
            "\nA new network was made. Its root key lies in coordinator/root.kit: copy that file to a place\nthat is not this machine.\n"
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

/// `--relay`, or the settings, or what a person at a terminal answers at first run.
fn choose_relay(
    config: &mut Config,
    args: &UpArgs,
    first_run: bool,
    output: Output,
) -> anyhow::Result<()> {
    if let Some(relay) = &args.relay {
        config.relay = RelaySetting::from_arg(relay)?;
        return Ok(());
    }
    if !first_run {
        return Ok(());
    }
    if output.is_json() || !std::io::stdin().is_terminal() {
        output.progress("relay = \"none\": only this machine and the local network can reach the agent; homing.toml changes that");
        return Ok(());
    }
    output.progress(
        "How may devices reach this agent from other networks?\n  none    only this machine and the local network (nothing is contacted outside)\n  public  through iroh's public relays and look-up (they see keys and sizes, never content)\n  URL     through your own relay",
    );
    output.prompt("relay [none]: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let answer = answer.trim();
    config.relay = RelaySetting::from_arg(if answer.is_empty() { "none" } else { answer })?;
    Ok(())
}
