//! Starts the program of a server and ends it with all that it has started. The only place here that
//! starts anything; what programs are kept from is the confinement's to know.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::confine::{Confinement, Launch, LaunchError, Running};

/// How long a program has to end by itself once its input is closed, and once it was told to.
const LEAVES_BY_ITSELF: Duration = Duration::from_secs(2);
const LEAVES_WHEN_TOLD: Duration = Duration::from_secs(1);

/// How and where programs of servers start.
#[derive(Debug, Clone)]
pub(super) struct Starter {
    pub(super) confinement: Confinement,
    /// Where they start unless they are told otherwise.
    pub(super) home: PathBuf,
}

/// What is to be started.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) words: &'a [String],
    pub(super) cwd: Option<&'a Path>,
    /// In addition to what every program gets.
    pub(super) env: Vec<(&'a str, &'a str)>,
}

/// A program that was started, with its three pipes.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A running program and everything that it has started in its group. Dropping it kills them all.
#[derive(Debug)]
pub(super) struct Process(Running);

impl Starter {
    /// Starts a program.
    ///
    /// # Errors
    /// When it is not started.
    pub(super) async fn start(&self, program: &Program<'_>) -> Result<Started, LaunchError> {
        let broken = |kind| LaunchError::Start(std::io::Error::from(kind));
        let missing = || broken(std::io::ErrorKind::InvalidInput);
        let (name, arguments) = program.words.split_first().ok_or_else(missing)?;
        let environment = program.env.iter();
        let mut running = self
            .confinement
            .spawn(Launch {
                program: name.into(),
                arguments: arguments.iter().map(Into::into).collect(),
                cwd: program.cwd.unwrap_or(&self.home).to_owned(),
                environment: environment
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
                stdin: true,
            })
            .await?;
        let pipes = (running.stdin(), running.stdout(), running.stderr());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(broken(std::io::ErrorKind::BrokenPipe));
        };
        Ok(Started {
            process: Process(running),
            stdin,
            stdout,
            stderr,
        })
    }
}

impl Process {
    /// Waits for the end of the program itself; what it leaves behind is killed. May be dropped and
    /// called again.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        self.0.wait().await.ok()
    }

    /// Ends it. Its input must be closed already, which tells it to go.
    pub(super) async fn stop(&mut self) {
        if self.ends_within(LEAVES_BY_ITSELF).await {
            return;
        }
        // Nobody else has its number before it is waited for.
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(group) = pid.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::TERM);
        }
        if self.ends_within(LEAVES_WHEN_TOLD).await {
            return;
        }
        self.0.kill();
        self.ended().await;
    }

    async fn ends_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.ended()).await.is_ok()
    }
}
