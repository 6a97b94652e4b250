//! How the agent starts programs: kept from homing's own directory, from the loopback proxy and from
//! processes outside, in a process group that dies as a whole.
//!
//! Programs run as the agent's own user, so file modes do not keep them from the agent's key; Landlock
//! does, for root too. What the kernel cannot do is said by [`support`], and whoever lets a program be
//! started decides what follows. Owns no policy: what may be started is decided before.

#[cfg(target_os = "linux")]
mod landlock;
mod output;
mod running;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::Command;

pub use output::{Collected, Kept};
pub use running::{Finished, Running};

/// Variables of the agent's own environment that programs see.
pub const ENVIRONMENT: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR",
];

/// What this machine's kernel can keep programs from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Support {
    /// Reading and writing homing's directory.
    pub files: bool,
    /// Connecting to the loopback proxy.
    pub network: bool,
    /// Signalling the agent.
    pub signals: bool,
}

impl Support {
    /// Whether a program that was started here cannot act as the agent.
    #[must_use]
    pub fn full(self) -> bool {
        self.files && self.network && self.signals
    }

    /// What is missing, for people; empty when nothing is.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        let parts = [
            (self.files, "homing's files (Linux 6.2)"),
            (self.network, "the loopback proxy (Linux 6.7)"),
            (self.signals, "signals to the agent (Linux 6.12)"),
        ];
        parts
            .into_iter()
            .filter_map(|(there, what)| (!there).then_some(what))
            .collect()
    }
}

/// Asks the kernel.
#[must_use]
pub fn support() -> Support {
    #[cfg(target_os = "linux")]
    return landlock::support();
    #[cfg(not(target_os = "linux"))]
    Support::default()
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The rules that confine it could not be made or put in force.
    #[error("the program could not be confined: {0}")]
    Confine(String),
    /// The operating system did not start it.
    #[error("the program could not be started: {0}")]
    Start(#[source] std::io::Error),
    /// The thread that starts it could not be made, or died.
    #[error("the thread that starts programs failed")]
    Thread,
}

/// A program about to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its file.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// Variables besides [`ENVIRONMENT`].
    pub environment: Vec<(OsString, OsString)>,
    /// Whether somebody will write to its standard input; it reads nothing otherwise.
    pub stdin: bool,
}

/// A cloneable handle to the rules under which programs are started.
#[derive(Debug, Clone)]
pub struct Confinement {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hidden: PathBuf,
    shown: Vec<PathBuf>,
    /// TCP ports that programs may not connect to.
    ports: Mutex<BTreeSet<u16>>,
    #[cfg(target_os = "linux")]
    network: landlock::Network,
}

impl Confinement {
    /// Keeps programs from everything below `hidden` but what is below one of `shown`.
    #[must_use]
    pub fn new(hidden: PathBuf, shown: Vec<PathBuf>) -> Self {
        Self {
            inner: Arc::new(Inner {
                hidden,
                shown,
                ports: Mutex::default(),
                #[cfg(target_os = "linux")]
                network: landlock::Network::default(),
            }),
        }
    }

    /// Also keeps programs that are started from now on from a TCP port, on all addresses.
    pub fn hide_port(&self, port: u16) {
        let mut ports = self
            .inner
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ports.insert(port);
    }

    /// Whether the kernel can do all that this promises.
    #[must_use]
    pub fn complete(&self) -> bool {
        support().full()
    }

    /// What programs are kept from.
    #[must_use]
    pub fn hidden(&self) -> &Path {
        &self.inner.hidden
    }

    /// Starts a program with its output piped. It and all that it starts in its process group die
    /// when the [`Running`] is dropped.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing runs then.
    pub async fn spawn(&self, launch: Launch) -> Result<Running, LaunchError> {
        let inner = self.inner.clone();
        let runtime = tokio::runtime::Handle::current();
        let (reply, answer) = tokio::sync::oneshot::channel();
        // A thread of its own: what restricts itself is the thread, the program inherits it, and the
        // thread never does anything else.
        let work = move || {
            let _entered = runtime.enter();
            // Whoever asked may have gone; the program dies with the reply.
            let _ = reply.send(start(&inner, &launch));
        };
        std::thread::Builder::new()
            .name("agent-launch".to_owned())
            .spawn(work)
            .map_err(|_| LaunchError::Thread)?;
        answer.await.map_err(|_| LaunchError::Thread)?
    }
}

fn start(inner: &Inner, launch: &Launch) -> Result<Running, LaunchError> {
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .current_dir(&launch.cwd)
        .env_clear()
        .stdin(if launch.stdin {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in &launch.environment {
        command.env(name, value);
    }
    #[cfg(unix)]
    command.process_group(0);
    confine(inner)?;
    let child = command.spawn().map_err(LaunchError::Start)?;
    Ok(Running::new(child))
}

#[cfg(target_os = "linux")]
fn confine(inner: &Inner) -> Result<(), LaunchError> {
    let ports = inner
        .ports
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    landlock::restrict_thread(&inner.hidden, &inner.shown, &inner.network, &ports)
        .map_err(|error| LaunchError::Confine(error.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Inner) -> Result<(), LaunchError> {
    Ok(())
}
