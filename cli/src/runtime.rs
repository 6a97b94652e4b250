//! The process around a command: its runtime, its log, its signals.

use std::io::IsTerminal;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Runs a command. One thread drives all connections: on small machines the wake-ups between threads
/// cost more than they give (`docs/performance.md`); SQLite and files have threads of their own.
pub(crate) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime could not be started")?
        .block_on(command)
}

/// Logs to stderr: warnings, or more by `-v` and `HOMING_LOG`.
pub(crate) fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info,iroh=warn,noq=warn",
        2 => "debug,iroh=info,noq=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("HOMING_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(verbose > 1)
        .init();
}

/// Ctrl-c, again and again, for a command that stops something else than itself first.
#[derive(Debug)]
pub(crate) struct Interrupts(Signal);

impl Interrupts {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let signal = signal(SignalKind::interrupt()).context("cannot listen for ctrl-c")?;
        Ok(Self(signal))
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// The end from outside, for a command that has to put a terminal back first.
#[derive(Debug)]
pub(crate) struct Terminations(Signal, Signal);

impl Terminations {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        Ok(Self(terminate, hangup))
    }

    /// Waits for one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// A token that is cancelled by ctrl-c or SIGTERM. The watcher ends with the process.
pub(crate) fn shutdown_on_signal(
    tasks: &mut tokio::task::JoinSet<()>,
) -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let cancelled = token.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = cancelled.cancelled() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}

/// Does something at every SIGHUP. A process with a terminal is left as it is: for that one the signal
/// says that the terminal has gone.
pub(crate) fn on_hangup<F: Future<Output = ()> + Send + 'static>(
    tasks: &mut tokio::task::JoinSet<()>,
    shutdown: CancellationToken,
    act: impl Fn() -> F + Send + 'static,
) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() || std::io::stderr().is_terminal() {
        return Ok(());
    }
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                heard = hangup.recv() => match heard {
                    Some(()) => act().await,
                    None => break,
                },
            }
        }
    });
    Ok(())
}
