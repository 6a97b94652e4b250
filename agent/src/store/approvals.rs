//! Approvals: the statements that let each be asked, answered and used once.

mod row;

use homing_certs::{NodeId, UserId};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::events::{self, LoggedEvent};
use super::{Durability, Store, StoreError};

pub use row::{AnsweredBy, ApprovalRow, ApprovalState, NewApproval};

/// Approvals of one user that may wait at once: more than anybody reads.
pub const MAX_PENDING: usize = 100;
/// Approvals of one user that are kept when they are over.
const KEPT: i64 = 1_000;

const COLUMNS: &str = "id, user_id, session_id, turn_id, device, handle, tool, summary, arguments, \
    bound, hash, state, reason, answered_device, answered_handle, answered_ms, created_ms, \
    expires_ms, used_ms";

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is new.
    New {
        /// Its id.
        id: i64,
        /// The event that announces it.
        events: Vec<LoggedEvent>,
    },
    /// The same question of the same turn waits already.
    Known(i64),
    /// [`MAX_PENDING`] of this user wait.
    TooMany,
}

/// What is written when an approval ends, by whom or why.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The new state.
    pub state: ApprovalState,
    /// Who answered; `None` when nobody did.
    pub answered: Option<AnsweredBy>,
    /// Why nobody's answer ended it.
    pub reason: &'static str,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// The end of an approval as its session's log tells it.
pub type ResolvedBody = fn(&ApprovalRow) -> String;

impl Store {
    /// Asks, with the event that announces it, in one transaction that is on the disk when this returns.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_approval(
        &self,
        new: NewApproval,
        body: impl FnOnce(i64) -> String + Send + 'static,
        published: impl FnOnce(&[LoggedEvent]) + Send + 'static,
    ) -> Result<Asked, StoreError> {
        let change = move |transaction: &Transaction<'_>| ask(transaction, new, body);
        let after = move |asked: &Asked| {
            if let Asked::New { events, .. } = asked {
                published(events);
            }
        };
        self.writer.run(Durability::Disk, change, after).await
    }

    /// One approval; `owner` leaves out those of other users.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn approval(
        &self,
        owner: Option<UserId>,
        id: i64,
    ) -> Result<Option<ApprovalRow>, StoreError> {
        self.read(move |connection| find(connection, owner, id))
            .await
    }

    /// A page of approvals, newest first, with ids below `before`; `owner` leaves out those of others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn approvals(
        &self,
        owner: Option<UserId>,
        state: Option<ApprovalState>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ApprovalRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM approvals
                 WHERE (?1 IS NULL OR user_id = ?1) AND (?2 IS NULL OR state = ?2) AND id < ?3
                 ORDER BY id DESC LIMIT ?4"
            ))?;
            let owner = owner.map(|user| user.as_bytes().to_vec());
            let state = state.map(ApprovalState::as_str);
            let before = before.unwrap_or(i64::MAX);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![owner, state, before, limit], read_row)?;
            rows.map(|row| row?).collect()
        })
        .await
    }

    /// Ends an approval that is still pending; the first one wins. Gives how it stands afterwards and
    /// whether this did it. `None` when there is none for this owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resolve_approval(
        &self,
        owner: Option<UserId>,
        id: i64,
        resolution: Resolution,
        body: ResolvedBody,
        published: impl FnOnce(&[LoggedEvent]) + Send + 'static,
    ) -> Result<Option<(ApprovalRow, bool)>, StoreError> {
        let change = move |transaction: &Transaction<'_>| {
            let done = resolve(transaction, owner, id, &resolution)?;
            let Some(row) = find(transaction, owner, id)? else {
                return Ok(None);
            };
            let events = match done {
                true => log_end(transaction, &row, body)?,
                false => vec![],
            };
            Ok(Some((row, done, events)))
        };
        let after = move |outcome: &Option<(ApprovalRow, bool, Vec<LoggedEvent>)>| {
            if let Some((_, true, events)) = outcome {
                published(events);
            }
        };
        let outcome = self.writer.run(Durability::Disk, change, after).await?;
        Ok(outcome.map(|(row, done, _)| (row, done)))
    }

    /// Uses up an approval: only once, only while its turn runs, only for what was approved, and only
    /// if it was answered after `answered_after_ms`. On the disk when this returns.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_approval(
        &self,
        user: UserId,
        turn_id: i64,
        id: i64,
        hash: [u8; 32],
        now_ms: i64,
        answered_after_ms: i64,
    ) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE approvals SET state = 'used', used_ms = ?5
                     WHERE id = ?1 AND user_id = ?2 AND turn_id = ?3 AND hash = ?4
                       AND state = 'approved' AND answered_ms > ?6
                       AND EXISTS (SELECT 1 FROM turns WHERE id = ?3 AND user_id = ?2
                                   AND state = 'running')",
                )?
                .execute(params![
                    id,
                    user.as_bytes(),
                    turn_id,
                    hash,
                    now_ms,
                    answered_after_ms
                ])?;
            Ok(changed == 1)
        })
        .await
    }
}

/// Ends what is open of a turn that ends: what nobody answered is denied, what nobody used expires.
pub(super) fn close_turn(
    transaction: &Transaction<'_>,
    user: UserId,
    turn_id: i64,
    resolution: &Resolution,
    body: ResolvedBody,
) -> Result<(Vec<i64>, Vec<LoggedEvent>), StoreError> {
    let open: Vec<i64> = transaction
        .prepare_cached(
            "SELECT id FROM approvals
             WHERE turn_id = ?1 AND user_id = ?2 AND state IN ('pending', 'approved') ORDER BY id",
        )?
        .query_map(params![turn_id, user.as_bytes()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let (mut closed, mut events) = (vec![], vec![]);
    for id in open {
        if resolve(transaction, Some(user), id, resolution)? {
            if let Some(row) = find(transaction, Some(user), id)? {
                events.extend(log_end(transaction, &row, body)?);
            }
            closed.push(id);
        } else {
            transaction
                .prepare_cached(
                    "UPDATE approvals SET state = 'expired', reason = ?2
                     WHERE id = ?1 AND state = 'approved'",
                )?
                .execute(params![id, resolution.reason])?;
        }
    }
    Ok((closed, events))
}

fn ask(
    transaction: &Transaction<'_>,
    new: NewApproval,
    body: impl FnOnce(i64) -> String,
) -> Result<Asked, StoreError> {
    let user = new.user.as_bytes();
    let known: Option<i64> = transaction
        .prepare_cached(
            "SELECT id FROM approvals WHERE turn_id = ?1 AND user_id = ?2 AND call_id = ?3
             AND hash = ?4 AND state = 'pending'",
        )?
        .query_row(params![new.turn_id, user, new.call_id, new.hash], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(id) = known {
        return Ok(Asked::Known(id));
    }
    let waiting: i64 = transaction
        .prepare_cached("SELECT count(*) FROM approvals WHERE user_id = ?1 AND state = 'pending'")?
        .query_row([user], |row| row.get(0))?;
    if usize::try_from(waiting).unwrap_or(usize::MAX) >= MAX_PENDING {
        return Ok(Asked::TooMany);
    }
    let id: i64 = transaction
        .prepare_cached(
            "INSERT INTO approvals
               (user_id, session_id, turn_id, call_id, device, handle, tool, summary, arguments,
                bound, hash, state, created_ms, expires_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'pending', ?12, ?13)
             RETURNING id",
        )?
        .query_row(
            params![
                user,
                new.session,
                new.turn_id,
                new.call_id,
                new.device.as_bytes(),
                new.handle,
                new.tool,
                new.summary,
                new.arguments,
                new.bound,
                new.hash,
                new.created_ms,
                new.expires_ms
            ],
            |row| row.get(0),
        )?;
    transaction
        .prepare_cached(
            "DELETE FROM approvals WHERE user_id = ?1 AND state NOT IN ('pending', 'approved')
             AND id <= (SELECT id FROM approvals WHERE user_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![user, KEPT])?;
    let bodies = vec![body(id)];
    let events = events::append(
        transaction,
        new.user,
        &new.session,
        Some(new.turn_id),
        bodies,
    )?;
    Ok(Asked::New { id, events })
}

/// The one statement that decides who was first. An answer after the time counts as none.
fn resolve(
    transaction: &Transaction<'_>,
    owner: Option<UserId>,
    id: i64,
    resolution: &Resolution,
) -> Result<bool, StoreError> {
    let answered = resolution.answered.as_ref();
    let changed = transaction
        .prepare_cached(
            "UPDATE approvals SET state = ?3, reason = ?4, answered_device = ?5,
               answered_handle = ?6, answered_ms = ?7
             WHERE id = ?1 AND (?2 IS NULL OR user_id = ?2) AND state = 'pending'
               AND (?5 IS NULL OR expires_ms > ?8)",
        )?
        .execute(params![
            id,
            owner.map(|user| user.as_bytes().to_vec()),
            resolution.state.as_str(),
            resolution.reason,
            answered.map(|by| by.device.as_bytes().to_vec()),
            answered.map(|by| by.handle.clone()),
            answered.map(|by| by.at_ms),
            resolution.now_ms
        ])?;
    Ok(changed == 1)
}

fn log_end(
    transaction: &Transaction<'_>,
    row: &ApprovalRow,
    body: ResolvedBody,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let bodies = vec![body(row)];
    events::append(
        transaction,
        row.user,
        &row.session,
        Some(row.turn_id),
        bodies,
    )
}

fn find(
    connection: &rusqlite::Connection,
    owner: Option<UserId>,
    id: i64,
) -> Result<Option<ApprovalRow>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM approvals WHERE id = ?1 AND (?2 IS NULL OR user_id = ?2)"
    ))?;
    let owner = owner.map(|user| user.as_bytes().to_vec());
    let found = statement
        .query_row(params![id, owner], read_row)
        .optional()?;
    found.transpose()
}

/// The outer error is SQLite's, the inner one is about a value that this version does not write.
fn read_row(row: &Row<'_>) -> rusqlite::Result<Result<ApprovalRow, StoreError>> {
    let state: String = row.get(11)?;
    let Some(state) = ApprovalState::parse(&state) else {
        return Ok(Err(StoreError::Value(format!("approval state {state}"))));
    };
    let device: Option<[u8; 32]> = row.get(13)?;
    let handle: Option<String> = row.get(14)?;
    let at_ms: Option<i64> = row.get(15)?;
    let answered = match (device, handle, at_ms) {
        (Some(device), Some(handle), Some(at_ms)) => Some(AnsweredBy {
            device: NodeId::from(device),
            handle,
            at_ms,
        }),
        _ => None,
    };
    Ok(Ok(ApprovalRow {
        id: row.get(0)?,
        user: UserId::from(row.get::<_, [u8; 16]>(1)?),
        session: row.get(2)?,
        turn_id: row.get(3)?,
        device: NodeId::from(row.get::<_, [u8; 32]>(4)?),
        handle: row.get(5)?,
        tool: row.get(6)?,
        summary: row.get(7)?,
        arguments: row.get(8)?,
        bound: row.get(9)?,
        hash: row.get(10)?,
        state,
        reason: row.get(12)?,
        answered,
        created_ms: row.get(16)?,
        expires_ms: row.get(17)?,
        used_ms: row.get(18)?,
    }))
}
