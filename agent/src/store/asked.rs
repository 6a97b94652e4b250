//! Sessions that a program asked for and that end with one answer: what it told of earlier, and their end.

use homing_certs::{NodeId, UserId};
use rusqlite::params;

use super::{Store, StoreError, sessions};
use crate::clock;

/// A session for one answer.
#[derive(Debug, Clone)]
pub struct AskedOnce {
    /// Whose.
    pub user: UserId,
    /// Its id; nobody else has used it.
    pub session: String,
    /// The device that asks.
    pub device: NodeId,
    /// What was said before, oldest first: whether the assistant said it, and the text.
    pub history: Vec<(bool, String)>,
}

impl Store {
    /// Makes a session for one answer, with what was said before. False when there is one of its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_once(&self, asked: AskedOnce) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let known = transaction
                .prepare_cached("SELECT 1 FROM sessions WHERE user_id = ?1 AND id = ?2")?
                .exists(params![asked.user.as_bytes(), asked.session])?;
            if known {
                return Ok(false);
            }
            sessions::ensure(transaction, asked.user, &asked.session)?;
            transaction
                .prepare_cached("INSERT INTO sessions_once (user_id, session_id) VALUES (?1, ?2)")?
                .execute(params![asked.user.as_bytes(), asked.session])?;
            // Turn 0 comes before every turn, so all of it is the context of the first one.
            let mut insert = transaction.prepare_cached(
                "INSERT INTO messages (user_id, session_id, turn_id, device, role, text, created_ms)
                 VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6)",
            )?;
            for (by_assistant, text) in &asked.history {
                let role = if *by_assistant { "assistant" } else { "user" };
                insert.execute(params![
                    asked.user.as_bytes(),
                    asked.session,
                    asked.device.as_bytes(),
                    role,
                    text,
                    clock::unix_ms()
                ])?;
            }
            Ok(true)
        })
        .await
    }

    /// Removes a session that was for one answer, with everything in it. False for any other.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_once(&self, user: UserId, session: String) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let removed = transaction
                .prepare_cached(
                    "DELETE FROM sessions WHERE user_id = ?1 AND id = ?2 AND EXISTS
                       (SELECT 1 FROM sessions_once WHERE user_id = ?1 AND session_id = ?2)",
                )?
                .execute(params![user.as_bytes(), session])?;
            Ok(removed > 0)
        })
        .await
    }

    /// Removes all sessions that were for one answer: those that an earlier process left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_asked_once(&self) -> Result<usize, StoreError> {
        self.write(|transaction| {
            Ok(transaction.execute(
                "DELETE FROM sessions WHERE (user_id, id) IN
                   (SELECT user_id, session_id FROM sessions_once)",
                [],
            )?)
        })
        .await
    }
}
