//! Small GETs and WebSocket echoes: rows 1 to 4 and 8.

use anyhow::{Context, Result};

use super::Row;
use crate::lab::Lab;
use crate::load::{requests, websocket};
use crate::report::{Goal, Report};
use crate::systems::OURS;

/// What every system answers with some 200 bytes.
const PATH: &str = "/api/health";
/// Requests on new connections that run at once.
const PARALLEL: usize = 8;

const P50: &str = "small GET, 1 connection, p50";
const P99: &str = "small GET, 1 connection, p99";
const EIGHT: &str = "small GET, 8 connections";
const EIGHT_P99: &str = "small GET, 8 connections, p99";
const MANY: &str = "small GET, 64 connections";
const MANY_P99: &str = "small GET, 64 connections, p99";
const NEW: &str = "small GET, a new connection for each";
const WS: &str = "WebSocket echo, p50";
const WS_P99: &str = "WebSocket echo, p99";
const PING: &str = "64-byte echo on one stream, p50";

pub(super) async fn run(lab: &mut Lab, report: &mut Report) -> Result<()> {
    measure(lab, report).await?;
    let Some(ours) = report.value(P50, OURS) else {
        for row in [
            Row::Get,
            Row::Tail,
            Row::Throughput,
            Row::Connections,
            Row::Websocket,
        ] {
            report.not_run(row, "small requests", lab.why_absent(OURS));
        }
        return Ok(());
    };
    let floor = report
        .value(P50, "direct TCP")
        .zip(report.value(PING, "raw iroh"));
    let floor = floor.map(|(direct, ping)| direct.plus(ping));
    let pairs = [
        (Row::Get, P50, "ssh -L", Goal::AtMost(1.0)),
        (Row::Tail, EIGHT_P99, "rathole", Goal::AtMost(1.0)),
        (Row::Throughput, MANY, "ssh -L", Goal::AtLeast(2.0)),
        (Row::Connections, NEW, "ssh -L", Goal::AtLeast(3.0)),
        (Row::Websocket, WS, "ssh -L", Goal::AtMost(1.0)),
    ];
    for (row, metric, rival, goal) in pairs {
        match report.value(metric, OURS).zip(report.value(metric, rival)) {
            Some((ours, theirs)) => report.compare(row, metric, ours, rival, theirs, goal),
            None => report.not_run(row, metric, lab.why_absent(rival)),
        }
        if let (Row::Get, Some(floor)) = (row, floor) {
            report.compare(
                row,
                P50,
                ours,
                "(direct TCP + raw iroh echo)",
                floor,
                Goal::AtMost(1.15),
            );
        }
    }
    Ok(())
}

/// All loads on all systems, interleaved.
pub(super) async fn measure(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let time = lab.sizes.time;
    for round in 0..lab.sizes.rounds {
        if round > 0 {
            lab.renew().await?;
        }
        let calm = &lab.calm;
        let echoes = calm
            .measure(report, async || lab.iroh.ping_pong(time).await)
            .await;
        report.add(
            PING,
            "µs",
            "raw iroh",
            echoes.context("raw iroh")?.micros(50.0),
        );
        let echoes = calm
            .measure(report, async || lab.quinn.ping_pong(time).await)
            .await;
        report.add(
            PING,
            "µs",
            "raw quinn",
            echoes.context("raw quinn")?.micros(50.0),
        );
        for front in &lab.fronts {
            let (name, address) = (front.name, front.address);
            let load = async || requests::keep_alive(address, PATH, 1, time).await;
            let run = calm
                .measure(report, load)
                .await
                .with_context(|| format!("requests through {name}"))?;
            report.add(P50, "µs", name, run.samples.micros(50.0));
            report.add(P99, "µs", name, run.samples.micros(99.0));
        }
        for (connections, rate, p99) in [(8, EIGHT, EIGHT_P99), (64, MANY, MANY_P99)] {
            for front in &lab.fronts {
                let (name, address) = (front.name, front.address);
                let load = async || requests::keep_alive(address, PATH, connections, time).await;
                let run = calm.measure(report, load).await;
                let run =
                    run.with_context(|| format!("{connections} connections through {name}"))?;
                report.add(rate, "requests/s", name, run.per_second);
                report.add(p99, "µs", name, run.samples.micros(99.0));
            }
        }
        for front in &lab.fronts {
            let (name, address, count) = (front.name, front.address, lab.sizes.new_connections);
            let load = async || requests::new_connections(address, PATH, PARALLEL, count).await;
            let run = calm
                .measure(report, load)
                .await
                .with_context(|| format!("new connections through {name}"))?;
            report.add(NEW, "requests/s", name, run.per_second);
        }
        for front in &lab.fronts {
            let (name, address) = (front.name, front.address);
            let echoes = calm
                .measure(report, async || websocket::echo(address, time).await)
                .await;
            let echoes = echoes.with_context(|| format!("a WebSocket through {name}"))?;
            report.add(WS, "µs", name, echoes.micros(50.0));
            report.add(WS_P99, "µs", name, echoes.micros(99.0));
        }
    }
    suspect(lab, report);
    Ok(())
}

/// No tunnel is faster than none. Where one seems to be, the machine was not the same for both.
fn suspect(lab: &Lab, report: &mut Report) {
    for metric in [P50, WS] {
        let Some(direct) = report.value(metric, "direct TCP") else {
            continue;
        };
        for front in lab.fronts.iter().filter(|front| !front.ends.is_empty()) {
            if let Some(tunnel) = report.value(metric, front.name)
                && tunnel.median < direct.median
            {
                report.suspect = Some(format!(
                    "{metric}: {} came out faster than direct TCP",
                    front.name
                ));
            }
        }
    }
}
