//! Messages and the turns that answer them.

use homing_certs::{NodeId, UserId};
use rusqlite::{OptionalExtension, Transaction, params};

use super::approvals::{self, Resolution, ResolvedBody};
use super::events::{self, LoggedEvent};
use super::{Store, StoreError};
use crate::clock;

/// A message of a person, about to be accepted.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Whose session.
    pub user: UserId,
    /// Which session.
    pub session: String,
    /// The device that sent it.
    pub device: NodeId,
    /// Who speaks, as JSON: the turn runs with these rights, also after a restart.
    pub speaker: String,
    /// What was said.
    pub text: String,
    /// JSON array of attachments.
    pub attachments: String,
    /// The client's own id, by which a repeated message is known.
    pub client_msg_id: Option<String>,
    /// Whether its turn starts at once.
    pub starts: bool,
    /// Bodies of the events that announce it.
    pub events: Vec<String>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is new: the turn that will answer it, and its events.
    New {
        /// Id of the turn.
        turn_id: i64,
        /// With their numbers.
        events: Vec<LoggedEvent>,
    },
    /// The same client sent it before.
    Duplicate,
}

/// Where a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnState {
    /// Waits for another turn.
    Queued,
    /// Runs.
    Running,
    /// Answered.
    Done,
    /// Ended with an error.
    Failed,
    /// Interrupted, or removed before it ran.
    Cancelled,
}

/// An unfinished turn that was found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingTurn {
    /// Its id.
    pub turn_id: i64,
    /// Whose.
    pub user: UserId,
    /// In which session.
    pub session: String,
    /// On whose behalf.
    pub device: NodeId,
    /// Who spoke, as JSON.
    pub speaker: String,
    /// What was said.
    pub text: String,
    /// JSON array of the message's attachments.
    pub attachments: String,
    /// Whether it had begun.
    pub running: bool,
    /// Its machine as JSON, if it can go on after a restart.
    pub checkpoint: Option<String>,
}

/// What the assistant said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Text; may be empty when there are attachments.
    pub text: String,
    /// JSON array of attachments.
    pub attachments: String,
}

/// How a turn ends.
#[derive(Debug)]
pub struct EndOfTurn {
    /// Its last state.
    pub state: TurnState,
    /// The answer, if there is one.
    pub answer: Option<StoredAnswer>,
    /// Bodies of the last events.
    pub bodies: Vec<String>,
    /// What becomes of approvals that are still open.
    pub open_approvals: Resolution,
    /// How the log tells it.
    pub resolved: ResolvedBody,
}

impl Store {
    /// Stores a message, its turn and the events that announce it, in one transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accept_message(
        &self,
        message: NewMessage,
        published: impl FnOnce(&[LoggedEvent]) + Send + 'static,
    ) -> Result<Accepted, StoreError> {
        self.write_then(
            move |transaction| accept(transaction, message),
            move |accepted| {
                if let Accepted::New { events, .. } = accepted {
                    published(events);
                }
            },
        )
        .await
    }

    /// Moves a queued turn to running.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start_turn(&self, user: UserId, turn_id: i64) -> Result<(), StoreError> {
        self.write(move |transaction| set_state(transaction, user, turn_id, TurnState::Running))
            .await
    }

    /// Puts the machine of a running turn on the disk, or takes it away.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_turn(
        &self,
        user: UserId,
        turn_id: i64,
        checkpoint: Option<String>,
    ) -> Result<(), StoreError> {
        self.write_durably(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE turns SET checkpoint = ?3
                     WHERE id = ?1 AND user_id = ?2 AND state = 'running'",
                )?
                .execute(params![turn_id, user.as_bytes(), checkpoint])?;
            Ok(())
        })
        .await
    }

    /// Ends a turn: its state, the answer if there is one, approvals that are still open, and the
    /// last events, in one transaction. Gives the ids of those approvals.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_turn(
        &self,
        turn: PendingTurn,
        end: EndOfTurn,
        published: impl FnOnce(&[LoggedEvent]) + Send + 'static,
    ) -> Result<Vec<i64>, StoreError> {
        let change = move |transaction: &Transaction<'_>| {
            set_state(transaction, turn.user, turn.turn_id, end.state)?;
            let (closed, mut events) = approvals::close_turn(
                transaction,
                turn.user,
                turn.turn_id,
                &end.open_approvals,
                end.resolved,
            )?;
            if let Some(answer) = end.answer {
                insert_message(
                    transaction,
                    &turn,
                    Row {
                        role: "assistant",
                        text: &answer.text,
                        attachments: &answer.attachments,
                        client_msg_id: None,
                    },
                )?;
            }
            events.extend(events::append(
                transaction,
                turn.user,
                &turn.session,
                Some(turn.turn_id),
                end.bodies,
            )?);
            Ok((closed, events))
        };
        let after = move |(_, events): &(Vec<i64>, Vec<LoggedEvent>)| published(events);
        let (closed, _) = self.write_then(change, after).await?;
        Ok(closed)
    }

    /// Turns that an earlier process left unfinished, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished_turns(&self) -> Result<Vec<PendingTurn>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT t.id, t.user_id, t.session_id, t.device, t.speaker, t.state, m.text,
                        t.checkpoint, m.attachments
                 FROM turns t JOIN messages m ON m.turn_id = t.id AND m.role = 'user'
                 WHERE t.state IN ('queued', 'running') ORDER BY t.id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(PendingTurn {
                    turn_id: row.get(0)?,
                    user: UserId::from(row.get::<_, [u8; 16]>(1)?),
                    session: row.get(2)?,
                    device: NodeId::from(row.get::<_, [u8; 32]>(3)?),
                    speaker: row.get(4)?,
                    running: row.get::<_, String>(5)? == "running",
                    text: row.get(6)?,
                    checkpoint: row.get(7)?,
                    attachments: row.get(8)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Forgets a session's messages and events. Its numbers go on. False when there is no such session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear_session(
        &self,
        user: UserId,
        session: String,
        cleared: String,
        published: impl FnOnce(&[LoggedEvent]) + Send + 'static,
    ) -> Result<bool, StoreError> {
        let change = move |transaction: &Transaction<'_>| {
            let known = transaction
                .prepare_cached("SELECT 1 FROM sessions WHERE user_id = ?1 AND id = ?2")?
                .query_row(params![user.as_bytes(), session], |_| Ok(()))
                .optional()?;
            if known.is_none() {
                return Ok(None);
            }
            for sql in [
                "DELETE FROM events WHERE user_id = ?1 AND session_id = ?2",
                "DELETE FROM summaries WHERE user_id = ?1 AND session_id = ?2",
                // A message whose turn still waits must survive, or the turn would have no question.
                "DELETE FROM messages WHERE user_id = ?1 AND session_id = ?2 AND turn_id NOT IN
                   (SELECT id FROM turns WHERE user_id = ?1 AND session_id = ?2
                    AND state IN ('queued', 'running'))",
            ] {
                transaction
                    .prepare_cached(sql)?
                    .execute(params![user.as_bytes(), session])?;
            }
            events::append(transaction, user, &session, None, vec![cleared]).map(Some)
        };
        let after = move |events: &Option<Vec<LoggedEvent>>| {
            if let Some(events) = events {
                published(events);
            }
        };
        Ok(self.write_then(change, after).await?.is_some())
    }
}

struct Row<'a> {
    role: &'a str,
    text: &'a str,
    attachments: &'a str,
    client_msg_id: Option<&'a str>,
}

fn accept(transaction: &Transaction<'_>, message: NewMessage) -> Result<Accepted, StoreError> {
    let NewMessage {
        user,
        session,
        device,
        ..
    } = &message;
    if let Some(id) = &message.client_msg_id {
        let known = transaction
            .prepare_cached(
                "SELECT 1 FROM messages WHERE user_id = ?1 AND session_id = ?2 AND device = ?3
                 AND client_msg_id = ?4",
            )?
            .query_row(
                params![user.as_bytes(), session, device.as_bytes(), id],
                |_| Ok(()),
            )
            .optional()?;
        if known.is_some() {
            return Ok(Accepted::Duplicate);
        }
    }
    super::sessions::ensure(transaction, *user, session)?;
    let state = if message.starts { "running" } else { "queued" };
    let turn_id: i64 = transaction
        .prepare_cached(
            "INSERT INTO turns (user_id, session_id, device, speaker, state, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        )?
        .query_row(
            params![
                user.as_bytes(),
                session,
                device.as_bytes(),
                message.speaker,
                state,
                clock::unix_ms()
            ],
            |row| row.get(0),
        )?;
    let turn = PendingTurn {
        turn_id,
        user: *user,
        session: session.clone(),
        device: *device,
        speaker: message.speaker,
        text: message.text,
        attachments: message.attachments,
        running: message.starts,
        checkpoint: None,
    };
    insert_message(
        transaction,
        &turn,
        Row {
            role: "user",
            text: &turn.text,
            attachments: &turn.attachments,
            client_msg_id: message.client_msg_id.as_deref(),
        },
    )?;
    let events = events::append(
        transaction,
        turn.user,
        &turn.session,
        Some(turn_id),
        message.events,
    )?;
    Ok(Accepted::New { turn_id, events })
}

fn insert_message(
    transaction: &Transaction<'_>,
    turn: &PendingTurn,
    row: Row<'_>,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO messages
               (user_id, session_id, turn_id, device, role, text, attachments, client_msg_id, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            turn.user.as_bytes(),
            turn.session,
            turn.turn_id,
            turn.device.as_bytes(),
            row.role,
            row.text,
            row.attachments,
            row.client_msg_id,
            clock::unix_ms()
        ])?;
    Ok(())
}

fn set_state(
    transaction: &Transaction<'_>,
    user: UserId,
    turn_id: i64,
    state: TurnState,
) -> Result<(), StoreError> {
    let (text, finished) = match state {
        TurnState::Queued => ("queued", None),
        TurnState::Running => ("running", None),
        TurnState::Done => ("done", Some(clock::unix_ms())),
        TurnState::Failed => ("failed", Some(clock::unix_ms())),
        TurnState::Cancelled => ("cancelled", Some(clock::unix_ms())),
    };
    transaction
        .prepare_cached(
            "UPDATE turns SET state = ?3, finished_ms = ?4, checkpoint = NULL
             WHERE id = ?1 AND user_id = ?2",
        )?
        .execute(params![turn_id, user.as_bytes(), text, finished])?;
    Ok(())
}
