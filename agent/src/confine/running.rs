//! A running program and its process group.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::output::{Collected, Kept};

/// How long output may go on to come when the program has ended: something that left its group may
/// hold the pipe for ever.
const LINGER: Duration = Duration::from_millis(500);

/// A program that was started. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// The group that it leads; `None` when it is known to be gone.
    group: Option<Pid>,
}

/// What a program did.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Collected,
    /// Its standard error.
    pub stderr: Collected,
}

impl Running {
    pub(super) fn new(child: Child) -> Self {
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Self { child, group }
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its standard input, once, if it was asked for.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, once.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end, then kills what is left of its group.
    ///
    /// # Errors
    /// When the operating system does not say how it ended.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let watched = match self.group {
            Some(group) => ended(group).await,
            None => false,
        };
        if watched {
            // Before it is reaped: until then nobody else can have its number.
            self.kill_group();
            return self.child.wait().await;
        }
        let status = self.child.wait().await;
        self.kill_group();
        status
    }

    /// Kills it and all that it started in its group.
    pub fn kill(&mut self) {
        self.kill_group();
    }

    /// Waits for its end and collects what it wrote, at most `limit` bytes of each stream.
    ///
    /// # Errors
    /// When the operating system does not say how it ended.
    pub async fn finish(mut self, limit: usize) -> std::io::Result<Finished> {
        let (mut stdout, mut stderr) = (Kept::new(limit), Kept::new(limit));
        let (out, err) = (self.stdout(), self.stderr());
        let status = {
            let read = async { tokio::join!(stdout.fill(out), stderr.fill(err)) };
            tokio::pin!(read);
            let mut all = false;
            let status = loop {
                tokio::select! {
                    biased;
                    _ = &mut read, if !all => all = true,
                    status = self.wait() => break status?,
                }
            };
            if !all {
                let _ = tokio::time::timeout(LINGER, read).await;
            }
            status
        };
        Ok(Finished {
            status,
            stdout: stdout.collected(),
            stderr: stderr.collected(),
        })
    }

    fn kill_group(&mut self) {
        if let Some(group) = self.group.take() {
            // Fails only when nobody is left.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Waits until the leader of a group has ended, without reaping it. False when that cannot be seen.
#[cfg(target_os = "linux")]
async fn ended(leader: Pid) -> bool {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let Ok(file) = pidfd_open(leader, PidfdFlags::empty()) else {
        return false;
    };
    #[allow(
        deprecated,
        reason = "its successor is unsafe because of types that lose their descriptor; an OwnedFd does not"
    )]
    let watched = AsyncFd::with_interest(file, Interest::READABLE);
    match watched {
        Ok(file) => file.readable().await.is_ok(),
        Err(_) => false,
    }
}

#[cfg(not(target_os = "linux"))]
async fn ended(_: Pid) -> bool {
    false
}
