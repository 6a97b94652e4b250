//! Checks a whole chain from its files.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{self, ChainError, Head};
use super::writer::{CURRENT, rotated_files};

/// What a check found when all was well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files read.
    pub files: usize,
    /// Lines checked.
    pub lines: u64,
    /// Number of the first line; above 1 when older files were taken away.
    pub first_seq: u64,
    /// Bytes of an unfinished last line, which the next start cuts off.
    pub torn_bytes: u64,
    /// The end of the chain.
    #[serde(serialize_with = "as_text")]
    pub head: Head,
}

/// What is wrong with a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line does not follow on the one before.
    #[error("{path}, line {line}: the chain is broken")]
    Broken {
        /// In which file.
        path: PathBuf,
        /// Which line of the file, from 1.
        line: u64,
        /// Why.
        #[source]
        source: ChainError,
    },
    /// The chain ends before a line that is known to have been written.
    #[error("the chain ends at line {found}, but line {expected} was written: the end was cut off")]
    Truncated {
        /// Last line found.
        found: u64,
        /// A line that must be there.
        expected: u64,
    },
    /// The chain holds another line at the place of one that is known.
    #[error("line {seq} is not the line that was written: the chain was replaced")]
    Replaced {
        /// Which.
        seq: u64,
    },
}

/// Reads all files of `dir` and checks every line. With `known`, a head that was kept elsewhere, also
/// that the chain still holds it; without one, lines cut off at the end cannot be noticed. Blocks.
///
/// # Errors
/// [`VerifyError`] names the first thing that is wrong.
pub fn verify(dir: &Path, known: Option<Head>) -> Result<Report, VerifyError> {
    let read_failed = |source| VerifyError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut files = rotated_files(dir).map_err(read_failed)?;
    files.push(dir.join(CURRENT));
    let mut walk = Walk {
        head: None,
        known,
        report: Report::empty(files.len()),
    };
    for path in &files {
        walk.file(path)?;
    }
    walk.finish()
}

struct Walk {
    head: Option<Head>,
    known: Option<Head>,
    report: Report,
}

impl Walk {
    fn file(&mut self, path: &Path) -> Result<(), VerifyError> {
        let failed = |source| VerifyError::Read {
            path: path.to_owned(),
            source,
        };
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let mut number = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(());
            }
            number += 1;
            if line.pop() != Some(b'\n') {
                self.report.torn_bytes = line.len() as u64 + 1;
                return Ok(());
            }
            self.line(&line).map_err(|source| VerifyError::Broken {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            if let (Some(known), Some(head)) = (self.known, self.head)
                && known.seq == head.seq
                && known.hash != head.hash
            {
                return Err(VerifyError::Replaced { seq: known.seq });
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ChainError> {
        let head = match self.head {
            Some(head) => head.follow(line)?,
            None => {
                let (first, _) = chain::read(line)?;
                self.report.first_seq = first.seq;
                // Only the very first line's predecessor is known.
                if first.seq == 1 {
                    Head::START.follow(line)?
                } else {
                    first
                }
            }
        };
        self.report.lines += 1;
        self.head = Some(head);
        Ok(())
    }

    fn finish(mut self) -> Result<Report, VerifyError> {
        let head = self.head.unwrap_or(Head::START);
        if let Some(known) = self.known
            && known.seq > head.seq
        {
            return Err(VerifyError::Truncated {
                found: head.seq,
                expected: known.seq,
            });
        }
        self.report.head = head;
        Ok(self.report)
    }
}

impl Report {
    fn empty(files: usize) -> Self {
        Self {
            files,
            lines: 0,
            first_seq: 0,
            torn_bytes: 0,
            head: Head::START,
        }
    }
}

fn as_text<S: serde::Serializer>(head: &Head, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(head)
}
