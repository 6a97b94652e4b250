//! `homing dial`.

use homing_protocol::local::{DialReport, LocalCommand, LocalReply};

use super::network;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::device::{Device, dialing};
use crate::output::Output;

pub(super) async fn run(
    dir: &DataDir,
    agent: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let report = match network::ask_running(
        dir,
        LocalCommand::Dial {
            agent: agent.clone(),
        },
    )
    .await?
    {
        Some(LocalReply::Dialed(report)) => report,
        Some(_) => return Err(network::unexpected().into()),
        None => alone(dir, agent.as_deref()).await?,
    };
    if let Some(failure) = dialing::failure(&report) {
        return Err(failure.into());
    }
    output.result(&report, || text(&report, output));
    Ok(())
}

async fn alone(dir: &DataDir, agent: Option<&str>) -> anyhow::Result<DialReport> {
    let config = Config::load(&dir.config())?.unwrap_or_default();
    let bind = config.quic_address(config.quic.device_port);
    let device = Device::open(dir, bind, config.relay.parse()?).await?;
    let report = device.dial(agent).await;
    device.control().close().await;
    device.endpoint().close().await;
    report
}

fn text(report: &DialReport, output: Output) -> String {
    let rtt = report
        .rtt_ms
        .map_or_else(|| "?".to_owned(), |rtt| format!("{rtt:.1} ms"));
    format!(
        "{} answers: {}\n  NodeId       {}\n  certificate  {}\n  path         {}, {}\n  round trip   {rtt}",
        output.bold(report.agent.as_deref().unwrap_or("the agent")),
        report.version.as_deref().unwrap_or("?"),
        report.node_id,
        report.certificate,
        report.path.as_deref().unwrap_or("?"),
        report.remote_addr.as_deref().unwrap_or("?"),
    )
}
