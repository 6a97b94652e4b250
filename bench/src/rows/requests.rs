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

pub(super) async fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    measure(lab, report).await?;
    let Some(ours) = report.median(P50, OURS) else {
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
        .median(P50, "direct TCP")
        .zip(report.median(PING, "raw iroh"));
    let floor = floor.map(|(direct, ping)| direct + ping);
    let pairs = [
        (Row::Get, P50, "ssh -L", Goal::AtMost(1.0)),
        (Row::Tail, EIGHT_P99, "rathole", Goal::AtMost(1.0)),
        (Row::Throughput, MANY, "ssh -L", Goal::AtLeast(2.0)),
        (Row::Connections, NEW, "ssh -L", Goal::AtLeast(3.0)),
        (Row::Websocket, WS, "ssh -L", Goal::AtMost(1.0)),
    ];
    for (row, metric, rival, goal) in pairs {
        match report
            .median(metric, OURS)
            .zip(report.median(metric, rival))
        {
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
pub(super) async fn measure(lab: &Lab, report: &mut Report) -> Result<()> {
    let time = lab.sizes.time;
    for _ in 0..lab.sizes.rounds {
        let echoes = lab.iroh.ping_pong(time).await.context("raw iroh")?;
        report.add(PING, "µs", "raw iroh", echoes.micros(50.0));
        let echoes = lab.quinn.ping_pong(time).await.context("raw quinn")?;
        report.add(PING, "µs", "raw quinn", echoes.micros(50.0));
        for front in &lab.fronts {
            let name = front.name;
            let why = || format!("requests through {name}");
            let run = requests::keep_alive(front.address, PATH, 1, time)
                .await
                .with_context(why)?;
            report.add(P50, "µs", name, run.samples.micros(50.0));
            report.add(P99, "µs", name, run.samples.micros(99.0));
        }
        for front in &lab.fronts {
            let name = front.name;
            let why = || format!("8 connections through {name}");
            let run = requests::keep_alive(front.address, PATH, 8, time)
                .await
                .with_context(why)?;
            report.add(EIGHT, "requests/s", name, run.per_second);
            report.add(EIGHT_P99, "µs", name, run.samples.micros(99.0));
        }
        for front in &lab.fronts {
            let name = front.name;
            let why = || format!("64 connections through {name}");
            let run = requests::keep_alive(front.address, PATH, 64, time)
                .await
                .with_context(why)?;
            report.add(MANY, "requests/s", name, run.per_second);
            report.add(MANY_P99, "µs", name, run.samples.micros(99.0));
        }
        for front in &lab.fronts {
            let name = front.name;
            let why = || format!("new connections through {name}");
            let count = lab.sizes.new_connections;
            let run = requests::new_connections(front.address, PATH, PARALLEL, count).await;
            report.add(NEW, "requests/s", name, run.with_context(why)?.per_second);
        }
        for front in &lab.fronts {
            let name = front.name;
            let echoes = websocket::echo(front.address, time).await;
            let echoes = echoes.with_context(|| format!("a WebSocket through {name}"))?;
            report.add(WS, "µs", name, echoes.micros(50.0));
            report.add(WS_P99, "µs", name, echoes.micros(99.0));
        }
    }
    Ok(())
}
