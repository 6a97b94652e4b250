//! `audit.jsonl`: who decided what, one JSON line each, chained by hashes, written before the change.
//!
//! The database keeps the position of the last line that belongs to a committed change. A line
//! beyond it was written before a crash and is kept; a torn one is cut off; a file that is shorter
//! than the position was tampered with, and changes are refused until somebody has looked.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use homing_certs::UnixTime;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::database::{int, meta, set_meta, uint};

/// File name of the audit log.
pub const AUDIT_FILE: &str = "audit.jsonl";

const META_NUMBER: &str = "audit_number";
const META_HASH: &str = "audit_hash";
const META_LENGTH: &str = "audit_length";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Rises by one.
    pub number: u64,
    /// Unix seconds.
    pub time: u64,
    /// Key of who asked; `local` for the owner on the coordinator's host.
    pub actor: String,
    /// Handle of the user whose device that is.
    pub handle: String,
    /// Key of the device for which the actor, an agent, asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// What was asked.
    pub method: String,
    /// Of what: a name, a key or an invitation's id.
    pub target: String,
    /// `allowed`, or the code of the refusal.
    pub decision: String,
    /// Hash of the line before, in hexadecimal digits.
    pub previous: String,
    /// SHA-256 over `previous` and this line's other fields that are there, in hexadecimal digits.
    pub hash: String,
}

/// What a line says, before it has a place.
#[derive(Debug, Clone)]
pub(crate) struct AuditEvent<'a> {
    pub(crate) time: UnixTime,
    pub(crate) actor: &'a str,
    pub(crate) handle: &'a str,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) decision: &'a str,
}

/// Why a line could not be written or the log does not hold together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The file cannot be used.
    #[error("cannot use the audit log {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Its position cannot be read or written.
    #[error("cannot read the audit log's position")]
    Position(#[source] rusqlite::Error),
    /// Lines that had been written are missing.
    #[error("the audit log is {found} bytes long, {expected} were written: lines are missing")]
    Truncated {
        /// Length that it should have at least.
        expected: u64,
        /// Length that it has.
        found: u64,
    },
    /// A line does not follow on the one before.
    #[error("line {line} of the audit log does not follow on the line before")]
    Broken {
        /// Counted from 1.
        line: u64,
    },
}

/// The file.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
}

#[derive(Debug, Clone)]
struct Position {
    number: u64,
    hash: String,
    length: u64,
}

impl Audit {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(AUDIT_FILE),
        }
    }

    /// Writes a line and moves the position, inside the caller's transaction: the line is on disk
    /// when this returns, the position with the commit.
    pub(crate) fn append(&self, tx: &Connection, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        let known = Position::read(tx).map_err(AuditError::Position)?;
        let mut file = self.open()?;
        let position = self.catch_up(&mut file, known)?;
        let mut line = AuditLine {
            number: position.number + 1,
            time: event.time.0,
            actor: event.actor.to_owned(),
            handle: event.handle.to_owned(),
            on_behalf_of: event.on_behalf_of.clone(),
            method: event.method.to_owned(),
            target: event.target.to_owned(),
            decision: event.decision.to_owned(),
            previous: position.hash,
            hash: String::new(),
        };
        line.hash = line.digest();
        let mut bytes = serde_json::to_vec(&line).map_err(|error| self.failed(error.into()))?;
        bytes.push(b'\n');
        file.write_all(&bytes)
            .map_err(|source| self.failed(source))?;
        file.sync_data().map_err(|source| self.failed(source))?;
        let position = Position {
            number: line.number,
            hash: line.hash,
            length: position.length + bytes.len() as u64,
        };
        position.write(tx).map_err(AuditError::Position)
    }

    /// Checks every line and that none is missing at the end. Returns how many there are.
    pub(crate) fn verify(&self, db: &Connection) -> Result<u64, AuditError> {
        let known = Position::read(db).map_err(AuditError::Position)?;
        let mut bytes = Vec::new();
        self.open()?
            .read_to_end(&mut bytes)
            .map_err(|source| self.failed(source))?;
        if (bytes.len() as u64) < known.length {
            return Err(AuditError::Truncated {
                expected: known.length,
                found: bytes.len() as u64,
            });
        }
        let mut position = Position::start();
        let mut passed_known = known.length == 0;
        for line in bytes
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b"\n"))
        {
            position = position.after(line).ok_or(AuditError::Broken {
                line: position.number + 1,
            })?;
            if position.length == known.length {
                if position.hash != known.hash {
                    return Err(AuditError::Broken {
                        line: position.number,
                    });
                }
                passed_known = true;
            }
        }
        if passed_known {
            Ok(position.number)
        } else {
            Err(AuditError::Broken { line: known.number })
        }
    }

    // Lines behind the known position are of changes that were never committed, or of a crash right
    // after the commit's start; they are true as requests and stay. A torn one is cut off.
    fn catch_up(&self, file: &mut File, known: Position) -> Result<Position, AuditError> {
        let found = file.metadata().map_err(|source| self.failed(source))?.len();
        if found < known.length {
            return Err(AuditError::Truncated {
                expected: known.length,
                found,
            });
        }
        let mut position = known;
        if found > position.length {
            file.seek(SeekFrom::Start(position.length))
                .map_err(|source| self.failed(source))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)
                .map_err(|source| self.failed(source))?;
            for line in tail.split_inclusive(|byte| *byte == b'\n') {
                if !line.ends_with(b"\n") {
                    file.set_len(position.length)
                        .map_err(|source| self.failed(source))?;
                    break;
                }
                position = position.after(line).ok_or(AuditError::Broken {
                    line: position.number + 1,
                })?;
            }
        }
        file.seek(SeekFrom::Start(position.length))
            .map_err(|source| self.failed(source))?;
        Ok(position)
    }

    fn open(&self) -> Result<File, AuditError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> AuditError {
        AuditError::File {
            path: self.path.clone(),
            source,
        }
    }
}

impl AuditLine {
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"homing/audit/v1\0");
        let numbers = [self.number, self.time];
        numbers
            .iter()
            .for_each(|number| hash.update(number.to_be_bytes()));
        let texts = [
            &self.previous,
            &self.actor,
            &self.handle,
            &self.method,
            &self.target,
            &self.decision,
        ];
        for text in texts.into_iter().chain(&self.on_behalf_of) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        HEXLOWER.encode(&hash.finalize())
    }
}

impl Position {
    fn start() -> Self {
        Self {
            number: 0,
            hash: HEXLOWER.encode(&[0; 32]),
            length: 0,
        }
    }

    fn read(db: &Connection) -> Result<Self, rusqlite::Error> {
        let Some(hash) = meta(db, META_HASH)? else {
            return Ok(Self::start());
        };
        Ok(Self {
            hash,
            number: uint(meta(db, META_NUMBER)?.unwrap_or_default()),
            length: uint(meta(db, META_LENGTH)?.unwrap_or_default()),
        })
    }

    fn write(&self, db: &Connection) -> Result<(), rusqlite::Error> {
        set_meta(db, META_NUMBER, int(self.number))?;
        set_meta(db, META_HASH, &self.hash)?;
        set_meta(db, META_LENGTH, int(self.length))
    }

    fn after(&self, line: &[u8]) -> Option<Self> {
        let parsed: AuditLine = serde_json::from_slice(line).ok()?;
        let follows = parsed.number == self.number + 1
            && parsed.previous == self.hash
            && parsed.hash == parsed.digest();
        follows.then(|| Self {
            number: parsed.number,
            hash: parsed.hash,
            length: self.length + line.len() as u64,
        })
    }
}
