//! The audit log: `audit.jsonl`, append-only, every line chained to the one before by hash.
//!
//! Owns the files and their order. Does not decide what is worth a line: the gateway, the sessions
//! and the tools do.
//!
//! When a line is on disk: [`Audit::record`] returns when the line has been handed to the kernel, so
//! it survives the death of this process. The file is synced to the disk within a second, when it is
//! rotated and at shutdown; a loss of power may take the last second, and the chain then ends early
//! but stays whole. A line that was torn by such a loss is cut off at the next start, and a line says so.

mod chain;
mod entry;
mod verify;
mod writer;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use chain::{ChainError, Head};
pub use entry::{Decision, Entry, Kind};
pub use verify::{Report, VerifyError, verify};
pub use writer::{AuditOpenError, MAX_FILE_BYTES};

use writer::{Message, Writer};

/// Lines that may wait for the disk. More means that the disk is stuck, and then state-changing calls
/// are refused rather than queued.
const INBOX: usize = 4_096;
/// Lines kept in memory for the list of recent events.
pub const RECENT: usize = 1_000;

/// Why a line was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Too many lines wait.
    #[error("the audit log cannot keep up")]
    Busy,
    /// The line could not be written.
    #[error("the audit log could not be written: {0}")]
    Write(String),
    /// The log has been closed.
    #[error("the audit log is closed")]
    Closed,
}

/// A cloneable handle to the audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    inbox: SyncSender<Message>,
    recent: Arc<Recent>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The last lines, newest last.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<Arc<str>>>);

impl Audit {
    /// Opens the log in `dir`, recovering a torn last line. Blocks.
    ///
    /// # Errors
    /// When the file cannot be opened or its last line is not one of ours.
    pub fn open(dir: &Path) -> Result<Self, AuditOpenError> {
        let (inbox, messages) = std::sync::mpsc::sync_channel(INBOX);
        let recent = Arc::new(Recent::default());
        let writer = Writer::open(dir, MAX_FILE_BYTES, recent.clone())?;
        let thread = std::thread::Builder::new()
            .name("agent-audit".to_owned())
            .spawn(move || writer.run(&messages))
            .map_err(AuditOpenError::Thread)?;
        let inner = Inner {
            inbox,
            recent,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Writes a line and waits for it. A state-changing call goes on only after this.
    ///
    /// # Errors
    /// When the line is not written; the call must then be refused.
    pub async fn record(&self, entry: Entry) -> Result<(), AuditError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Append(Box::new(entry), Some(reply)))?;
        answer
            .await
            .map_err(|_| AuditError::Closed)?
            .map_err(AuditError::Write)
    }

    /// Writes a line without waiting: for what has happened already.
    pub fn note(&self, entry: Entry) {
        if let Err(error) = self.send(Message::Append(Box::new(entry), None)) {
            tracing::error!(%error, "a line of the audit log is lost");
        }
    }

    /// Counts a refusal before admission; the counts are written once a minute.
    pub fn count_refusal(&self, reason: &'static str) {
        if let Err(error) = self.send(Message::CountRefusal(reason)) {
            tracing::error!(%error, reason, "a refusal is missing in the audit log");
        }
    }

    /// The newest lines, oldest first, at most `limit`.
    #[must_use]
    pub fn recent(&self, limit: usize) -> Vec<Arc<str>> {
        let lines = self
            .inner
            .recent
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let skip = lines.len().saturating_sub(limit);
        lines.iter().skip(skip).cloned().collect()
    }

    /// The chain's end, for whoever keeps it elsewhere.
    ///
    /// # Errors
    /// When the log has been closed.
    pub async fn head(&self) -> Result<Head, AuditError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Head(reply))?;
        answer.await.map_err(|_| AuditError::Closed)
    }

    /// Writes what waits, syncs the file and closes it.
    pub async fn shutdown(&self) {
        let thread = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else { return };
        let inbox = self.inner.inbox.clone();
        let stop = move || {
            // Fails only when the thread has ended already.
            let _ = inbox.send(Message::Stop);
            let _ = thread.join();
        };
        let _ = tokio::task::spawn_blocking(stop).await;
    }

    fn send(&self, message: Message) -> Result<(), AuditError> {
        self.inner
            .inbox
            .try_send(message)
            .map_err(|error| match error {
                TrySendError::Full(_) => AuditError::Busy,
                TrySendError::Disconnected(_) => AuditError::Closed,
            })
    }
}

impl Recent {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == RECENT {
            lines.pop_front();
        }
        lines.push_back(Arc::from(line));
    }
}
