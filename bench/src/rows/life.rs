//! Starting and idling: rows 10, 11, 18 and 19.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::Row;
use crate::lab::Lab;
use crate::load::bulk::{self, Upload};
use crate::load::http::Client;
use crate::load::requests;
use crate::process;
use crate::report::{Report, Value};
use crate::systems::OURS;
use crate::systems::homing::{Network, proxy_address};

const PATH: &str = "/api/health";
const MIB: f64 = 1024.0 * 1024.0;
/// After a start, until memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// From the start of `homing proxy` to the first answer through it.
pub(super) async fn cold_start(lab: &Lab, report: &mut Report) -> Result<()> {
    let metric = "cold start of the proxy, to its first answer";
    let (network, _) = lab.ours()?;
    let device = network.join("cold").await?;
    for _ in 0..lab.sizes.rounds * 3 {
        let start = async || {
            let before = Instant::now();
            let proxy = device.proxy(0).await?;
            let address = proxy_address(&proxy)?;
            Client::connect_small(address)
                .await?
                .exchange(&requests::get(address, PATH))
                .await?;
            let took = before.elapsed();
            proxy.stop().await;
            anyhow::Ok(took)
        };
        let took = lab.calm.measure(report, start).await?;
        report.add(metric, "ms", OURS, took.as_secs_f64() * 1e3);
    }
    let median = report.value(metric, OURS).context("no cold start")?;
    report.bound(
        Row::ColdStart,
        "first answer after a cold start of the proxy",
        median,
        50.0,
        "ms",
    );
    Ok(())
}

/// Memory of a proxy before and after work.
pub(super) async fn proxy_memory(lab: &Lab, report: &mut Report) -> Result<()> {
    let (network, _) = lab.ours()?;
    let device = network.join("memory").await?;
    let (idle, loaded) = ("RSS of the proxy, idle", "RSS of the proxy, after the load");
    for _ in 0..lab.sizes.rounds {
        let proxy = device.proxy(0).await?;
        let (address, pids) = (proxy_address(&proxy)?, [proxy.pid()]);
        Client::connect_small(address)
            .await?
            .exchange(&requests::get(address, PATH))
            .await?;
        sleep(SETTLE).await;
        report.add(idle, "MiB", OURS, process::rss(&pids)? as f64 / MIB);
        requests::keep_alive(address, PATH, 64, lab.sizes.time).await?;
        bulk::download(address, lab.sizes.bulk).await?;
        bulk::upload(address, lab.sizes.bulk, Upload::File).await?;
        sleep(SETTLE).await;
        report.add(loaded, "MiB", OURS, process::rss(&pids)? as f64 / MIB);
        proxy.stop().await;
    }
    for (metric, most) in [(idle, 25.0), (loaded, 40.0)] {
        let median = report.value(metric, OURS).context("no memory")?;
        report.bound(Row::ProxyMemory, metric, median, most, "MiB");
    }
    Ok(())
}

/// `homing up` on a new and on an existing network, and what it does when nothing is asked of it.
pub(super) async fn idle(lab: &Lab, report: &mut Report) -> Result<()> {
    let program = lab.ours()?.0.program().to_owned();
    let (first, again) = (
        "homing up, first run, until ready",
        "homing up, again, until ready",
    );
    let (rss, cpu) = ("RSS of homing up, idle", "CPU of homing up, idle");
    for round in 0..lab.sizes.rounds {
        let network = Network::new(&lab.place, &format!("idle-{round}"), program.clone())?;
        for metric in [first, again] {
            lab.calm.wait().await?;
            let before = Instant::now();
            let up = network.up().await?;
            report.add(metric, "ms", OURS, before.elapsed().as_secs_f64() * 1e3);
            if metric == again {
                sleep(SETTLE).await;
                let time = Duration::from_secs(if lab.sizes.quick { 2 } else { 20 });
                let (start, spent) = (Instant::now(), process::cpu(&[up.pid()])?);
                sleep(time).await;
                let spent = process::cpu(&[up.pid()])? - spent;
                report.add(
                    cpu,
                    "% of a core",
                    OURS,
                    100.0 * spent.as_secs_f64() / start.elapsed().as_secs_f64(),
                );
                report.add(rss, "MiB", OURS, process::rss(&[up.pid()])? as f64 / MIB);
            }
            up.stop().await;
        }
    }
    for (metric, most, unit) in [
        (first, 2000.0, "ms"),
        (again, 500.0, "ms"),
        (rss, 60.0, "MiB"),
        (cpu, 0.5, "%"),
    ] {
        let median = report
            .value(metric, OURS)
            .context("homing up was not measured")?;
        report.bound(Row::Idle, metric, median, most, unit);
    }
    Ok(())
}

/// The size of the program.
pub(super) fn binary(lab: &Lab, report: &mut Report) -> Result<()> {
    let size = std::fs::metadata(lab.ours()?.0.program())?.len() as f64 / MIB;
    report.add("size of the program", "MiB", OURS, size);
    report.bound(
        Row::Binary,
        "size of the program",
        Value::of(size),
        40.0,
        "MiB",
    );
    Ok(())
}
