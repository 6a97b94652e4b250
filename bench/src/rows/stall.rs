//! A client that asks and never reads: row 13. It may lose its own stream and nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::SinkExt;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::Row;
use crate::lab::Lab;
use crate::load::http::Client;
use crate::load::{requests, websocket};
use crate::process;
use crate::report::{Report, Value};
use crate::stats::Samples;
use crate::systems::OURS;

const FRAMES: usize = 100_000;
const PATH: &str = "/api/health";
/// How long the client goes on pushing: well beyond the five seconds that a full stream is given.
const PUSH: Duration = Duration::from_secs(15);
/// Between two requests of the neighbour on another stream.
const BEAT: Duration = Duration::from_millis(20);
const MIB: f64 = 1024.0 * 1024.0;

pub(super) async fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let (_, front) = lab.ours()?;
    let pids = front.pids();
    let agent = *pids.get(1).context("no agent")?;
    let address = front.address;
    // What every socket and every stream needs once is not the stalled client's.
    websocket::echo(address, Duration::from_millis(300)).await?;
    requests::keep_alive(address, PATH, 8, Duration::from_millis(300)).await?;
    let before = process::rss(&[agent])?;
    let mut neighbour = websocket::connect(address).await?;
    websocket::ask(&mut neighbour).await?;

    let push = push(address);
    tokio::pin!(push);
    let (mut peak, mut beats, mut failed) = (before, Samples::default(), None);
    let mut client = Client::connect_small(address).await?;
    let request = requests::get(address, PATH);
    let pushed = loop {
        tokio::select! {
            pushed = &mut push => break pushed?,
            () = sleep(BEAT) => {}
        }
        let start = Instant::now();
        if let Err(error) = client.exchange(&request).await {
            failed = Some(format!("a request on another stream failed: {error:#}"));
            break 0;
        }
        beats.push(start.elapsed());
        peak = peak.max(process::rss(&[agent])?);
    };
    if failed.is_none() && websocket::ask(&mut neighbour).await.is_err() {
        failed = Some("another WebSocket was lost".to_owned());
    }
    let grown = peak.saturating_sub(before) as f64 / MIB;
    report.add(
        "frames that a stalled client got rid of",
        "frames",
        OURS,
        pushed as f64,
    );
    report.add(
        "requests beside a stalled client, p99",
        "µs",
        OURS,
        beats.micros(99.0),
    );
    report.add("RSS of the agent for a stalled client", "MiB", OURS, grown);
    let what = format!("a client stalls behind {FRAMES} small frames");
    let reason = failed
        .clone()
        .unwrap_or_else(|| format!("{} requests beside it were answered", beats.len()));
    report.verdict(
        Row::SlowReader,
        &what,
        "it loses at most its own stream",
        failed.is_none(),
        reason,
    );
    report.bound(
        Row::SlowReader,
        "RSS of the agent for a stalled client",
        Value::of(grown),
        1.0,
        "MiB",
    );
    Ok(())
}

/// Sends pings without reading a pong. Gives how many were taken before the stream stood still or ended.
async fn push(address: SocketAddr) -> Result<usize> {
    let mut socket = websocket::connect(address).await?;
    let mut sent = 0;
    let work = async {
        for number in 0..FRAMES {
            // An error is the end of this stream, which it may lose.
            if socket.send(Message::text(websocket::PING)).await.is_err() {
                return;
            }
            sent = number + 1;
        }
        // Everything was taken: go on not reading.
        std::future::pending::<()>().await;
    };
    let _ = timeout(PUSH, work).await;
    Ok(sent)
}
