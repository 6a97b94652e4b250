//! A session's log: numbered events, each the body of a frame without its number.
//!
//! Numbers rise by one and are never used twice. The oldest events go when a session has too many.

use homing_certs::UserId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Store, StoreError};
use crate::clock;

/// Events kept per session: days of talk; what is older is in the messages.
pub const MAX_EVENTS_PER_SESSION: u64 = 20_000;
/// Trimming looks only every so many events, because it costs a look-up.
const TRIM_EVERY: u64 = 256;

/// One event with its number. `body` is a JSON object with a `type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its number in the session.
    pub seq: u64,
    /// The turn that it belongs to.
    pub turn_id: Option<i64>,
    /// JSON object.
    pub body: String,
}

impl Store {
    /// Appends events to a session's log, creating the session, and hands them with their numbers
    /// to `published` once they are committed, in the order of all appends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn append_events(
        &self,
        user: UserId,
        session: String,
        turn_id: Option<i64>,
        bodies: Vec<String>,
        published: impl FnOnce(&[LoggedEvent]) + Send + 'static,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        self.write_then(
            move |transaction| {
                super::sessions::ensure(transaction, user, &session)?;
                append(transaction, user, &session, turn_id, bodies)
            },
            move |events: &Vec<LoggedEvent>| published(events),
        )
        .await
    }

    /// Events with a number above `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_after(
        &self,
        user: UserId,
        session: String,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, turn_id, body FROM events
                 WHERE user_id = ?1 AND session_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
            )?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows =
                statement.query_map(params![user.as_bytes(), session, after, limit], |row| {
                    Ok(LoggedEvent {
                        seq: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                        turn_id: row.get(1)?,
                        body: row.get(2)?,
                    })
                })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Number of the first event of the session's oldest unfinished turn, if one runs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn running_since(
        &self,
        user: UserId,
        session: String,
    ) -> Result<Option<u64>, StoreError> {
        self.read(move |connection| {
            let first = connection
                .prepare_cached(
                    "SELECT min(e.seq) FROM turns t JOIN events e
                       ON e.user_id = t.user_id AND e.session_id = t.session_id AND e.turn_id = t.id
                     WHERE t.user_id = ?1 AND t.session_id = ?2 AND t.state = 'running'",
                )?
                .query_row(params![user.as_bytes(), session], |row| {
                    row.get::<_, Option<i64>>(0)
                })
                .optional()?;
            Ok(first.flatten().and_then(|seq| u64::try_from(seq).ok()))
        })
        .await
    }
}

pub(super) fn append(
    transaction: &Transaction<'_>,
    user: UserId,
    session: &str,
    turn_id: Option<i64>,
    bodies: Vec<String>,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let count = i64::try_from(bodies.len()).unwrap_or(i64::MAX);
    let first: i64 = transaction
        .prepare_cached(
            "UPDATE sessions SET next_seq = next_seq + ?3, updated_ms = ?4
             WHERE user_id = ?1 AND id = ?2 RETURNING next_seq - ?3",
        )?
        .query_row(
            params![user.as_bytes(), session, count, clock::unix_ms()],
            |row| row.get(0),
        )?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO events (user_id, session_id, seq, turn_id, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut events = Vec::with_capacity(bodies.len());
    for (seq, body) in (first..).zip(bodies) {
        insert.execute(params![user.as_bytes(), session, seq, turn_id, body])?;
        let seq = u64::try_from(seq).unwrap_or(0);
        events.push(LoggedEvent { seq, turn_id, body });
    }
    let last = events.last().map_or(0, |event| event.seq);
    let first = u64::try_from(first).unwrap_or(0);
    if last / TRIM_EVERY > first.saturating_sub(1) / TRIM_EVERY && last > MAX_EVENTS_PER_SESSION {
        let oldest = i64::try_from(last - MAX_EVENTS_PER_SESSION).unwrap_or(0);
        transaction
            .prepare_cached(
                "DELETE FROM events WHERE user_id = ?1 AND session_id = ?2 AND seq <= ?3",
            )?
            .execute(params![user.as_bytes(), session, oldest])?;
    }
    Ok(events)
}
