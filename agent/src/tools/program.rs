//! Programs of the machine that tools ask: started without a shell, with an empty environment, and
//! bounded in time and in what they may say.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdout, Command};

use super::bounds::clip;

/// Longest run of a program.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of its complaints that are read, and of those that are told.
const MAX_COMPLAINT: u64 = 4 << 10;
const MAX_TOLD: usize = 300;

/// Why a program said nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not there.
    #[error("this machine has no {0}")]
    Absent(String),
    /// It cannot be started.
    #[error("{program} cannot be started ({})", .source.kind())]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("{program} did not answer in {} seconds", .patience.as_secs())]
    TimedOut {
        /// Which.
        program: String,
        /// The longest run.
        patience: Duration,
    },
    /// It failed; its own words.
    #[error("{program} failed: {words}")]
    Failed {
        /// Which.
        program: String,
        /// What it wrote, shortened.
        words: String,
    },
    /// Its answer is not what it documents.
    #[error("the answer of {0} cannot be understood")]
    Malformed(String),
}

/// A program that is asked.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    patience: Duration,
}

/// What it said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) bytes: Vec<u8>,
    /// Whether there was more.
    pub(super) cut: bool,
}

impl Program {
    pub(super) fn new(path: &Path, patience: Duration) -> Self {
        Self {
            path: path.to_owned(),
            patience,
        }
    }

    /// Runs it and reads at most `limit` bytes. Dropping the future kills it.
    pub(super) async fn ask(
        &self,
        arguments: &[String],
        limit: usize,
    ) -> Result<Said, ProgramError> {
        let asked = tokio::time::timeout(self.patience, self.run(arguments, limit));
        asked.await.map_err(|_| ProgramError::TimedOut {
            program: self.name(),
            patience: self.patience,
        })?
    }

    pub(super) fn malformed(&self) -> ProgramError {
        ProgramError::Malformed(self.name())
    }

    async fn run(&self, arguments: &[String], limit: usize) -> Result<Said, ProgramError> {
        let started = Command::new(&self.path)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ProgramError::Absent(self.name()),
            _ => self.failed_to_start(error),
        })?;
        let out = read(child.stdout.take(), limit);
        let complaint = complaint(child.stderr.take());
        tokio::pin!(out, complaint);
        let mut said = None;
        let out = loop {
            tokio::select! {
                out = &mut out => break out,
                words = &mut complaint, if said.is_none() => said = Some(words),
            }
        };
        let (bytes, cut) = out.map_err(|error| self.failed_to_start(error))?;
        if cut {
            // It would wait for ever for somebody to read the rest.
            let _ = child.kill().await;
            return Ok(Said { bytes, cut });
        }
        let complaint = match said {
            Some(words) => words,
            None => complaint.await,
        };
        let status = child
            .wait()
            .await
            .map_err(|error| self.failed_to_start(error))?;
        if !status.success() && !complaint.trim().is_empty() {
            let words = clip(complaint.trim(), MAX_TOLD).0.to_owned();
            let program = self.name();
            return Err(ProgramError::Failed { program, words });
        }
        Ok(Said { bytes, cut })
    }

    fn failed_to_start(&self, source: io::Error) -> ProgramError {
        ProgramError::Start {
            program: self.name(),
            source,
        }
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// Up to `limit` bytes, and whether there are more.
async fn read(pipe: Option<ChildStdout>, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else {
        return Ok((bytes, false));
    };
    let more = limit as u64 + 1;
    pipe.take(more).read_to_end(&mut bytes).await?;
    let cut = bytes.len() > limit;
    bytes.truncate(limit);
    Ok((bytes, cut))
}

/// What it complains about; all of it is read, so that it never waits for a reader.
async fn complaint(pipe: Option<ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let beginning = (&mut pipe)
            .take(MAX_COMPLAINT)
            .read_to_end(&mut bytes)
            .await;
        if beginning.is_ok() {
            let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
