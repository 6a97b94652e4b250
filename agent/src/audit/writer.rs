//! The thread that alone writes the audit files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::chain::{self, ChainError, Head};
use super::{Entry, Kind, Recent};
use crate::clock;

/// A file above this is set aside and a new one goes on.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Name of the file that is written.
pub(super) const CURRENT: &str = "audit.jsonl";
/// Longest line that is looked for at the end of a file; ours are a few KiB.
const MAX_LINE: u64 = 64 << 10;
/// Between two syncs of a file that was written.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Between two lines of counted refusals.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);
/// Lines in one write.
const BATCH: usize = 256;

/// Why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditOpenError {
    /// The file cannot be opened or read.
    #[error("the audit log {path} cannot be opened")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The last line is whole but not one of ours.
    #[error(
        "the last line of {path} is not a line of the audit log; move the file away to begin a new chain"
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ChainError,
    },
    /// The thread could not be started.
    #[error("the audit log's thread could not be started")]
    Thread(#[source] io::Error),
}

pub(super) enum Message {
    Append(Box<Entry>, Option<oneshot::Sender<Result<(), String>>>),
    CountRefusal(&'static str),
    Head(oneshot::Sender<Head>),
    Stop,
}

#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    file: File,
    /// Length of the whole lines; anything beyond was a failed write.
    len: u64,
    /// Whether a failed write may have left something beyond `len`.
    torn: bool,
    limit: u64,
    head: Head,
    unsynced: bool,
    synced_at: Instant,
    refusals: BTreeMap<&'static str, u64>,
    refusals_at: Instant,
    recent: Arc<Recent>,
}

impl Writer {
    pub(super) fn open(
        dir: &Path,
        limit: u64,
        recent: Arc<Recent>,
    ) -> Result<Self, AuditOpenError> {
        let path = dir.join(CURRENT);
        let failed = |source| AuditOpenError::Open {
            path: path.clone(),
            source,
        };
        let mut file = open_file(&path).map_err(failed)?;
        let end = read_end(&mut file).map_err(failed)?;
        let head = match &end.last_line {
            Some(line) => chain::read(line).map(|(head, _)| head).map_err(|source| {
                AuditOpenError::Corrupt {
                    path: path.clone(),
                    source,
                }
            })?,
            None => newest_rotated(dir).map_err(failed)?.unwrap_or(Head::START),
        };
        if end.torn > 0 {
            file.set_len(end.len).map_err(failed)?;
        }
        let now = Instant::now();
        let mut writer = Self {
            dir: dir.to_owned(),
            file,
            len: end.len,
            torn: false,
            limit,
            head,
            unsynced: false,
            synced_at: now,
            refusals: BTreeMap::new(),
            refusals_at: now,
            recent,
        };
        let mut first = Vec::new();
        if end.torn > 0 {
            first.push(Entry::new(Kind::Recovered).detail("torn_bytes", end.torn));
        }
        first.push(Entry::new(Kind::Opened));
        writer
            .append(&first)
            .map_err(|source| AuditOpenError::Open { path, source })?;
        Ok(writer)
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut stop = false;
        while !stop {
            match messages.recv_timeout(SYNC_EVERY) {
                Ok(first) => stop = self.take(first, messages),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => stop = true,
            }
            if stop || self.refusals_at.elapsed() >= REFUSALS_EVERY {
                self.write_refusals();
            }
            if stop || self.synced_at.elapsed() >= SYNC_EVERY {
                self.sync();
            }
        }
    }

    /// Handles a message and what waits behind it, in one write. True when it is time to stop.
    fn take(&mut self, first: Message, messages: &Receiver<Message>) -> bool {
        let mut entries = Vec::new();
        let mut replies = Vec::new();
        let mut heads = Vec::new();
        let mut stop = false;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Append(entry, reply) => {
                    entries.push(*entry);
                    replies.extend(reply);
                }
                Message::CountRefusal(reason) => *self.refusals.entry(reason).or_default() += 1,
                Message::Head(reply) => heads.push(reply),
                Message::Stop => {
                    stop = true;
                    break;
                }
            }
            next = if entries.len() < BATCH {
                messages.try_recv().ok()
            } else {
                None
            };
        }
        let written = self.append(&entries).map_err(|error| {
            tracing::error!(%error, lines = entries.len(), "the audit log could not be written");
            error.to_string()
        });
        for reply in replies {
            // The caller may have gone; the line stays.
            let _ = reply.send(written.clone());
        }
        for reply in heads {
            let _ = reply.send(self.head);
        }
        stop
    }

    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut head = self.head;
        let mut bytes = Vec::new();
        let mut lines = Vec::with_capacity(entries.len());
        for entry in entries {
            let (line, after) = head
                .line(entry, clock::unix_ms())
                .map_err(io::Error::other)?;
            lines.push(bytes.len()..bytes.len() + line.len() - 1);
            bytes.extend_from_slice(&line);
            head = after;
        }
        // A half-written line in the middle would break the chain for good.
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(&bytes) {
            self.torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.head = head;
        self.unsynced = true;
        for line in lines {
            self.recent.push(&String::from_utf8_lossy(&bytes[line]));
        }
        if self.len > self.limit
            && let Err(error) = self.rotate()
        {
            tracing::error!(%error, "the audit log could not be rotated; it goes on in the same file");
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let current = self.dir.join(CURRENT);
        let aside = self.dir.join(rotated_name(self.head.seq));
        std::fs::rename(&current, &aside)?;
        self.file = open_file(&current)?;
        File::open(&self.dir)?.sync_all()?;
        self.len = 0;
        let last = self.head.to_string();
        self.append(&[Entry::new(Kind::Rotated).detail("last", last)])
    }

    fn write_refusals(&mut self) {
        self.refusals_at = Instant::now();
        if self.refusals.is_empty() {
            return;
        }
        let counts: Map<String, Value> = std::mem::take(&mut self.refusals)
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count.into()))
            .collect();
        let entry = Entry::new(Kind::Refusals).detail("counts", counts);
        if let Err(error) = self.append(&[entry]) {
            tracing::error!(%error, "the counted refusals are missing in the audit log");
        }
    }

    fn sync(&mut self) {
        self.synced_at = Instant::now();
        if self.unsynced {
            match self.file.sync_data() {
                Ok(()) => self.unsynced = false,
                Err(error) => tracing::error!(%error, "the audit log could not be synced"),
            }
        }
    }
}

struct End {
    last_line: Option<Vec<u8>>,
    /// Length without what is torn.
    len: u64,
    torn: u64,
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn read_end(file: &mut File) -> io::Result<End> {
    let total = file.metadata()?.len();
    let from = total.saturating_sub(2 * MAX_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let torn = (bytes.len() - whole) as u64;
    let last_line = whole.checked_sub(1).map(|end| {
        let start = bytes[..end]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        bytes[start..end].to_vec()
    });
    Ok(End {
        last_line,
        len: total - torn,
        torn,
    })
}

/// Files that were set aside are named after their last line, so that their order is their name's.
pub(super) fn rotated_name(last_seq: u64) -> String {
    format!("audit-{last_seq:020}.jsonl")
}

/// The files that were set aside, oldest first.
pub(super) fn rotated_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(dir)? {
        let path = item?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("audit-") && name.ends_with(".jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// For a process that died between setting a file aside and the first line of the next.
fn newest_rotated(dir: &Path) -> io::Result<Option<Head>> {
    let Some(path) = rotated_files(dir)?.pop() else {
        return Ok(None);
    };
    let end = read_end(&mut File::open(path)?)?;
    Ok(end
        .last_line
        .and_then(|line| Some(chain::read(&line).ok()?.0)))
}

#[cfg(test)]
mod tests {
    use super::super::verify::verify;
    use super::*;

    #[test]
    fn a_full_file_is_set_aside_and_the_next_one_continues_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), 2_000, Arc::default()).unwrap();
        for number in 0..50 {
            writer
                .append(&[Entry::new(Kind::Call).detail("number", number)])
                .unwrap();
        }
        let report = verify(dir.path(), None).unwrap();
        assert!(report.files > 3, "{report:?}");
        assert_eq!(report.first_seq, 1);
        assert_eq!(report.head, writer.head);
    }

    #[test]
    fn a_process_that_died_while_rotating_goes_on_with_the_same_chain() {
        let dir = tempfile::tempdir().unwrap();
        let head = Writer::open(dir.path(), MAX_FILE_BYTES, Arc::default())
            .unwrap()
            .head;
        let aside = dir.path().join(rotated_name(head.seq));
        std::fs::rename(dir.path().join(CURRENT), aside).unwrap();
        let writer = Writer::open(dir.path(), MAX_FILE_BYTES, Arc::default()).unwrap();
        assert_eq!(writer.head.seq, head.seq + 1);
        assert_eq!(verify(dir.path(), None).unwrap().head, writer.head);
    }

    #[test]
    fn a_disk_that_was_full_refuses_lines_and_the_chain_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CURRENT);
        let mut writer = Writer::open(dir.path(), MAX_FILE_BYTES, Arc::default()).unwrap();
        let head = writer.head;
        let good = std::mem::replace(
            &mut writer.file,
            OpenOptions::new().write(true).open("/dev/full").unwrap(),
        );
        let error = writer.append(&[Entry::new(Kind::Call)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!((writer.head, writer.torn), (head, true));
        // As a real disk would have it: some of the line got through.
        writer.file = good;
        writer.file.write_all(b"{\"hash\":\"half").unwrap();
        writer.append(&[Entry::new(Kind::Call)]).unwrap();
        assert_eq!(verify(dir.path(), None).unwrap().head, writer.head);
        assert!(!std::fs::read_to_string(path).unwrap().contains("half"));
    }

    #[test]
    fn refusals_before_admission_become_one_line_with_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), MAX_FILE_BYTES, Arc::default()).unwrap();
        let (sender, receiver) = std::sync::mpsc::sync_channel(8);
        for reason in ["busy", "revoked", "busy"] {
            sender.send(Message::CountRefusal(reason)).unwrap();
        }
        let first = receiver.recv().unwrap();
        writer.take(first, &receiver);
        writer.write_refusals();
        writer.write_refusals();
        let text = std::fs::read_to_string(dir.path().join(CURRENT)).unwrap();
        assert_eq!(text.matches("\"refusals\"").count(), 1);
        assert!(text.contains(r#"{"busy":2,"revoked":1}"#), "{text}");
    }
}
