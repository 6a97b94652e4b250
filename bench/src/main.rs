//! `homing-bench`: runs homing and its rivals interleaved, and says what each of them costs.
//!
//! Arguments, runtime, exit code. What is measured is in [`rows`], what it is measured on in
//! [`systems`]; `docs/performance.md` says what each row means.

mod args;
mod calm;
mod child;
mod crowd;
mod lab;
mod load;
mod mapping;
mod network;
mod origin;
mod process;
mod provider;
mod report;
mod role;
mod rows;
mod stats;
mod systems;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, Hidden};

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread in every process, as in the product; the load generator is held to the same.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime
        .context("the async runtime")
        .and_then(|runtime| runtime.block_on(run(args)));
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "homing-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode> {
    if let Some(Hidden::Role { role }) = args.hidden {
        role::run(role).await?;
        return Ok(ExitCode::SUCCESS);
    }
    // What was started ends with the future that holds it, also when the bench is told to stop.
    let report = tokio::select! {
        report = rows::run(&args) => report?,
        stopped = told_to_stop() => return stopped,
    };
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(stdout, "{}", report.text(args.check))?;
    }
    let missed = args.check && report.missed();
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn told_to_stop() -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let signal = tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    bail!("stopped by {signal}; nothing that it started is left, and there is no report")
}
