//! Approvals: a person is asked before something is done, and the answer is good once, for exactly that.
//!
//! Owns the questions, their answers and their end. An approval lies in the database before anybody
//! is asked, so it outlives the process and every device sees the same one. The first answer wins;
//! nothing answers by itself; no answer in time is a no. Knows nothing of HTTP, and does not decide
//! what needs an approval: that is `policy`'s.

mod binding;
mod ending;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homing_certs::{NodeId, UserId};
use serde_json::Value;
use tokio::sync::Notify;

pub use binding::{canonical, digest};
pub use ending::{Outcome, cancelled, resolved_body};

use ending::outcome_of;

use crate::audit::{Audit, AuditError, Decision, Entry, Kind};
use crate::clock;
use crate::feed::Others;
use crate::sessions::{Logs, SessionEvent, SessionKey, Speaker};
use crate::store::{
    AnsweredBy, ApprovalRow, ApprovalState, Asked, MAX_PENDING, NewApproval, Resolution, Store,
    StoreError,
};
use crate::turn::ToolCall;

/// Longest arguments that a person can be asked about, in bytes of JSON: nobody reads more.
pub const MAX_ARGUMENTS: usize = 32 << 10;
/// How long after the answer an approval may be used. Only a restart comes between the two.
const USE_WITHIN: Duration = Duration::from_secs(60 * 60);
/// How often a wait looks at the wall clock, which may jump.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Why an approval could not be asked for, answered or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// The arguments are too long to be read.
    #[error(
        "its arguments are longer than the {MAX_ARGUMENTS} bytes that a person can be asked about"
    )]
    TooLong,
    /// Too many wait.
    #[error("{MAX_PENDING} approvals of this user are waiting already")]
    TooMany,
    /// There is none of this id for whoever asks.
    #[error("there is no such approval")]
    NotFound,
    /// Somebody was faster, or it ended by itself.
    #[error("the approval is over")]
    Over(Box<ApprovalRow>),
    /// What is about to run is not what was approved, or it was used already.
    #[error(
        "the approval does not cover this any more: it was used, or the call, the program or the folder has changed"
    )]
    NotCovered,
    /// The line about it could not be written.
    #[error("the audit log cannot be written, so nothing may be done")]
    Audit(#[source] AuditError),
    /// The database failed.
    #[error("the approval could not be read or written")]
    Store(#[from] StoreError),
}

/// In whose name and where a call is made.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The device that asked.
    pub speaker: Arc<Speaker>,
    /// In which session.
    pub session: String,
    /// In which turn.
    pub turn_id: i64,
}

/// Who answers.
#[derive(Debug, Clone)]
pub struct Answerer {
    /// The device.
    pub device: NodeId,
    /// Its user's handle.
    pub handle: String,
    /// `direct` or `relay`.
    pub path: &'static str,
    /// Whose approvals it may answer; `None` for everybody's.
    pub owner: Option<UserId>,
}

/// A cloneable handle to all approvals.
#[derive(Debug, Clone)]
pub struct Approvals {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    logs: Logs,
    audit: Audit,
    /// Of a question, in milliseconds.
    lifetime: AtomicI64,
    /// One turn waits for each; it is woken when its approval ends.
    waiting: Mutex<HashMap<i64, Arc<Notify>>>,
}

impl Approvals {
    /// With the time that a question waits for its answer.
    #[must_use]
    pub fn new(store: Store, logs: Logs, audit: Audit, lifetime: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                logs,
                audit,
                lifetime: AtomicI64::new(milliseconds(lifetime)),
                waiting: Mutex::default(),
            }),
        }
    }

    /// From now on questions wait so long. Those that were asked keep their time.
    pub fn change(&self, lifetime: Duration) {
        let lifetime = milliseconds(lifetime);
        self.inner.lifetime.store(lifetime, Ordering::Relaxed);
    }

    /// The logs in which approvals show.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.inner.logs
    }

    /// Asks. On the disk, in the session's log and in the audit log when this returns. The same
    /// question of the same turn is asked once.
    ///
    /// # Errors
    /// When it is refused or cannot be stored; nobody is asked then.
    pub async fn ask(
        &self,
        origin: &Origin,
        call: &ToolCall,
        summary: String,
        bound: Value,
    ) -> Result<i64, ApprovalError> {
        let arguments = canonical(&call.arguments);
        let bound_text = canonical(&bound);
        if arguments.len() + bound_text.len() > MAX_ARGUMENTS {
            return Err(ApprovalError::TooLong);
        }
        let speaker = &origin.speaker;
        let now = clock::unix_ms();
        let lifetime = self.inner.lifetime.load(Ordering::Relaxed);
        let expires_ms = now.saturating_add(lifetime);
        let hash = digest(&call.name, &arguments, &bound_text);
        let entry = Entry::new(Kind::Approval)
            .by(speaker.node_id, &speaker.handle, &speaker.path)
            .call("ask", &call.name)
            .detail("turn", origin.turn_id)
            .detail("sha256", hex(&hash));
        let recorded = self.inner.audit.record(entry).await;
        recorded.map_err(ApprovalError::Audit)?;
        let new = NewApproval {
            user: speaker.user_id,
            session: origin.session.clone(),
            turn_id: origin.turn_id,
            call_id: call.id.clone(),
            device: speaker.node_id,
            handle: speaker.handle.clone(),
            tool: call.name.clone(),
            summary: summary.clone(),
            arguments,
            bound: bound_text,
            hash,
            created_ms: now,
            expires_ms,
        };
        let event = SessionEvent::ApprovalRequired {
            id: 0,
            tool: call.name.clone(),
            arguments: call.arguments.clone(),
            bound,
            summary,
            expires_at: expires_ms / 1_000,
        };
        let body = move |id| event.of_approval(id).body();
        let log = self.log(speaker.user_id, &origin.session).await?;
        let published = move |events: &[_]| log.publish(events);
        match self.inner.store.ask_approval(new, body, published).await? {
            Asked::New { id, .. } => {
                self.publish(speaker.user_id, "created", id);
                Ok(id)
            }
            Asked::Known(id) => Ok(id),
            Asked::TooMany => Err(ApprovalError::TooMany),
        }
    }

    /// Answers. The first one wins, on all devices.
    ///
    /// # Errors
    /// [`ApprovalError::NotFound`], [`ApprovalError::Over`] with how it ended, or when it cannot be
    /// written.
    pub async fn answer(
        &self,
        by: &Answerer,
        id: i64,
        approve: bool,
    ) -> Result<ApprovalRow, ApprovalError> {
        let store = &self.inner.store;
        let row = store.approval(by.owner, id).await?;
        let row = row.ok_or(ApprovalError::NotFound)?;
        if row.state != ApprovalState::Pending {
            return Err(ApprovalError::Over(Box::new(row)));
        }
        let (method, decision, state) = match approve {
            true => ("approve", Decision::Allowed, ApprovalState::Approved),
            false => ("deny", Decision::Refused, ApprovalState::Denied),
        };
        let entry = Entry::new(Kind::Approval)
            .by(by.device, &by.handle, by.path)
            .call(method, &row.tool)
            .capability("exec.approve")
            .decision(decision)
            .detail("approval", id)
            .detail("sha256", hex(&row.hash));
        let recorded = self.inner.audit.record(entry).await;
        // A no is never refused for want of a line.
        if approve {
            recorded.map_err(ApprovalError::Audit)?;
        }
        let now_ms = clock::unix_ms();
        let resolution = Resolution {
            state,
            answered: Some(AnsweredBy {
                device: by.device,
                handle: by.handle.clone(),
                at_ms: now_ms,
            }),
            reason: "",
            now_ms,
        };
        let (mut row, counts) = self.resolve(&row, resolution).await?;
        if counts {
            return Ok(row);
        }
        if row.state == ApprovalState::Pending {
            row = self.expire(&row).await?;
        }
        // The line before said what was wanted; this one says that it came too late.
        let entry = Entry::new(Kind::Approval)
            .by(by.device, &by.handle, by.path)
            .call(method, &row.tool)
            .decision(Decision::Refused)
            .detail("approval", id)
            .detail("code", "already_answered");
        self.inner.audit.note(entry);
        Err(ApprovalError::Over(Box::new(row)))
    }

    /// Waits until an approval has an end. Dropping the future stops only the waiting.
    pub async fn outcome(&self, user: UserId, id: i64) -> Outcome {
        let waiting = Waiting::new(self.inner.clone(), id);
        loop {
            let row = match self.inner.store.approval(Some(user), id).await {
                Ok(Some(row)) => row,
                Ok(None) => return Outcome::Denied("the approval was forgotten".to_owned()),
                Err(error) => {
                    tracing::error!(%error, id, "an approval could not be read");
                    return Outcome::Denied("the approval could not be read".to_owned());
                }
            };
            if let Some(outcome) = outcome_of(&row) {
                return outcome;
            }
            let left = row.expires_ms.saturating_sub(clock::unix_ms());
            let Ok(left @ 1..) = u64::try_from(left) else {
                if let Err(error) = self.expire(&row).await {
                    tracing::error!(%error, id, "an approval could not be ended");
                    return Outcome::Denied("nobody answered in time".to_owned());
                }
                continue;
            };
            let pause = Duration::from_millis(left).min(LOOK_AGAIN);
            // Either way the row says what has happened.
            let _ = tokio::time::timeout(pause, waiting.woken.notified()).await;
        }
    }

    /// Uses up an approval, once and only for exactly what was approved. What it allows may run only
    /// after this; a line in the audit log says so.
    ///
    /// # Errors
    /// When it does not cover the call. What was used up stays used up also when this fails later.
    pub async fn claim(
        &self,
        origin: &Origin,
        id: i64,
        call: &ToolCall,
        bound: &Value,
    ) -> Result<(), ApprovalError> {
        let hash = digest(&call.name, &canonical(&call.arguments), &canonical(bound));
        let now = clock::unix_ms();
        let within = i64::try_from(USE_WITHIN.as_millis()).unwrap_or(i64::MAX);
        let speaker = &origin.speaker;
        let (user, turn_id) = (speaker.user_id, origin.turn_id);
        let store = &self.inner.store;
        let claimed = store.claim_approval(user, turn_id, id, hash, now, now - within);
        let claimed = claimed.await?;
        let entry = Entry::new(Kind::Approval)
            .by(speaker.node_id, &speaker.handle, &speaker.path)
            .call("use", &call.name)
            .decision(match claimed {
                true => Decision::Allowed,
                false => Decision::Refused,
            })
            .detail("approval", id)
            .detail("sha256", hex(&hash));
        let recorded = self.inner.audit.record(entry).await;
        recorded.map_err(ApprovalError::Audit)?;
        match claimed {
            true => {
                self.publish(user, "used", id);
                Ok(())
            }
            false => Err(ApprovalError::NotCovered),
        }
    }

    /// Denies what waits in a session. How many they were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_session(
        &self,
        user: UserId,
        session: &str,
        reason: &'static str,
    ) -> Result<usize, ApprovalError> {
        let pending = Some(ApprovalState::Pending);
        let rows = self.list(Some(user), pending, None, MAX_PENDING).await?;
        let mut count = 0;
        for row in rows.iter().filter(|row| row.session == session) {
            let (_, done) = self.resolve(row, cancelled(reason)).await?;
            count += usize::from(done);
        }
        Ok(count)
    }

    /// One approval.
    ///
    /// # Errors
    /// When there is none for this owner, or the database fails.
    pub async fn get(&self, owner: Option<UserId>, id: i64) -> Result<ApprovalRow, ApprovalError> {
        let row = self.inner.store.approval(owner, id).await?;
        row.ok_or(ApprovalError::NotFound)
    }

    /// A page, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        owner: Option<UserId>,
        state: Option<ApprovalState>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<ApprovalRow>, ApprovalError> {
        let rows = self.inner.store.approvals(owner, state, before, limit);
        Ok(rows.await?)
    }

    /// Says that approvals of a turn have ended with it.
    pub(crate) fn closed(&self, user: UserId, ids: &[i64]) {
        for id in ids {
            self.publish(user, "resolved", *id);
        }
    }

    async fn expire(&self, row: &ApprovalRow) -> Result<ApprovalRow, ApprovalError> {
        let resolution = Resolution {
            state: ApprovalState::Expired,
            answered: None,
            reason: "nobody answered in time",
            now_ms: clock::unix_ms(),
        };
        Ok(self.resolve(row, resolution).await?.0)
    }

    async fn resolve(
        &self,
        row: &ApprovalRow,
        resolution: Resolution,
    ) -> Result<(ApprovalRow, bool), ApprovalError> {
        let log = self.log(row.user, &row.session).await?;
        let published = move |events: &[_]| log.publish(events);
        let outcome = self.inner.store.resolve_approval(
            Some(row.user),
            row.id,
            resolution,
            resolved_body,
            published,
        );
        let (row, done) = outcome.await?.ok_or(ApprovalError::NotFound)?;
        if done {
            if let Some(woken) = self.inner.waiting().get(&row.id) {
                woken.notify_one();
            }
            self.publish(row.user, "resolved", row.id);
        }
        Ok((row, done))
    }

    async fn log(
        &self,
        user: UserId,
        session: &str,
    ) -> Result<Arc<crate::sessions::SessionLog>, StoreError> {
        let session = session.to_owned();
        self.inner.logs.of(&SessionKey { user, session }).await
    }

    fn publish(&self, user: UserId, action: &'static str, id: i64) {
        let admins = Others::Admins("exec.approve");
        let feeds = self.inner.logs.feeds();
        feeds.publish(user, admins, ("approval", action), &id.to_string());
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, HashMap<i64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes itself out of the map.
struct Waiting {
    inner: Arc<Inner>,
    id: i64,
    woken: Arc<Notify>,
}

impl Waiting {
    fn new(inner: Arc<Inner>, id: i64) -> Self {
        let woken = inner.waiting().entry(id).or_default().clone();
        Self { inner, id, woken }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.inner.waiting().remove(&self.id);
    }
}
