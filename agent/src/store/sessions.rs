//! Rows of sessions: who owns them and the number of their next event.

use homing_certs::UserId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Store, StoreError};
use crate::clock;

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// First use, Unix milliseconds.
    pub created_ms: i64,
    /// Last use, Unix milliseconds.
    pub updated_ms: i64,
    /// Number of messages.
    pub messages: i64,
    /// Number of its newest event, 0 for none.
    pub last_seq: u64,
}

impl Store {
    /// A page of the user's sessions in the order of their ids, after `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions(
        &self,
        user: UserId,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<SessionRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, created_ms, updated_ms, next_seq - 1,
                        (SELECT count(*) FROM messages m WHERE m.user_id = s.user_id AND m.session_id = s.id)
                 FROM sessions s WHERE user_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(
                params![user.as_bytes(), after.unwrap_or_default(), limit],
                |row| {
                    Ok(SessionRow {
                        id: row.get(0)?,
                        created_ms: row.get(1)?,
                        updated_ms: row.get(2)?,
                        last_seq: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
                        messages: row.get(4)?,
                    })
                },
            )?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Whether the user has a session of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_exists(&self, user: UserId, id: String) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT 1 FROM sessions WHERE user_id = ?1 AND id = ?2")?
                .query_row(params![user.as_bytes(), id], |_| Ok(()))
                .optional()?;
            Ok(found.is_some())
        })
        .await
    }

    /// Number of the session's newest event, 0 for none or an unknown session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_seq(&self, user: UserId, id: String) -> Result<u64, StoreError> {
        self.read(move |connection| {
            let next = connection
                .prepare_cached("SELECT next_seq FROM sessions WHERE user_id = ?1 AND id = ?2")?
                .query_row(params![user.as_bytes(), id], |row| row.get::<_, i64>(0))
                .optional()?;
            Ok(next
                .and_then(|next| u64::try_from(next - 1).ok())
                .unwrap_or(0))
        })
        .await
    }
}

pub(super) fn ensure(
    transaction: &Transaction<'_>,
    user: UserId,
    id: &str,
) -> Result<(), StoreError> {
    let now = clock::unix_ms();
    transaction
        .prepare_cached(
            "INSERT INTO sessions (user_id, id, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO UPDATE SET updated_ms = excluded.updated_ms",
        )?
        .execute(params![user.as_bytes(), id, now])?;
    Ok(())
}
