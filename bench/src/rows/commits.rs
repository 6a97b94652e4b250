//! The way of a message into the database, and a bare commit of SQLite beside it: row 24.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use homing_agent::store::{NewMessage, Store};
use homing_certs::{NodeId, UserId};

use super::Row;
use crate::lab::Lab;
use crate::load::chat::Person;
use crate::provider::Ask;
use crate::report::{Goal, Report};
use crate::stats::Samples;
use crate::systems::OURS;
use crate::systems::talking::Talking;

/// Callers at once: as many as the store commits together.
const CALLERS: usize = 64;
/// Text of a message, in bytes.
const TEXT: usize = 100;

const BARE: &str = "bare SQLite";
const ONE_P50: &str = "commit of a message, 1 caller, p50";
const ONE_P99: &str = "commit of a message, 1 caller, p99";
const RATE: &str = "committed messages, 64 callers";
const ACK_P50: &str = "message to its acknowledgement behind the proxy, p50";
const ACK_P99: &str = "message to its acknowledgement behind the proxy, p99";

pub(super) async fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let each = if lab.sizes.quick { 50 } else { 2_000 };
    report.settings.push(format!(
        "commits: {TEXT} bytes a message; the rival is one row a transaction, same pragmas, same disk"
    ));
    let dir = lab.place.fresh("commits")?;
    let store = Arc::new(Store::open(&dir.join("agent.db"))?);
    let bare = Bare::open(&dir.join("bare.db"))?;
    let mut talking = Talking::start(lab, "commits").await?;
    let address = talking.add_devices(1).await?;
    let mut person = Person::meet(*address.first().context("no device")?, "acks").await?;
    // Connections, caches and the files of the databases are made by the first.
    acknowledged(&mut person, 3).await?;
    commits(&store, 3).await?;
    bare.commits(3)?;
    for _ in 0..lab.sizes.rounds {
        let samples = lab
            .calm
            .measure(report, async || bare.commits(each))
            .await?;
        add(report, (ONE_P50, ONE_P99), BARE, &samples);
        let samples = lab
            .calm
            .measure(report, async || commits(&store, each).await)
            .await?;
        add(report, (ONE_P50, ONE_P99), OURS, &samples);
        let load = async || {
            let start = Instant::now();
            bare.commits(each)?;
            anyhow::Ok(rate(each, start.elapsed()))
        };
        let alone = lab.calm.measure(report, load).await?;
        report.add(RATE, "messages/s", BARE, alone);
        let load = async || {
            let start = Instant::now();
            let each = each / CALLERS + 1;
            try_join_all((0..CALLERS).map(|_| commits(&store, each))).await?;
            anyhow::Ok(rate(each * CALLERS, start.elapsed()))
        };
        let together = lab.calm.measure(report, load).await?;
        report.add(RATE, "messages/s", OURS, together);
        let load = async || acknowledged(&mut person, each / 10).await;
        let samples = lab.calm.measure(report, load).await?;
        add(report, (ACK_P50, ACK_P99), OURS, &samples);
    }
    judge(report)?;
    talking.stop().await;
    store.shutdown().await;
    Ok(())
}

/// A message is five statements where the rival has one, and crosses a thread and back; many callers
/// at once share the commit.
fn judge(report: &mut Report) -> Result<()> {
    for (metric, goal) in [
        (ONE_P50, Goal::AtMost(5.0)),
        (ONE_P99, Goal::AtMost(5.0)),
        (RATE, Goal::AtLeast(0.5)),
    ] {
        let pair = report.value(metric, OURS).zip(report.value(metric, BARE));
        let (ours, bare) = pair.context("no commits")?;
        report.compare(Row::Commits, metric, ours, BARE, bare, goal);
    }
    for (metric, most) in [(ACK_P50, 3_000.0), (ACK_P99, 15_000.0)] {
        let value = report.value(metric, OURS).context("no acknowledgement")?;
        report.bound(Row::Commits, metric, value, most, "µs");
    }
    Ok(())
}

fn add(report: &mut Report, names: (&str, &str), system: &str, samples: &Samples) {
    report.add(names.0, "µs", system, samples.micros(50.0));
    report.add(names.1, "µs", system, samples.micros(99.0));
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Messages of a person who reads each answer before the next.
async fn acknowledged(person: &mut Person, count: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..count {
        samples.push(person.ask(Ask::ONE).await?.acknowledged);
    }
    Ok(samples)
}

/// Messages into the agent's own store, as its sessions hand them in: message, turn and event.
async fn commits(store: &Store, count: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..count {
        let message = NewMessage {
            user: UserId::from([1; 16]),
            session: "bench".to_owned(),
            device: NodeId::from([2; 32]),
            speaker: "{}".to_owned(),
            text: "x".repeat(TEXT),
            attachments: "[]".to_owned(),
            client_msg_id: None,
            starts: false,
            events: vec![format!(
                "{{\"type\":\"message\",\"text\":\"{}\"}}",
                "x".repeat(TEXT)
            )],
        };
        let before = Instant::now();
        store.accept_message(message, |_| ()).await?;
        samples.push(before.elapsed());
    }
    Ok(samples)
}

/// SQLite as it comes, on the thread that asks.
struct Bare(rusqlite::Connection);

impl Bare {
    fn open(path: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch("CREATE TABLE messages (id INTEGER PRIMARY KEY, text TEXT)")?;
        Ok(Self(connection))
    }

    fn commits(&self, count: usize) -> Result<Samples> {
        let text = "x".repeat(TEXT);
        let mut insert = self.0.prepare("INSERT INTO messages (text) VALUES (?1)")?;
        let mut samples = Samples::default();
        for _ in 0..count {
            let before = Instant::now();
            // Without a transaction around it a statement is one.
            insert.execute([&text])?;
            samples.push(before.elapsed());
        }
        Ok(samples)
    }
}
