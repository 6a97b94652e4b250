//! SQLite: one writer thread, a few reader connections.
//!
//! Owns the database file, its migrations and the order of writes. Knows nothing of HTTP, of
//! sessions' meaning or of trust's rules; each resource's queries are in its own file.
//!
//! A write that has returned is in the write-ahead log of the file: it survives the death of this
//! process. Writes marked durable are also on the disk (`synchronous=FULL`) when they return.

mod approvals;
mod asked;
mod devices;
mod events;

mod idempotency;
mod mcps;
mod messages;
mod migrate;
mod models;
mod past;
mod providers;
mod sessions;
mod trust;
mod usage;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};
use tokio::sync::Semaphore;

pub use approvals::{
    AnsweredBy, ApprovalRow, ApprovalState, Asked, MAX_PENDING, NewApproval, Resolution,
    ResolvedBody,
};
pub use asked::AskedOnce;
pub use devices::{DeviceRow, SeenDevice};
pub use events::{LoggedEvent, MAX_EVENTS_PER_SESSION};
pub use idempotency::{IdempotencyKey, KeptAnswer};
pub use mcps::{McpAdded, McpRow};
pub use messages::{Accepted, EndOfTurn, NewMessage, PendingTurn, StoredAnswer, TurnState};
pub use models::ModelRow;
pub use past::{Past, PastMessage, Summary};
pub use providers::ProviderRow;
pub use sessions::SessionRow;
pub use trust::{StoredTrust, TrustRow};
pub use usage::{Charge, Payer, Spent, UsageRow};

use writer::Writer;

/// Reader connections: reading is short, and more would only wait for the same page cache.
const READERS: usize = 4;
/// How long a statement waits for a lock of another process, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a store operation failed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused or failed.
    #[error("the database refused the operation")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value is not what this version writes.
    #[error("the database holds a value that this version cannot read: {0}")]
    Value(String),
    /// The database was written by a newer version.
    #[error("the database has schema version {found}, this version knows up to {known}")]
    TooNew {
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The writer thread could not be started.
    #[error("the database's writer thread could not be started")]
    Thread(#[source] std::io::Error),
    /// The whole batch of writes could not be committed.
    #[error("the database could not commit: {0}")]
    Commit(String),
    /// The store has been shut down.
    #[error("the database is closed")]
    Closed,
}

/// A cloneable handle to the database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

/// Whether a write must be on the disk before it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the write-ahead log: survives the process, not a loss of power.
    Process,
    /// On the disk.
    Disk,
}

/// Writes a consistent copy of an agent's database to a new file, also while an agent works on it.
/// Blocks.
///
/// # Errors
/// When SQLite refuses, also when `to` holds anything.
pub fn copy_database(from: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = open_reader(from)?;
    let to = to
        .to_str()
        .ok_or_else(|| StoreError::Value("a path that is not UTF-8".to_owned()))?;
    connection.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

impl Store {
    /// Opens or creates the database and brings its schema up to date. Blocks.
    ///
    /// # Errors
    /// When the file cannot be opened, belongs to a newer version, or cannot be migrated.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate::run(&mut connection)?;
        let mut idle = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            idle.push(open_reader(path)?);
        }
        Ok(Self {
            writer: Arc::new(Writer::start(connection)?),
            readers: Arc::new(Readers {
                idle: Mutex::new(idle),
                permits: Semaphore::new(READERS),
            }),
        })
    }

    /// Waits for the writes that were handed in, folds the write-ahead log into the file and closes it.
    pub async fn shutdown(&self) {
        self.writer.shutdown().await;
    }

    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = self.readers.clone();
        let _permit = self
            .readers
            .permits
            .acquire()
            .await
            .map_err(|_| StoreError::Closed)?;
        let run = move || {
            let connection = readers.lock().pop().ok_or(StoreError::Closed)?;
            let result = query(&connection);
            readers.lock().push(connection);
            result
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|_| StoreError::Closed)?
    }

    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.run(Durability::Process, change, |_| ()).await
    }

    async fn write_durably<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.run(Durability::Disk, change, |_| ()).await
    }

    /// Like `write`; `after` runs on the writer thread when the change is committed, in commit order.
    async fn write_then<T, F, A>(&self, change: F, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.writer.run(Durability::Process, change, after).await
    }
}

impl Readers {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}
