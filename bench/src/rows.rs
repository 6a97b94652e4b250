//! What is asked of the product, a file for each family of questions.

use std::str::FromStr;

use anyhow::Result;

use crate::args::Args;
use crate::lab::{Lab, Sizes};
use crate::mapping::Kind;
use crate::process;
use crate::report::Report;
use crate::systems::ssh;

mod bulk;
mod mapping;
mod requests;

/// One row of `docs/performance.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Mapping,
    Get,
    Tail,
    Throughput,
    Connections,
    Guard,
    Bulk,
    Cpu,
    Websocket,
    Dial,
    ColdStart,
    ProxyMemory,
    ConnectionMemory,
    SlowReader,
    Revocation,
    Checks,
    Redemption,
    Log,
    Idle,
    Binary,
}

/// All rows with their names; the place in the list is the number.
const ROWS: [(Row, &str); 20] = [
    (Row::Mapping, "mapping"),
    (Row::Get, "get"),
    (Row::Tail, "tail"),
    (Row::Throughput, "throughput"),
    (Row::Connections, "connections"),
    (Row::Guard, "guard"),
    (Row::Bulk, "bulk"),
    (Row::Cpu, "cpu"),
    (Row::Websocket, "websocket"),
    (Row::Dial, "dial"),
    (Row::ColdStart, "cold-start"),
    (Row::ProxyMemory, "proxy-memory"),
    (Row::ConnectionMemory, "connection-memory"),
    (Row::SlowReader, "slow-reader"),
    (Row::Revocation, "revocation"),
    (Row::Checks, "checks"),
    (Row::Redemption, "redemption"),
    (Row::Log, "log"),
    (Row::Idle, "idle"),
    (Row::Binary, "binary"),
];

impl Row {
    pub(crate) fn number(self) -> u8 {
        let place = ROWS.iter().position(|(row, _)| *row == self);
        place
            .and_then(|place| u8::try_from(place).ok())
            .unwrap_or_default()
    }
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ROWS
            .iter()
            .enumerate()
            .find(|(place, (_, name))| *name == text || place.to_string() == text);
        found.map(|(_, (row, _))| *row).ok_or_else(|| {
            let names: Vec<&str> = ROWS.iter().map(|(_, name)| *name).collect();
            format!(
                "no such row; there are 0 to {}: {}",
                ROWS.len() - 1,
                names.join(", ")
            )
        })
    }
}

/// Runs the rows that were asked for.
pub(crate) async fn run(args: &Args) -> Result<Report> {
    let wanted = |row: Row| match args.only.is_empty() {
        true => row != Row::Mapping,
        false => args.only.contains(&row),
    };
    let any = |rows: &[Row]| rows.iter().any(|row| wanted(*row));
    let mut report = Report {
        machine: process::machine(),
        ..Report::default()
    };
    report.load.push(process::load_average());
    report
        .versions
        .push(("OpenSSH".to_owned(), ssh::versions()));

    let mut lab = Lab::start(Sizes::new(args)).await?;
    if wanted(Row::Mapping) {
        lab.add_prototypes(&[Kind::Pooled, Kind::Relayed, Kind::Unguarded, Kind::Splice])
            .await;
    }
    if wanted(Row::Mapping) {
        mapping::run(&lab, &mut report).await?;
    }
    if any(&[
        Row::Get,
        Row::Tail,
        Row::Throughput,
        Row::Connections,
        Row::Websocket,
    ]) {
        requests::run(&lab, &mut report).await?;
    }
    if any(&[Row::Bulk, Row::Cpu]) {
        bulk::run(&lab, &mut report).await?;
    }
    lab.stop().await;
    report.load.push(process::load_average());
    Ok(report)
}
