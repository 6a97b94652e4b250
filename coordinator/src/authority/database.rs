//! `coordinator.db`: opening, pragmas, migrations. Owns no query of a resource.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// File name of the database.
pub const DATABASE_FILE: &str = "coordinator.db";

/// How long a writer waits for another: longer than any transaction here, shorter than a person.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// In order; the schema's version is the number of those that have run.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The file cannot be made.
    #[error("cannot make the coordinator's database")]
    Create(#[source] io::Error),
    /// SQLite refused.
    #[error("cannot open the coordinator's database")]
    Open(#[source] rusqlite::Error),
    /// A migration failed; the database is as before.
    #[error("cannot bring the coordinator's database to version {version}")]
    Migrate {
        /// The version that was to be reached.
        version: usize,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer homing has written it.
    #[error("the coordinator's database has version {found}, this homing knows up to {known}")]
    TooNew {
        /// Version of the file.
        found: usize,
        /// Newest version of this program.
        known: usize,
    },
}

/// Opens the database and brings it to the newest version.
pub(crate) fn open(path: &Path, create: bool) -> Result<Connection, DatabaseError> {
    if create {
        // SQLite gives its -wal and -shm files the mode of this one.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(DatabaseError::Create)?;
    }
    let flags =
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(DatabaseError::Open)?;
    set_pragmas(&db).map_err(DatabaseError::Open)?;
    migrate(&mut db)?;
    Ok(db)
}

/// Writes a consistent copy to a new file, mode 0600.
pub(crate) fn copy(db: &Connection, to: &Path) -> Result<(), rusqlite::Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let path = to
        .to_str()
        .ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()))?;
    // SQLite takes an empty file as a place to write to.
    db.execute("VACUUM INTO ?1", params![path])?;
    Ok(())
}

/// A value of `meta`.
pub(crate) fn meta<T: rusqlite::types::FromSql>(
    db: &Connection,
    name: &str,
) -> Result<Option<T>, rusqlite::Error> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row(params![name], |row| row.get(0))
        .optional()
}

/// Sets a value of `meta`.
pub(crate) fn set_meta(
    db: &Connection,
    name: &str,
    value: impl rusqlite::ToSql,
) -> Result<(), rusqlite::Error> {
    db.prepare_cached("INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")?
        .execute(params![name, value])?;
    Ok(())
}

/// SQLite has no unsigned integers; values above its range are clamped, which no time reaches.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The reverse of [`int`]. Negative values are never written.
pub(crate) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn set_pragmas(db: &Connection) -> Result<(), rusqlite::Error> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL may lose the last commit in a power cut, and that commit may be a revocation.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", "ON")?;
    Ok(())
}

fn migrate(db: &mut Connection) -> Result<(), DatabaseError> {
    let version = |source| DatabaseError::Migrate {
        version: MIGRATIONS.len(),
        source,
    };
    let found: i64 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(DatabaseError::Open)?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(DatabaseError::TooNew {
            found,
            known: MIGRATIONS.len(),
        });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let failed = |source| DatabaseError::Migrate {
            version: index + 1,
            source,
        };
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        // Another process may have been faster than this lock.
        let now: i64 = tx
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(version)?;
        if usize::try_from(now).unwrap_or(usize::MAX) > index {
            continue;
        }
        tx.execute_batch(sql).map_err(failed)?;
        tx.pragma_update(None, "user_version", int(index as u64 + 1))
            .map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}
