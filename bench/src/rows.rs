//! What is asked of the product, a file for each family of questions.

use std::str::FromStr;

use anyhow::Result;

use crate::args::Args;
use crate::lab::{Lab, Sizes};
use crate::mapping::Kind;
use crate::process;
use crate::report::Report;
use crate::systems::{OURS, dumbpipe, homing, rathole, ssh, version};

mod admission;
mod bulk;
mod commits;
mod guard;
mod life;
mod mapping;
mod redemption;
mod requests;
mod revocation;
mod stall;
mod streaming;
pub(crate) mod trust;
mod turns;

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
    FirstToken,
    Streams,
    Replay,
    TurnCost,
    Commits,
}

/// All rows with their names; the place in the list is the number.
const ROWS: [(Row, &str); 25] = [
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
    (Row::FirstToken, "first-token"),
    (Row::Streams, "streams"),
    (Row::Replay, "replay"),
    (Row::TurnCost, "turn-cost"),
    (Row::Commits, "commits"),
];

impl Row {
    pub(crate) fn number(self) -> u8 {
        let place = ROWS.iter().position(|(row, _)| *row == self);
        place
            .and_then(|place| u8::try_from(place).ok())
            .unwrap_or_default()
    }
}

impl Row {
    /// The row under which those that are measured by the same load run.
    fn family(self) -> Self {
        match self {
            Self::Tail | Self::Throughput | Self::Connections | Self::Websocket => Self::Get,
            Self::Cpu => Self::Bulk,
            row => row,
        }
    }

    fn name(self) -> &'static str {
        ROWS.iter()
            .find(|(row, _)| *row == self)
            .map_or("", |(_, name)| name)
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
    let mut families: Vec<Row> = Vec::new();
    for (row, _) in ROWS {
        if wanted(row) && !families.contains(&row.family()) {
            families.push(row.family());
        }
    }
    let mut report = Report {
        machine: process::machine(),
        ..Report::default()
    };
    report.load.push(process::load_average());
    let mut lab = Lab::start(Sizes::new(args)).await?;
    describe(&mut report, &lab.sizes);
    if families.iter().any(|row| *row != Row::Mapping) {
        lab.add_homing(homing::program(args.homing.as_deref()))
            .await;
        if let Ok((network, _)) = lab.ours() {
            report.versions.push((OURS.to_owned(), network.version()));
            report.settings.push(homing::settings());
        }
    }
    for row in families {
        // A row that could not be measured is reported, never dropped, and does not end the others.
        if let Err(error) = measure(row, &mut lab, &mut report).await {
            report.not_run(row, row.name(), format!("{error:#}"));
        }
    }
    lab.stop().await;
    report.load.push(process::load_average());
    report.checks.sort_by_key(|check| check.row);
    Ok(report)
}

async fn measure(row: Row, lab: &mut Lab, report: &mut Report) -> Result<()> {
    // What is not measured in a window of its own, such as memory, other work does not change.
    report.foreign = 0.0;
    match row {
        Row::Mapping => {
            lab.add_prototypes(&Kind::ALL).await;
            let ran = mapping::run(lab, report).await;
            lab.drop_prototypes().await;
            ran
        }
        Row::Get | Row::Tail | Row::Throughput | Row::Connections | Row::Websocket => {
            requests::run(lab, report).await
        }
        Row::Guard => {
            lab.add_prototypes(&[Kind::Relayed, Kind::Unguarded, Kind::Splice])
                .await;
            let ran = guard::run(lab, report).await;
            lab.drop_prototypes().await;
            ran
        }
        Row::Bulk | Row::Cpu => bulk::run(lab, report).await,
        Row::Dial => admission::dials(lab, report).await,
        Row::ColdStart => life::cold_start(lab, report).await,
        Row::ProxyMemory => life::proxy_memory(lab, report).await,
        Row::ConnectionMemory => admission::memory(lab, report).await,
        Row::SlowReader => stall::run(lab, report).await,
        Row::Revocation => revocation::run(lab, report).await,
        Row::Checks => trust::checks(lab, report).await,
        Row::Redemption => redemption::run(lab, report).await,
        Row::Log => trust::log(lab, report).await,
        Row::Idle => life::idle(lab, report).await,
        Row::Binary => life::binary(lab, report),
        Row::FirstToken => streaming::first_token(lab, report).await,
        Row::Streams => streaming::streams(lab, report).await,
        Row::Replay => turns::replay(lab, report).await,
        Row::TurnCost => turns::cost(lab, report).await,
        Row::Commits => commits::run(lab, report).await,
    }
}

fn describe(report: &mut Report, sizes: &Sizes) {
    report
        .versions
        .push(("OpenSSH".to_owned(), ssh::versions()));
    for name in [rathole::NAME, dumbpipe::NAME] {
        report
            .versions
            .push((name.to_owned(), version(name, "--version")));
    }
    report.settings.push(format!(
        "{} rounds, loads of {:?}, transfers of {} MiB",
        sizes.rounds,
        sizes.time,
        sizes.bulk >> 20
    ));
    if cfg!(debug_assertions) {
        report
            .settings
            .push("built without optimisation: the numbers say nothing".to_owned());
    }
}
