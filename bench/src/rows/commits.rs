//! The way of a message into the database, and a bare commit of SQLite beside it: row 24.

use std::net::SocketAddr;
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
use crate::report::Report;
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
const MANY: &str = "commit of a message, 64 callers, time for each";
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
    let address = *address.first().context("no device")?;
    // Connections, caches and the files of the databases are made by the first.
    acknowledged(address, 3).await?;
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
        add_rate(report, BARE, alone);
        let load = async || {
            let start = Instant::now();
            let each = each / CALLERS + 1;
            try_join_all((0..CALLERS).map(|_| commits(&store, each))).await?;
            anyhow::Ok(rate(each * CALLERS, start.elapsed()))
        };
        let together = lab.calm.measure(report, load).await?;
        add_rate(report, OURS, together);
        let load = async || acknowledged(address, each / 10).await;
        let samples = lab.calm.measure(report, load).await?;
        add(report, (ACK_P50, ACK_P99), OURS, &samples);
    }
    judge(report)?;
    talking.stop().await;
    store.shutdown().await;
    Ok(())
}

/// The bounds are what nobody notices in a conversation. The rival says what of it is SQLite: a message
/// is several rows, crosses to the writer's thread and back, and fills the log that is folded into
/// the file, with a flush of the disk, after about a hundred messages.
fn judge(report: &mut Report) -> Result<()> {
    for (metric, most) in [
        (ONE_P50, 100.0),
        (ONE_P99, 10_000.0),
        (MANY, 100.0),
        (ACK_P50, 3_000.0),
        (ACK_P99, 15_000.0),
    ] {
        let value = report.value(metric, OURS).context("no commits")?;
        report.bound(Row::Commits, metric, value, most, "µs");
    }
    Ok(())
}

fn add(report: &mut Report, names: (&str, &str), system: &str, samples: &Samples) {
    report.add(names.0, "µs", system, samples.micros(50.0));
    report.add(names.1, "µs", system, samples.micros(99.0));
}

fn add_rate(report: &mut Report, system: &str, rate: f64) {
    report.add(RATE, "messages/s", system, rate);
    report.add(MANY, "µs", system, 1e6 / rate);
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Messages of a person who reads each answer before the next.
async fn acknowledged(address: SocketAddr, count: usize) -> Result<Samples> {
    let mut person = Person::meet(address, "acks").await?;
    // Whoever is new waits for the connection to the provider as well.
    person.ask(Ask::ONE).await?;
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
