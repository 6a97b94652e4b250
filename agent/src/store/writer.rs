//! The writer thread: takes changes from a bounded channel and commits what waits together.
//!
//! Each change runs in its own savepoint, so that one that fails takes nothing of its neighbours
//! with it. Replies go out only after the commit.

use std::fmt;
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Durability, StoreError};

/// Changes that may wait: enough to fill a batch twice; beyond that callers wait.
const INBOX: usize = 128;
/// Changes in one commit, so that a reply never waits for more than a few milliseconds of others.
const BATCH: usize = 64;

type Reply = Box<dyn FnOnce(Result<(), String>) + Send>;
type Change = Box<dyn FnOnce(&mut Transaction<'_>) -> Reply + Send>;

pub(super) struct Writer {
    inbox: mpsc::Sender<Message>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Change(Durability, Change),
    Stop,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (inbox, messages) = mpsc::channel(INBOX);
        let thread = std::thread::Builder::new()
            .name("agent-store".to_owned())
            .spawn(move || work(connection, messages))
            .map_err(StoreError::Thread)?;
        Ok(Self {
            inbox,
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }

    pub(super) async fn run<T, F, A>(
        &self,
        durability: Durability,
        change: F,
        after: A,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change: Change = Box::new(move |transaction| {
            let outcome = in_savepoint(transaction, change);
            Box::new(move |committed: Result<(), String>| {
                let outcome = match (outcome, committed) {
                    (Ok(value), Ok(())) => {
                        after(&value);
                        Ok(value)
                    }
                    (Ok(_), Err(text)) => Err(StoreError::Commit(text)),
                    (Err(error), _) => Err(error),
                };
                // The caller may have gone; the change stays.
                let _ = reply.send(outcome);
            })
        });
        let message = Message::Change(durability, change);
        self.inbox
            .send(message)
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn shutdown(&self) {
        // Fails only when the thread has ended already.
        let _ = self.inbox.send(Message::Stop).await;
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    transaction.execute_batch("SAVEPOINT change")?;
    let outcome = change(transaction);
    let end = if outcome.is_ok() {
        "RELEASE change"
    } else {
        "ROLLBACK TO change; RELEASE change"
    };
    transaction.execute_batch(end)?;
    outcome
}

fn work(mut connection: Connection, mut messages: mpsc::Receiver<Message>) {
    let mut stop = false;
    while !stop {
        let Some(first) = messages.blocking_recv() else {
            break;
        };
        let mut batch = Vec::new();
        let mut durable = false;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Change(durability, change) => {
                    durable |= durability == Durability::Disk;
                    batch.push(change);
                }
                Message::Stop => {
                    stop = true;
                    break;
                }
            }
            next = if batch.len() < BATCH {
                messages.try_recv().ok()
            } else {
                None
            };
        }
        commit(&mut connection, batch, durable);
    }
    let end = "PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);";
    if let Err(error) = connection.execute_batch(end) {
        tracing::warn!(%error, "the write-ahead log could not be folded into the database");
    }
}

fn commit(connection: &mut Connection, batch: Vec<Change>, durable: bool) {
    if batch.is_empty() {
        return;
    }
    let mut replies = Vec::with_capacity(batch.len());
    let committed = commit_batch(connection, batch, durable, &mut replies);
    let committed = committed.map_err(|error| {
        tracing::error!(%error, "the database could not commit");
        error.to_string()
    });
    for reply in replies {
        reply(committed.clone());
    }
}

/// Changes that never ran, because the transaction could not begin, are dropped: their callers
/// hear that the store is closed, which is as good an answer as any when nothing can be written.
fn commit_batch(
    connection: &mut Connection,
    batch: Vec<Change>,
    durable: bool,
    replies: &mut Vec<Reply>,
) -> Result<(), rusqlite::Error> {
    if durable {
        connection.pragma_update(None, "synchronous", "FULL")?;
    }
    let result = (|| {
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in batch {
            replies.push(change(&mut transaction));
            // A full disk makes SQLite roll everything back by itself; what would follow now would
            // commit alone while its caller is told that it failed.
            if transaction.is_autocommit() {
                return Err(rusqlite::Error::InvalidQuery);
            }
        }
        transaction.commit()
    })();
    if durable {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    result
}
