//! `homing proxy`: the loopback proxy alone, on a device that is not the host.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::answers::Answers;
use crate::args::ProxyArgs;
use crate::config::{Config, RelaySetting};
use crate::control_socket::ControlSocket;
use crate::data_dir::DataDir;
use crate::device::Device;
use crate::device_side::DeviceSide;
use crate::output::Output;
use crate::runtime;

pub(super) async fn run(dir: &DataDir, args: ProxyArgs, output: Output) -> anyhow::Result<()> {
    let _held = dir.hold("proxy")?;
    let mut config = Config::load(&dir.config())?.unwrap_or_default();
    if let Some(relay) = &args.relay {
        config.relay = RelaySetting::from_arg(relay)?;
    }
    if let Some(port) = args.port {
        config.proxy.port = port;
    }
    let bind = config.quic_address(config.quic.device_port);
    let device = Device::open(dir, bind, config.relay.parse()?).await?;
    let agent = device.find_agent(args.agent.as_deref()).await?;
    let side = DeviceSide::bind(dir, &config, device.clone(), agent).await?;
    let socket = ControlSocket::bind(dir)?;

    let mut tasks = JoinSet::new();
    let shutdown = runtime::shutdown_on_signal(&mut tasks)?;
    let answers = Arc::new(Answers::new(Some(side.status()), None, shutdown.clone()));
    tasks.spawn(socket.run(answers, shutdown.clone()));
    let document = json!({
        "proxy_url": side.proxy_url,
        "agent": side.agent.agent,
        "agent_node_id": side.agent.reach.node_id.to_string(),
        "pid": std::process::id(),
    });
    output.result(&document, || {
        format!(
            "{} is at {}\n\n  curl {}/api/health\n",
            output.bold(&side.agent.agent),
            side.proxy_url,
            side.proxy_url
        )
    });
    let ended = side.run(output, shutdown.clone()).await;
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
    device.endpoint().close().await;
    ended
}
