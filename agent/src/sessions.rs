//! Conversations: who said what in which session, which turn runs, which waits.
//!
//! Owns the queue of turns (one running turn per device and per session, first in first out), the
//! sessions' logs and the running turns. A message is in the database before it is acknowledged;
//! turns go on when whoever asked has gone. Knows nothing of WebSockets: followers hold a
//! [`Follow`] and read the log at their own pace.

mod actor;
mod asked;
mod event;
mod giving;
mod log;
mod logs;
mod past;
mod queue;
mod run;
mod speaker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use homing_certs::{NodeId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use actor::SessionsActor;
pub use event::{Attachment, By, SessionEvent};
pub use log::{SessionLog, Tail};
pub use logs::Logs;
pub use queue::MAX_QUEUED;
pub use speaker::Speaker;

use crate::attachments::Sight;
use crate::audit::Audit;
use crate::feed::Feeds;
use crate::store::{SessionRow, Store, StoreError};
use crate::turn;
use crate::turn_driver::Engine;

/// Longest session id, in bytes: room for a platform's prefix and its longest ids.
pub const MAX_SESSION_ID: usize = 128;
/// Longest message, in bytes: fits a frame even when all of it is escaped.
pub const MAX_MESSAGE: usize = 128 << 10;
/// Longest id that a client gives to its message, in bytes.
pub const MAX_CLIENT_MSG_ID: usize = 128;
/// Files of one message, of a person or of the agent.
pub const MAX_ATTACHMENTS: usize = 16;
/// Commands that may wait for the actor; senders wait beyond that.
const INBOX: usize = 128;

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Whose.
    pub user: UserId,
    /// Its id, unique for the user.
    pub session: String,
}

/// A message of a person.
#[derive(Debug, Clone)]
pub struct Message {
    /// What was said.
    pub text: String,
    /// Files that belong to it.
    pub attachments: Vec<Attachment>,
    /// The client's own id for it.
    pub client_msg_id: Option<String>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Its turn runs.
    Started,
    /// Its turn waits; 1 is the next.
    Queued(usize),
    /// The same client sent it before; nothing was done.
    Duplicate,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session id is empty, too long or has control characters.
    #[error("a session id has 1 to {MAX_SESSION_ID} bytes and no control characters")]
    BadSessionId,
    /// The message is empty or too long.
    #[error("a message has 1 to {MAX_MESSAGE} bytes")]
    BadMessage,
    /// The client's id of the message is empty or too long.
    #[error("a client_msg_id has 1 to {MAX_CLIENT_MSG_ID} bytes")]
    BadClientMsgId,
    /// Too many turns of this device wait.
    #[error("{MAX_QUEUED} messages of this device are waiting already")]
    QueueFull,
    /// The database failed.
    #[error("the session could not be read or written")]
    Store(#[from] StoreError),
    /// The agent is shutting down.
    #[error("the agent is shutting down")]
    Closed,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Whether a turn runs in it.
    pub running: bool,
    /// Turns that wait in it.
    pub waiting: usize,
}

/// A place in a session's log from which to go on reading.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The log.
    pub log: Arc<SessionLog>,
    /// Number of the last event that was read.
    pub cursor: u64,
}

/// A cloneable handle to all sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
    inbox: mpsc::Sender<actor::Command>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    feeds: Feeds,
    audit: Audit,
    engine: Engine,
    logs: Logs,
    /// Turns that begin or cease to do nothing but wait for a person.
    parks: mpsc::Sender<(i64, bool)>,
    active: Mutex<HashMap<i64, Active>>,
    /// Devices that are being cut off, with how many of their waiting turns have been removed so far.
    cutting: Mutex<HashMap<NodeId, usize>>,
}

/// A running turn.
#[derive(Debug, Clone)]
struct Active {
    key: SessionKey,
    device: NodeId,
    cancel: CancellationToken,
    /// Why it was cancelled; empty while it was not.
    why: Arc<OnceLock<&'static str>>,
}

impl Sessions {
    /// A handle and the actor behind it, which somebody must run.
    #[must_use]
    pub fn new(store: Store, feeds: Feeds, audit: Audit, engine: Engine) -> (Self, SessionsActor) {
        let (parks, parked) = mpsc::channel(INBOX);
        let inner = Arc::new(Inner {
            store,
            feeds,
            audit,
            logs: engine.approvals.logs().clone(),
            engine,
            parks,
            active: Mutex::default(),
            cutting: Mutex::default(),
        });
        let (inbox, commands) = mpsc::channel(INBOX);
        (
            Self {
                inner: inner.clone(),
                inbox,
            },
            SessionsActor::new(inner, commands, parked),
        )
    }

    /// Takes a message: stores it, then starts or queues its turn.
    ///
    /// # Errors
    /// When the message is refused or cannot be stored; nothing has happened then.
    pub async fn say(
        &self,
        speaker: Arc<Speaker>,
        session: &str,
        message: Message,
    ) -> Result<Said, SessionError> {
        let key = key(speaker.user_id, session)?;
        if message.text.is_empty() || message.text.len() > MAX_MESSAGE {
            return Err(SessionError::BadMessage);
        }
        let id_length = message.client_msg_id.as_ref().map(String::len);
        if id_length.is_some_and(|length| length == 0 || length > MAX_CLIENT_MSG_ID) {
            return Err(SessionError::BadClientMsgId);
        }
        let (reply, answer) = oneshot::channel();
        self.send(actor::Command::Say {
            key,
            speaker,
            message,
            reply,
        })
        .await?;
        answer.await.map_err(|_| SessionError::Closed)?
    }

    /// Stops the session's running turn. False when none runs. Never waits for the database.
    pub fn interrupt(&self, user: UserId, session: &str) -> bool {
        self.inner.cancel("interrupted", |active| {
            active.key.user == user && active.key.session == session
        }) > 0
    }

    /// Stops the session's running turn and removes those that wait. How many they were.
    ///
    /// # Errors
    /// When the agent is shutting down.
    pub async fn stop(&self, user: UserId, session: &str) -> Result<usize, SessionError> {
        let key = key(user, session)?;
        let (reply, answer) = oneshot::channel();
        self.send(actor::Command::RemoveSession { key, reply })
            .await?;
        let removed = answer.await.map_err(|_| SessionError::Closed)?;
        // Afterwards, because the end of the running turn would start one of those that wait.
        Ok(removed + usize::from(self.interrupt(user, session)))
    }

    /// Cancels everything that runs or waits in the name of a device. How many turns they were.
    ///
    /// # Errors
    /// When the agent is shutting down; what ran is cancelled even then.
    pub async fn cancel_device(&self, device: NodeId) -> Result<usize, SessionError> {
        // From here on none of its waiting turns starts, whatever ends meanwhile.
        self.inner.cutting().entry(device).or_default();
        let running = self
            .inner
            .cancel("revoked", |active| active.device == device);
        let (reply, answer) = oneshot::channel();
        let command = actor::Command::RemoveDevice { device, reply };
        let removed = match self.send(command).await {
            Ok(()) => answer.await.map_err(|_| SessionError::Closed),
            Err(error) => Err(error),
        };
        let before = self.inner.cutting().remove(&device).unwrap_or(0);
        // A message that had been sent before may have been taken in between.
        let late = self
            .inner
            .cancel("revoked", |active| active.device == device);
        Ok(running + before + removed? + late)
    }

    /// Forgets a session's messages and events. False when the user has no such session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear(&self, user: UserId, session: &str) -> Result<bool, SessionError> {
        let key = key(user, session)?;
        if !self
            .inner
            .store
            .session_exists(user, key.session.clone())
            .await?
        {
            return Ok(false);
        }
        let approvals = &self.inner.engine.approvals;
        if let Err(error) = approvals.cancel_session(user, session, "cleared").await {
            tracing::error!(%error, "approvals of a cleared session could not be cancelled");
        }
        let log = self.inner.log(&key).await?;
        let published = move |events: &[_]| log.replace(events);
        let body = SessionEvent::Cleared {}.body();
        let cleared = self
            .inner
            .store
            .clear_session(user, key.session, body, published)
            .await?;
        if cleared {
            self.inner
                .feeds
                .of(user)
                .publish("session", "cleared", session);
        }
        Ok(cleared)
    }

    /// A page of the user's sessions with what each is doing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        user: UserId,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(SessionRow, bool)>, SessionError> {
        let rows = self.inner.store.sessions(user, after, limit).await?;
        let active = self.inner.active();
        let running = |id: &str| {
            active
                .values()
                .any(|run| run.key.user == user && run.key.session == id)
        };
        Ok(rows
            .into_iter()
            .map(|row| {
                let running = running(&row.id);
                (row, running)
            })
            .collect())
    }

    /// What a session is doing.
    ///
    /// # Errors
    /// When the agent is shutting down.
    pub async fn activity(&self, user: UserId, session: &str) -> Result<Activity, SessionError> {
        let key = key(user, session)?;
        let (reply, answer) = oneshot::channel();
        self.send(actor::Command::Activity { key, reply }).await?;
        answer.await.map_err(|_| SessionError::Closed)
    }

    /// Follows a session. `from_seq` is the first event wanted; without it the follower begins with
    /// the running turn, or with what comes next.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow(
        &self,
        user: UserId,
        session: &str,
        from_seq: Option<u64>,
    ) -> Result<Follow, SessionError> {
        let key = key(user, session)?;
        let log = self.inner.log(&key).await?;
        let cursor = match from_seq {
            Some(seq) => seq.saturating_sub(1),
            None => {
                let head = log.head();
                let running = self.inner.store.running_since(user, key.session).await?;
                running.map_or(head, |first| first.saturating_sub(1).min(head))
            }
        };
        Ok(Follow { log, cursor })
    }

    /// What a model would see of a session before a message that comes now, with the turn of each.
    ///
    /// # Errors
    /// When the id is not one or the database fails.
    pub async fn past(
        &self,
        speaker: &Speaker,
        session: &str,
    ) -> Result<(Vec<turn::Said>, Vec<i64>), SessionError> {
        let user = speaker.user_id;
        let key = key(user, session)?;
        let Inner { store, engine, .. } = &*self.inner;
        let mut sight = Sight::of(&engine.models.choose(user, session).await?, speaker);
        let attachments = &engine.attachments;
        let before = past::before(store, attachments, user, key.session, i64::MAX, &mut sight);
        Ok(before.await?)
    }

    /// What turns work with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Starts the turns that an earlier process had accepted and not begun, and closes those that it
    /// had begun. Turns of devices that `revoked` names are cancelled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume(&self, revoked: impl Fn(&NodeId) -> bool) -> Result<usize, SessionError> {
        let turns = self.inner.store.unfinished_turns().await?;
        let count = turns.len();
        for turn in turns {
            let allowed = !revoked(&turn.device);
            self.send(actor::Command::Resume { turn, allowed }).await?;
        }
        Ok(count)
    }

    async fn send(&self, command: actor::Command) -> Result<(), SessionError> {
        self.inbox
            .send(command)
            .await
            .map_err(|_| SessionError::Closed)
    }
}

impl Inner {
    async fn log(&self, key: &SessionKey) -> Result<Arc<SessionLog>, StoreError> {
        self.logs.of(key).await
    }

    fn cancel(&self, why: &'static str, which: impl Fn(&Active) -> bool) -> usize {
        let active = self.active();
        // The first reason stays, and a turn is counted once.
        let chosen = active
            .values()
            .filter(|run| which(run) && run.why.set(why).is_ok());
        chosen.map(|run| run.cancel.cancel()).count()
    }

    fn cutting(&self) -> MutexGuard<'_, HashMap<NodeId, usize>> {
        self.cutting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, HashMap<i64, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text may name a session.
///
/// # Errors
/// [`SessionError::BadSessionId`].
pub fn check_session_id(session: &str) -> Result<(), SessionError> {
    let length_fits = (1..=MAX_SESSION_ID).contains(&session.len());
    if !length_fits || session.chars().any(char::is_control) {
        return Err(SessionError::BadSessionId);
    }
    Ok(())
}

fn key(user: UserId, session: &str) -> Result<SessionKey, SessionError> {
    check_session_id(session)?;
    Ok(SessionKey {
        user,
        session: session.to_owned(),
    })
}
