//! Devices that this agent's own host has denied, without the coordinator.
//!
//! A short text file beside the database, so that it can be written while nothing runs and read by a
//! person. It is not the revocation log: nobody signed it, no other agent hears of it, and a device is
//! told `forbidden`, never `revoked`.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use homing_certs::NodeId;

use crate::store::DeviceRow;

/// Name of the file in the agent's folder.
pub const DENIED_FILE: &str = "denied";
/// Fewest digits of a key that name a device: a shorter prefix is too easily another's.
pub const MIN_KEY_PREFIX: usize = 8;

const HEADING: &str = "# Devices that this host denies by itself (homing revoke --local), one NodeId a line.\n\
     # To let one in again, stop the agent, take its line out and start the agent.\n";

/// Why the list cannot be used. An agent does not start without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeniedError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is not a NodeId.
    #[error("line {line} of {} is not a NodeId", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The file cannot be written. What was denied is enforced, but a restart would forget it.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a text does not name one device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// No device that was ever admitted here has a key that begins so.
    #[error("this agent has never admitted a device {0:?}")]
    Unknown(String),
    /// Several keys begin so.
    #[error("{0:?} fits several devices")]
    Ambiguous(String),
}

/// The list. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Denied {
    path: PathBuf,
    keys: Arc<RwLock<BTreeSet<NodeId>>>,
}

impl Denied {
    /// Reads the list in an agent's folder; no file is an empty list.
    ///
    /// # Errors
    /// [`DeniedError`]; a list that cannot be read in whole denies nobody safely.
    pub fn open(dir: &Path) -> Result<Self, DeniedError> {
        let path = dir.join(DENIED_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(DeniedError::Read { path, source }),
        };
        let mut keys = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = line.parse().map_err(|_| DeniedError::Line {
                path: path.clone(),
                line: index + 1,
            })?;
            keys.insert(key);
        }
        Ok(Self {
            path,
            keys: Arc::new(RwLock::new(keys)),
        })
    }

    /// Whether a device is denied.
    #[must_use]
    pub fn contains(&self, node_id: &NodeId) -> bool {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(node_id)
    }

    /// Denies a device in memory, at once. [`Denied::save`] makes it last.
    pub fn insert(&self, node_id: NodeId) {
        self.keys
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node_id);
    }

    /// Writes the list to the disk; blocks.
    ///
    /// # Errors
    /// [`DeniedError::Write`].
    pub fn save(&self) -> Result<(), DeniedError> {
        let mut text = HEADING.to_owned();
        {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            for key in keys.iter() {
                text.push_str(&key.to_string());
                text.push('\n');
            }
        }
        replace(&self.path, text.as_bytes()).map_err(|source| DeniedError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// The device that a NodeId, or the start of one among those that were admitted here, stands for.
///
/// # Errors
/// [`SelectError`].
pub fn select(selector: &str, seen: &[DeviceRow]) -> Result<NodeId, SelectError> {
    // A whole key may be denied before it ever comes.
    if let Ok(node_id) = selector.parse() {
        return Ok(node_id);
    }
    let unknown = || SelectError::Unknown(selector.chars().take(80).collect());
    let prefix = selector.to_ascii_lowercase();
    if prefix.len() < MIN_KEY_PREFIX || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let mut fitting = seen
        .iter()
        .map(|row| row.seen.node_id)
        .filter(|node_id| node_id.to_string().starts_with(&prefix));
    let first = fitting.next().ok_or_else(unknown)?;
    match fitting.next() {
        None => Ok(first),
        Some(_) => Err(SelectError::Ambiguous(prefix)),
    }
}

/// Writes a file whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_denied_is_there_when_the_list_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let denied = Denied::open(folder.path()).unwrap();
        let device = NodeId::from([7; 32]);
        assert!(!denied.contains(&device));
        denied.insert(device);
        denied.save().unwrap();
        let again = Denied::open(folder.path()).unwrap();
        assert!(again.contains(&device));
        assert!(!again.contains(&NodeId::from([8; 32])));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_refused_rather_than_skipped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(DENIED_FILE), "# heading\nnot a key\n").unwrap();
        assert!(matches!(
            Denied::open(folder.path()),
            Err(DeniedError::Line { line: 2, .. })
        ));
    }

    #[test]
    fn a_short_text_names_nobody_and_a_whole_key_need_not_have_been_here() {
        assert_eq!(
            select("0707070", &[]),
            Err(SelectError::Unknown("0707070".to_owned()))
        );
        assert_eq!(select(&"07".repeat(32), &[]), Ok(NodeId::from([7; 32])));
    }
}
