//! What programs need beside people: a session for one answer, and the end of one turn.

use homing_certs::UserId;
use tokio::sync::oneshot;

use super::{Inner, SessionError, Sessions, actor, key};
use crate::store::AskedOnce;

impl Sessions {
    /// Makes a session for one answer, with what was said before. Whoever makes it ends it with
    /// [`Sessions::forget_once`].
    ///
    /// # Errors
    /// When the id is not one or is taken, or the database fails.
    pub async fn open_once(&self, asked: AskedOnce) -> Result<(), SessionError> {
        key(asked.user, &asked.session)?;
        match self.inner.store.open_once(asked).await? {
            true => Ok(()),
            false => Err(SessionError::BadSessionId),
        }
    }

    /// Removes a session that was for one answer. Its turn must be over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_once(&self, user: UserId, session: &str) -> Result<bool, SessionError> {
        let key = key(user, session)?;
        let removed = self
            .inner
            .store
            .forget_once(user, session.to_owned())
            .await?;
        if removed {
            self.inner.logs.forget(&key);
            self.inner
                .feeds
                .of(user)
                .publish("session", "deleted", session);
        }
        Ok(removed)
    }

    /// Stops a turn that runs, or removes one that waits. False when it is over.
    ///
    /// # Errors
    /// When the agent is shutting down.
    pub async fn cancel_turn(&self, user: UserId, turn_id: i64) -> Result<bool, SessionError> {
        if self.inner.cancel_turn(user, turn_id) {
            return Ok(true);
        }
        let (reply, answer) = oneshot::channel();
        self.send(actor::Command::RemoveTurn {
            user,
            turn_id,
            reply,
        })
        .await?;
        let removed = answer.await.map_err(|_| SessionError::Closed)?;
        // It may have begun while the actor had other things to do.
        Ok(removed > 0 || self.inner.cancel_turn(user, turn_id))
    }
}

impl Inner {
    fn cancel_turn(&self, user: UserId, turn_id: i64) -> bool {
        let running = self.active().get(&turn_id).cloned();
        let Some(active) = running.filter(|active| active.key.user == user) else {
            return false;
        };
        // The first reason stays.
        let first = active.why.set("interrupted").is_ok();
        active.cancel.cancel();
        first
    }
}
