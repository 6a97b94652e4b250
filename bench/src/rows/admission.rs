//! Dialing an agent and being admitted, and what an idle admitted connection costs: rows 9 and 12.
//! The agent is the product's, in a process of its own; the devices are this process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use homing_protocol::gateway::Reach;
use homing_transport::Endpoint;
use homing_transport::credentials::Credentials;
use homing_transport::dial::{AgentConnection, dial_agent};
use tokio::time::{sleep, timeout};

use super::Row;
use crate::child::Child;
use crate::lab::Lab;
use crate::network::{self, Network};
use crate::process;
use crate::report::{Goal, Report, Value};
use crate::stats::Samples;
use crate::systems::OURS;

/// What an agent lets one device have.
const PER_DEVICE: u32 = 8;
/// A dial that takes longer has got stuck.
const LIMIT: Duration = Duration::from_secs(20);
/// After the last dial, until memory is read: handshakes leave buffers that go within a moment.
const SETTLE: Duration = Duration::from_secs(3);

const DIAL: &str = "dial, p50";
const DIAL_P99: &str = "dial, p99";
const MEMORY: &str = "RSS of the agent for each idle connection";

struct Device {
    endpoint: Endpoint,
    credentials: Credentials,
}

pub(super) async fn dials(lab: &Lab, report: &mut Report) -> Result<()> {
    let (network, agent, reach) = start(lab).await?;
    let device = Device::new(&network, 0).await?;
    let each = if lab.sizes.quick { 10 } else { 100 };
    for _ in 0..lab.sizes.rounds {
        let raw = lab.calm.measure(report, async || {
            timeout(LIMIT, lab.iroh.dials(each))
                .await
                .context("raw dials got stuck")?
        });
        let raw = raw.await?;
        report.add(DIAL, "µs", "raw iroh", raw.micros(50.0));
        report.add(DIAL_P99, "µs", "raw iroh", raw.micros(99.0));
        let ours = lab
            .calm
            .measure(report, async || device.dials(&reach, each).await)
            .await?;
        report.add(DIAL, "µs", OURS, ours.micros(50.0));
        report.add(DIAL_P99, "µs", OURS, ours.micros(99.0));
    }
    if let Some((ours, raw)) = report.value(DIAL, OURS).zip(report.value(DIAL, "raw iroh")) {
        report.compare(
            Row::Dial,
            "dial and admission, p50",
            ours,
            "a raw iroh dial",
            raw,
            Goal::AtMost(1.5),
        );
    }
    device.endpoint.close().await;
    agent.stop().await;
    Ok(())
}

pub(super) async fn memory(lab: &Lab, report: &mut Report) -> Result<()> {
    let (network, agent, reach) = start(lab).await?;
    let devices = if lab.sizes.quick { 5 } else { 125 };
    let mut all = vec![Device::new(&network, 0).await?];
    // The first connections pay for what all share.
    let mut live = all[0].dial_all(&reach).await?;
    sleep(SETTLE).await;
    let before = process::rss(&[agent.pid()])?;
    let cpu_before = process::cpu(&[agent.pid()])?;
    for number in 1..=devices {
        let device = Device::new(&network, number).await?;
        live.append(&mut device.dial_all(&reach).await?);
        all.push(device);
    }
    let handshakes = process::cpu(&[agent.pid()])? - cpu_before;
    sleep(SETTLE).await;
    let after = process::rss(&[agent.pid()])?;
    for connection in live.iter().map(|live| &live.connection) {
        if let Some(closed) = connection.closed().now_or_never() {
            bail!("a connection did not live: {closed:?}");
        }
    }
    let count = f64::from(devices * PER_DEVICE);
    let each = after.saturating_sub(before) as f64 / 1024.0 / count;
    report.add(MEMORY, "KiB", OURS, each);
    report.add(
        "CPU of the agent for each admission",
        "ms",
        OURS,
        handshakes.as_secs_f64() * 1e3 / count,
    );
    let what = format!("RSS of the agent for each of {count} idle admitted connections");
    report.bound(Row::ConnectionMemory, &what, Value::of(each), 100.0, "KiB");
    drop(live);
    for device in all {
        device.endpoint.close().await;
    }
    agent.stop().await;
    Ok(())
}

async fn start(lab: &Lab) -> Result<(Network, Child, Reach)> {
    let now = network::wall_clock();
    let network = Network::new(now)?;
    let dir = tempfile::tempdir_in(lab.place.folder("agents")?)?.keep();
    let args = [dir.to_string_lossy().into_owned(), now.0.to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let agent = Child::role("agent", &args, &lab.place.file("agent.log")).await?;
    let reach = agent.ready.get("reach").cloned().context("no reach")?;
    Ok((network, agent, serde_json::from_value(reach)?))
}

impl Device {
    async fn new(network: &Network, number: u32) -> Result<Self> {
        let key = network::device(number);
        let credentials = network.credentials(&key)?;
        Ok(Self {
            endpoint: network::endpoint(key).await?,
            credentials,
        })
    }

    async fn dial(&self, reach: &Reach) -> Result<AgentConnection> {
        let dialed = timeout(LIMIT, dial_agent(&self.endpoint, reach, &self.credentials));
        dialed
            .await
            .context("a dial got stuck")?
            .context("dialing the agent")
    }

    async fn dials(&self, reach: &Reach, count: usize) -> Result<Samples> {
        let mut samples = Samples::default();
        for _ in 0..count {
            let before = Instant::now();
            let live = self.dial(reach).await?;
            samples.push(before.elapsed());
            live.connection.close_done();
        }
        Ok(samples)
    }

    async fn dial_all(&self, reach: &Reach) -> Result<Vec<AgentConnection>> {
        let mut live = Vec::new();
        for _ in 0..PER_DEVICE {
            live.push(self.dial(reach).await?);
        }
        Ok(live)
    }
}
