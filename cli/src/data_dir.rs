//! The data directory: where things are in it, who may use it, who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;
use crate::files;

/// A data directory that belongs to this user alone.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// Held by the one process that runs in a directory. The kernel releases it when the process dies.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: File,
}

impl DataDir {
    /// The directory of `--dir`, or the user's default one. Made with mode 0700 if `create`.
    pub(crate) fn open(chosen: Option<PathBuf>, create: bool) -> anyhow::Result<Self> {
        let root = match chosen {
            Some(root) => root,
            None => default_root()?,
        };
        if create && !root.exists() {
            files::make_folder(&root)?;
        }
        let Ok(meta) = fs::metadata(&root) else {
            return Err(Failure::new(
                "no_network",
                format!("there is no homing directory at {}", root.display()),
                "homing up makes a network here, homing join enters one; --dir chooses another place",
            )
            .into());
        };
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(Failure::new(
                "directory_not_ours",
                format!("{} belongs to another user", root.display()),
                "run homing as that user, or choose another directory with --dir",
            )
            .into());
        }
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(Failure::new(
                "directory_exposed",
                format!("{} can be entered by other users", root.display()),
                format!("chmod 700 {}", root.display()),
            )
            .into());
        }
        let root = root
            .canonicalize()
            .with_context(|| format!("{} cannot be resolved", root.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("homing.toml")
    }

    pub(crate) fn device(&self) -> PathBuf {
        self.root.join("device")
    }

    /// What `chat` remembers: the last session, what was typed.
    pub(crate) fn chat(&self) -> PathBuf {
        self.root.join("chat")
    }

    pub(crate) fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    pub(crate) fn coordinator(&self) -> PathBuf {
        self.root.join("coordinator")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What the agent starts from.
    pub(crate) fn agent_network(&self) -> PathBuf {
        self.agent().join("network")
    }

    pub(crate) fn has_agent_network(&self) -> bool {
        self.agent_network().exists()
    }

    pub(crate) fn has_coordinator(&self) -> bool {
        self.coordinator().join("coordinator.db").exists()
    }

    pub(crate) fn has_device(&self) -> bool {
        self.device().join("network").exists()
    }

    pub(crate) fn has_agent(&self) -> bool {
        self.agent().join("key").exists()
    }

    /// Takes the directory for this process.
    pub(crate) fn hold(&self, purpose: &str) -> anyhow::Result<Held> {
        files::make_folder(&self.run())?;
        let path = self.run().join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} could not be opened", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            return Err(Failure::new(
                "directory_in_use",
                format!(
                    "{} is held by {}",
                    self.root.display(),
                    holder_text(&holder)
                ),
                "stop that process, or choose another directory with --dir",
            )
            .into());
        }
        let mut write = || {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "homing {purpose} (pid {})", std::process::id())
        };
        write().with_context(|| format!("{} could not be written", path.display()))?;
        Ok(Held { _lock: lock })
    }
}

fn holder_text(holder: &str) -> String {
    if holder.is_empty() {
        "another homing process".to_owned()
    } else {
        holder.to_owned()
    }
}

fn default_root() -> anyhow::Result<PathBuf> {
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()) {
        return Ok(PathBuf::from(data).join("homing"));
    }
    let home = std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .ok_or_else(|| {
            Failure::new(
                "usage",
                "neither HOME nor XDG_DATA_HOME is set",
                "say where with --dir DIR",
            )
        })?;
    Ok(PathBuf::from(home).join(".local/share/homing"))
}
