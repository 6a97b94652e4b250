//! What a model is told of a session's earlier turns: the newest summary and the messages after it.

use homing_certs::UserId;
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::clock;

/// Bytes of messages that are read for one turn: more than any model's context holds.
const MAX_BYTES: usize = 4 << 20;

/// A session's past, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// What came before the messages.
    pub summary: Option<Summary>,
    /// The newest messages after the summary.
    pub messages: Vec<PastMessage>,
    /// Whether there are older ones after the summary that are not among them.
    pub more: bool,
}

/// A part of a session, told shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The last turn that it tells of.
    pub turn_id: i64,
    /// Text.
    pub text: String,
    /// Label of the model that wrote it.
    pub model: String,
}

/// A message of an earlier turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastMessage {
    /// Of which turn.
    pub turn_id: i64,
    /// Whether the assistant said it.
    pub by_assistant: bool,
    /// What was said.
    pub text: String,
    /// JSON array of its attachments.
    pub attachments: String,
}

impl Store {
    /// What was said before a turn: the newest summary, and at most `limit` messages after it, turn
    /// by turn.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn past(
        &self,
        user: UserId,
        session: String,
        before_turn: i64,
        limit: usize,
    ) -> Result<Past, StoreError> {
        self.read(move |connection| {
            let summary = connection
                .prepare_cached(
                    "SELECT turn_id, text, model FROM summaries
                     WHERE user_id = ?1 AND session_id = ?2 AND turn_id < ?3",
                )?
                .query_row(params![user.as_bytes(), session, before_turn], |row| {
                    Ok(Summary {
                        turn_id: row.get(0)?,
                        text: row.get(1)?,
                        model: row.get(2)?,
                    })
                })
                .optional()?;
            let after = summary.as_ref().map_or(-1, |summary| summary.turn_id);
            // By turns: a message may be taken before the answer to an earlier one is stored.
            let mut statement = connection.prepare_cached(
                "SELECT turn_id, role, text, attachments FROM messages
                 WHERE user_id = ?1 AND session_id = ?2 AND turn_id > ?3 AND turn_id < ?4
                 ORDER BY turn_id DESC, id DESC LIMIT ?5",
            )?;
            let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
            let rows = statement.query_map(
                params![user.as_bytes(), session, after, before_turn, wanted],
                |row| {
                    Ok(PastMessage {
                        turn_id: row.get(0)?,
                        by_assistant: row.get::<_, String>(1)? == "assistant",
                        text: row.get(2)?,
                        attachments: row.get(3)?,
                    })
                },
            )?;
            let (mut messages, mut bytes, mut more) = (Vec::new(), 0, false);
            for row in rows {
                let message: PastMessage = row?;
                bytes += message.text.len() + message.attachments.len();
                more = messages.len() == limit || bytes > MAX_BYTES;
                if more {
                    break;
                }
                messages.push(message);
            }
            messages.reverse();
            Ok(Past {
                summary,
                messages,
                more,
            })
        })
        .await
    }

    /// Keeps a summary in place of an older one of the session. Nothing happens when there is one of
    /// a later turn, or when what it tells of was forgotten meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_summary(
        &self,
        user: UserId,
        session: String,
        summary: Summary,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO summaries (user_id, session_id, turn_id, text, model, created_ms)
                     SELECT user_id, id, ?3, ?4, ?5, ?6 FROM sessions
                     WHERE user_id = ?1 AND id = ?2 AND EXISTS (
                       SELECT 1 FROM messages
                       WHERE user_id = ?1 AND session_id = ?2 AND turn_id = ?3)
                     ON CONFLICT (user_id, session_id) DO UPDATE SET
                       turn_id = excluded.turn_id, text = excluded.text, model = excluded.model,
                       created_ms = excluded.created_ms
                     WHERE excluded.turn_id >= summaries.turn_id",
                )?
                .execute(params![
                    user.as_bytes(),
                    session,
                    summary.turn_id,
                    summary.text,
                    summary.model,
                    clock::unix_ms()
                ])?;
            Ok(())
        })
        .await
    }
}
