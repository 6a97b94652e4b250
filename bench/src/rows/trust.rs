//! Checks of certificates and the revocation log: rows 15 and 17.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use homing_certs::{NodeId, REVOKED, RevocationEntry, RevokeReason, Role, Snapshot, UnixTime};
use homing_transport::Trust;
use serde_json::{Value, json};

use super::Row;
use crate::child::Child;
use crate::lab::Lab;
use crate::network::{self, Network};
use crate::process;
use crate::report::Report;
use crate::systems::OURS;

/// Entries of the small and of the large log.
const SIZES: [u32; 2] = [1_000, 100_000];
/// A hash table that has left the caches answers a few times slower; one that is searched would take
/// a hundred times as long.
const CONSTANT: f64 = 10.0;
const LOOKUPS: u32 = 1_000_000;

/// The check of every request, and that of every connection.
pub(super) async fn checks(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::new(network::wall_clock())?;
    let key = network::device(0);
    let peer = network::node_id(&key);
    let wire = network.certificate(&key, Role::Client)?;
    let trust = Trust::new(network.state, UnixTime(0));
    let verified = trust.verify_certificate(&wire)?;
    let scale = if lab.sizes.quick { 100 } else { 1 };
    for _ in 0..lab.sizes.rounds {
        let work = async || {
            each(1_000_000 / scale, || {
                black_box(trust.check(black_box(&verified), black_box(&peer))).is_ok()
            })
            .context("a check failed")
        };
        let cached = lab.calm.measure(report, work).await?;
        report.add("check of a request", "ns", OURS, cached);
        let work = async || {
            each(5_000 / scale, || {
                trust.verify_certificate(black_box(&wire)).is_ok()
            })
            .context("a verification failed")
        };
        let cold = lab.calm.measure(report, work).await?;
        report.add("verification of a certificate", "µs", OURS, cold / 1e3);
    }
    for (metric, most, unit) in [
        ("check of a request", 1000.0, "ns"),
        ("verification of a certificate", 100.0, "µs"),
    ] {
        let median = report.value(metric, OURS).context("no checks")?;
        report.bound(Row::Checks, metric, median, most, unit);
    }
    Ok(())
}

/// A log of many entries: loaded in a process of its own, so that its memory is seen.
pub(super) async fn log(lab: &Lab, report: &mut Report) -> Result<()> {
    let now = network::wall_clock();
    let network = Network::new(now)?;
    for count in SIZES {
        let file = lab.place.file(&format!("snapshot-{count}"));
        std::fs::write(&file, snapshot(&network, count)?)?;
        let args = [file.to_string_lossy().into_owned(), now.0.to_string()];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for _ in 0..lab.sizes.rounds {
            let log = lab.place.file("log.log");
            let load = async || Child::role("log", &args, &log).await;
            let child = lab.calm.measure(report, load).await?;
            let number = |name: &str| {
                child
                    .ready
                    .get(name)
                    .and_then(Value::as_f64)
                    .context("a ready line")
            };
            for (name, unit) in [("load", "ms"), ("memory", "MiB"), ("look-up", "ns")] {
                report.add(
                    &format!("revocation log, {count} entries, {name}"),
                    unit,
                    OURS,
                    number(name)?,
                );
            }
            child.stop().await;
        }
    }
    let large = |name: &str| {
        report.value(
            &format!("revocation log, {} entries, {name}", SIZES[1]),
            OURS,
        )
    };
    let small = |name: &str| {
        report.value(
            &format!("revocation log, {} entries, {name}", SIZES[0]),
            OURS,
        )
    };
    let (load, memory) = (
        large("load").context("no load")?,
        large("memory").context("no memory")?,
    );
    let (few, many) = (
        small("look-up").context("no look-up")?.median,
        large("look-up").context("no look-up")?.median,
    );
    report.bound(Row::Log, "100,000 revoked entries, load", load, 200.0, "ms");
    report.bound(
        Row::Log,
        "100,000 revoked entries, memory",
        memory,
        16.0,
        "MiB",
    );
    let reason = format!("{few:.0} ns in 1,000 entries, {many:.0} ns in 100,000");
    let goal = format!("at most {CONSTANT} × for a hundred times the entries");
    report.verdict(
        Row::Log,
        "look-up in constant time",
        &goal,
        many <= CONSTANT * few,
        reason,
    );
    Ok(())
}

/// The process that loads a log.
pub(crate) async fn load(file: &Path, now: UnixTime) -> Result<()> {
    let wire = std::fs::read(file)?;
    let mut state = Network::new(now)?.state;
    let own = [std::process::id()];
    let before = process::rss(&own)?;
    let start = Instant::now();
    state.apply(&wire)?;
    let took = start.elapsed();
    let memory = process::rss(&own)?.saturating_sub(before) as f64 / (1024.0 * 1024.0);
    let count = u32::try_from(state.revoked_len())?;
    let mut place = 0_u32;
    let look_up = each(LOOKUPS, || {
        // A stride that is coprime to the counts visits all of them in no order that a cache likes.
        place = (place + 7_919) % count;
        state.is_revoked(black_box(&device(place)))
    });
    let look_up = look_up.context("an entry is missing")?;
    crate::role::ready(
        &json!({ "load": took.as_secs_f64() * 1e3, "memory": memory, "look-up": look_up }),
    )?;
    std::future::pending().await
}

fn snapshot(network: &Network, count: u32) -> Result<Vec<u8>> {
    let entry = |number| RevocationEntry {
        device: device(number),
        min_generation: REVOKED,
        reason: RevokeReason::Lost,
    };
    let head = network.state.head();
    let snapshot = Snapshot {
        network_id: network.state.network_id(),
        root_epoch: 1,
        seq: u64::from(count),
        head: [9; 32].into(),
        time: network.now,
        entries: (0..count).map(entry).collect(),
    };
    debug_assert!(head.seq < snapshot.seq);
    snapshot.sign(&network.signer).context("a snapshot")
}

/// Keys in ascending order that no hash is likely to favour; the log does not ask whether they are points.
fn device(number: u32) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[24..].copy_from_slice(&mixed.to_be_bytes());
    NodeId::from(bytes)
}

/// Nanoseconds for each call; `None` when one of them was false.
fn each(count: u32, mut call: impl FnMut() -> bool) -> Option<f64> {
    let start = Instant::now();
    let mut all = true;
    for _ in 0..count {
        all &= call();
    }
    let took: Duration = start.elapsed();
    all.then(|| took.as_secs_f64() * 1e9 / f64::from(count))
}
