//! All sessions' logs: which of them are in memory. What one holds is `log`'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{SessionKey, SessionLog};
use crate::feed::Feeds;
use crate::store::{Store, StoreError};

/// Logs kept in memory; idle ones are read again from the database when they are needed.
const MAX_LOGS: usize = 256;

/// A cloneable handle to the logs. All that append to a session must share it.
#[derive(Debug, Clone)]
pub struct Logs {
    store: Store,
    feeds: Feeds,
    known: Arc<Mutex<HashMap<SessionKey, Arc<SessionLog>>>>,
}

impl Logs {
    /// None in memory yet.
    #[must_use]
    pub fn new(store: Store, feeds: Feeds) -> Self {
        Self {
            store,
            feeds,
            known: Arc::default(),
        }
    }

    /// What concerns each user.
    #[must_use]
    pub fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// The session's log; all appends of a session go through the one that is in the map.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, key: &SessionKey) -> Result<Arc<SessionLog>, StoreError> {
        if let Some(log) = self.lock().get(key) {
            return Ok(log.clone());
        }
        let head = self.store.last_seq(key.user, key.session.clone()).await?;
        let feed = self.feeds.of(key.user);
        let mut logs = self.lock();
        if logs.len() >= MAX_LOGS {
            logs.retain(|_, log| Arc::strong_count(log) > 1);
        }
        // Whoever was faster may have appended already; its log is the right one.
        let log = logs.entry(key.clone()).or_insert_with(|| {
            Arc::new(SessionLog::new(key.clone(), head, feed, self.store.clone()))
        });
        Ok(log.clone())
    }

    /// Forgets a log: the session is gone.
    pub fn forget(&self, key: &SessionKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionKey, Arc<SessionLog>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
