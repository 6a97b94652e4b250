//! Processes that the bench starts: they say in one JSON line that they are ready, and they end with it.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

/// From the start of a process to its ready line; several times what the slowest needs on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// From SIGTERM to the end of a process, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// A running process. It is killed when this is dropped; [`Child::stop`] asks it first.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    pid: u32,
    /// What it printed when it was ready.
    pub(crate) ready: Value,
    // A closed pipe would end a process that prints again.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a process that prints one JSON line when it is ready. Its stderr goes to `log`.
    pub(crate) async fn start(mut command: Command, log: &Path) -> Result<Self> {
        let what = format!("{:?}", command.as_std().get_program());
        let mut child = Self::spawn(&mut command, log)?;
        let stdout = child.process.stdout.take().context("no stdout")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        match timeout(READY_LIMIT, stdout.read_line(&mut line)).await {
            Ok(read) => read.with_context(|| format!("reading from {what}"))?,
            Err(_) => bail!("{what} was not ready within {READY_LIMIT:?}: {}", tail(log)),
        };
        child.ready = serde_json::from_str(&line)
            .with_context(|| format!("{what} did not become ready: {line}{}", tail(log)))?;
        child._stdout = Some(stdout);
        Ok(child)
    }

    /// Starts a process that says nothing.
    pub(crate) fn start_silent(mut command: Command, log: &Path) -> Result<Self> {
        Self::spawn(&mut command, log)
    }

    /// Starts this program itself in one of its hidden roles.
    pub(crate) async fn role(role: &str, args: &[&str], log: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut command = Command::new(program);
        command.arg("role").arg(role).args(args);
        Self::start(command, log).await
    }

    fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let errors = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true);
        let process = command
            .spawn()
            .with_context(|| format!("starting {:?}", command.as_std().get_program()))?;
        let pid = process.id().context("a process that ended at once")?;
        Ok(Self {
            process,
            pid,
            ready: Value::Null,
            _stdout: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// A text of the ready line.
    pub(crate) fn text(&self, field: &str) -> Result<&str> {
        let value = self.ready.get(field).and_then(Value::as_str);
        value.with_context(|| format!("no {field} in {}", self.ready))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) async fn stop(mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid.cast_signed()) {
            // Fails only when it has ended already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if timeout(STOP_LIMIT, self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
    }
}

/// Runs a program to its end and parses what it prints as JSON.
pub(crate) async fn json_of(mut command: Command) -> Result<Value> {
    let what = format!("{:?}", command.as_std().get_program());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(READY_LIMIT, command.output())
        .await
        .with_context(|| format!("{what} took longer than {READY_LIMIT:?}"))?
        .with_context(|| format!("starting {what}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "{what}: {}: {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_str(&text).with_context(|| format!("{what} printed {text}"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(4).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
