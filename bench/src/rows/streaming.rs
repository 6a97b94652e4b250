//! Answers of a model on their way to people: rows 20 and 21.
//!
//! A token carries the time at which the provider wrote it, and people read it behind the loopback
//! proxy of their device; the difference is everything in between: the agent's reading of the
//! provider, its database, QUIC, the proxy and the WebSocket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::Row;
use crate::lab::Lab;
use crate::load::chat::{self, Person};
use crate::process;
use crate::provider::Ask;
use crate::report::{Report, Value};
use crate::stats::Samples;
use crate::systems::OURS;
use crate::systems::talking::{CROWD, Talking};

/// Runs at once in row 20.
const RUNS: u32 = 10;
/// Of each turn in row 20, at the rate of row 21.
const TOKENS: u32 = 20;
/// 50 tokens a second.
const GAP_US: u64 = 20_000;
/// Sessions of row 21.
const SESSIONS: u32 = 200;
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(200);
/// Less than this part of the tokens that are asked for, and the load was not what it says.
const FULL: f64 = 0.95;
const MIB: f64 = 1024.0 * 1024.0;

const FIRST_P50: &str = "provider's first token to its frame, 10 runs, p50";
const FIRST_P99: &str = "provider's first token to its frame, 10 runs, p99";
const RATE: &str = "tokens of all sessions in a second";
const DIRECT: &str = "direct to the provider";

/// The way of the first token, with ten turns at once.
pub(super) async fn first_token(lab: &Lab, report: &mut Report) -> Result<()> {
    report.settings.push(format!(
        "first-token: {RUNS} devices, each behind a homing proxy process; {TOKENS} tokens a turn, 50 a second"
    ));
    let mut talking = Talking::start(lab, "first-token").await?;
    let addresses = talking.add_devices(RUNS).await?;
    let turns = if lab.sizes.quick { 1 } else { 20 };
    for _ in 0..lab.sizes.rounds {
        let provider = talking.provider()?;
        let load = async || direct(provider, turns).await;
        let samples = lab.calm.measure(report, load).await?;
        add(report, DIRECT, &samples);
        let samples = lab
            .calm
            .measure(report, async || ours(&addresses, turns).await)
            .await?;
        add(report, OURS, &samples);
    }
    for (metric, most) in [(FIRST_P50, 3.0), (FIRST_P99, 15.0)] {
        let value = report.value(metric, OURS).context("no first token")?;
        report.bound(Row::FirstToken, metric, value, most, "ms");
    }
    talking.stop().await;
    Ok(())
}

/// Many answers at once: how late the latest token is, and what that costs the agent.
pub(super) async fn streams(lab: &Lab, report: &mut Report) -> Result<()> {
    let (count, seconds) = if lab.sizes.quick {
        (8, 1)
    } else {
        (SESSIONS, 10)
    };
    report.settings.push(format!(
        "streams: {count} devices of one user, {seconds} s; the proxies of {CROWD} share a process, on the same cores as all else"
    ));
    let mut talking = Talking::start(lab, "streams").await?;
    let addresses = talking.add_crowd(lab, count).await?;
    for _ in 0..lab.sizes.rounds {
        let ask = |number: u64| Ask {
            tokens: seconds * 50,
            // Spread over the time between two tokens, as chance would.
            first_us: 20_000 + number * GAP_US / u64::from(count),
            gap_us: GAP_US,
        };
        let load = async || {
            let mut people = meet(&addresses).await?;
            let before = process::cpu(&[talking.agent()])?;
            let turns = (0..)
                .zip(&mut people)
                .map(|(number, person)| person.ask(ask(number)));
            let start = Instant::now();
            let (turns, peak) = watched(talking.agent(), try_join_all(turns)).await?;
            let took = start.elapsed();
            let spent = process::cpu(&[talking.agent()])? - before;
            let (mut ages, mut rate) = (Samples::default(), 0.0);
            for turn in turns {
                rate += (turn.ages.len() as f64 - 1.0) / turn.span.as_secs_f64();
                ages.append(turn.ages);
            }
            anyhow::Ok((ages, rate, peak, took, spent))
        };
        let (ages, rate, peak, took, spent) = lab.calm.measure(report, load).await?;
        for (name, percentile) in [("p50", 50.0), ("p99", 99.0), ("latest", 100.0)] {
            let metric = format!("token to its frame, {count} sessions, {name}");
            report.add(&metric, "ms", OURS, ages.micros(percentile) / 1e3);
        }
        report.add(RATE, "tokens/s", OURS, rate);
        let cores = spent.as_secs_f64() / took.as_secs_f64();
        report.add(
            "CPU of the agent under all sessions",
            "% of a core",
            OURS,
            100.0 * cores,
        );
        report.add("RSS of the agent under all sessions", "MiB", OURS, peak);
    }
    let latest = format!("token to its frame, {count} sessions, latest");
    for (metric, most, unit) in [
        (latest.as_str(), 250.0, "ms"),
        ("RSS of the agent under all sessions", 200.0, "MiB"),
    ] {
        let value = report.value(metric, OURS).context("no streams")?;
        report.bound(Row::Streams, metric, value, most, unit);
    }
    rate_held(report, count);
    talking.stop().await;
    Ok(())
}

/// Tokens that come late together may all be young: what is asked for must also arrive.
fn rate_held(report: &mut Report, count: u32) {
    let due = f64::from(count) * 1e6 / GAP_US as f64;
    let what = format!("{RATE}, of {due:.0} that are due");
    let goal = format!("at least {FULL} of them");
    let value = report.value(RATE, OURS).unwrap_or(Value::of(0.0));
    let held = value.median / due;
    let reason = format!("{held:.3} of them");
    match value.doubt() {
        Some(doubt) if held < FULL => {
            report.undecided(Row::Streams, &what, &goal, format!("{reason}; {doubt}"));
        }
        _ => report.verdict(Row::Streams, &what, &goal, held >= FULL, reason),
    }
}

/// A socket for each. Nobody reads it between two windows, so it would not outlive the wait for one.
async fn meet(addresses: &[SocketAddr]) -> Result<Vec<Person>> {
    let mut people = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        people.push(Person::meet(*address, &format!("bench-{number}")).await?);
    }
    Ok(people)
}

/// Turns do not begin at the same moment, and not always in the same order.
fn asks(number: u64, turns: u64) -> impl Iterator<Item = Ask> {
    (0..turns).map(move |turn| Ask {
        tokens: TOKENS,
        first_us: 20_000 + (number * 7 + turn * 13) % 10 * 2_000,
        gap_us: GAP_US,
    })
}

async fn ours(addresses: &[SocketAddr], turns: u64) -> Result<Samples> {
    let mut people = meet(addresses).await?;
    let runs = (0..).zip(&mut people).map(async |(number, person)| {
        // Connections and caches are made by the first turn.
        person.ask(Ask::ONE).await?;
        let mut samples = Samples::default();
        for ask in asks(number, turns) {
            samples.push(person.ask(ask).await?.first);
        }
        anyhow::Ok(samples)
    });
    Ok(joined(try_join_all(runs).await?))
}

async fn direct(provider: SocketAddr, turns: u64) -> Result<Samples> {
    let runs = (0..u64::from(RUNS)).map(async |number| {
        let mut samples = Samples::default();
        for ask in asks(number, turns) {
            samples.push(
                chat::direct(provider, ask)
                    .await?
                    .first()
                    .context("no token")?,
            );
        }
        anyhow::Ok(samples)
    });
    Ok(joined(try_join_all(runs).await?))
}

fn joined(all: Vec<Samples>) -> Samples {
    let mut joined = Samples::default();
    all.into_iter().for_each(|samples| joined.append(samples));
    joined
}

fn add(report: &mut Report, system: &str, samples: &Samples) {
    report.add(FIRST_P50, "ms", system, samples.micros(50.0) / 1e3);
    report.add(FIRST_P99, "ms", system, samples.micros(99.0) / 1e3);
}

/// The largest memory of a process while something goes on, in MiB.
async fn watched<T>(pid: u32, work: impl Future<Output = Result<T>>) -> Result<(T, f64)> {
    tokio::pin!(work);
    let mut peak = process::rss(&[pid])?;
    loop {
        tokio::select! {
            done = &mut work => return Ok((done?, peak as f64 / MIB)),
            () = sleep(LOOK) => peak = peak.max(process::rss(&[pid])?),
        }
    }
}
