//! A session's log as its followers see it: the newest events in memory, older ones in the database.
//!
//! A follower has a cursor and asks for what comes after it. Nothing is kept per follower, so a slow
//! one costs nothing and loses nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{SessionEvent, SessionKey};
use crate::feed::Feed;
use crate::store::{LoggedEvent, Store, StoreError};

/// Events kept in memory per session: the length of a long answer.
const KEPT_EVENTS: usize = 1_024;
/// Bytes kept in memory per session.
const KEPT_BYTES: usize = 256 << 10;
/// Events read at once: some dozens of KiB.
pub(crate) const PAGE: usize = 256;

/// What comes after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// These; empty when the cursor is at the end.
    Events(Vec<Arc<LoggedEvent>>),
    /// The first events after the cursor were trimmed away; go on after this number.
    Gone(u64),
}

/// One session's log.
#[derive(Debug)]
pub struct SessionLog {
    key: SessionKey,
    ring: Mutex<Ring>,
    feed: Arc<Feed>,
    store: Store,
}

#[derive(Debug)]
struct Ring {
    head: u64,
    /// Everything up to here is in the database only, or gone.
    before: u64,
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
}

impl SessionLog {
    pub(super) fn new(key: SessionKey, head: u64, feed: Arc<Feed>, store: Store) -> Self {
        let ring = Ring {
            head,
            before: head,
            events: VecDeque::new(),
            bytes: 0,
        };
        Self {
            key,
            ring: Mutex::new(ring),
            feed,
            store,
        }
    }

    /// Which session.
    #[must_use]
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Number of the newest event.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.lock().head
    }

    /// A page of what comes after `cursor`.
    ///
    /// # Errors
    /// When older events must be read and the database fails.
    pub async fn after(&self, cursor: u64) -> Result<Tail, StoreError> {
        if let Some(events) = self.in_memory(cursor) {
            return Ok(Tail::Events(events));
        }
        let SessionKey { user, session } = self.key.clone();
        let events = self.store.events_after(user, session, cursor, PAGE).await?;
        match events.first() {
            Some(first) if first.seq > cursor + 1 => Ok(Tail::Gone(first.seq - 1)),
            Some(_) => Ok(Tail::Events(events.into_iter().map(Arc::new).collect())),
            // Cleared meanwhile: everything that the cursor still expected is gone.
            None => Ok(Tail::Gone(self.lock().before.max(cursor))),
        }
    }

    /// Appends events of a turn; they are in the database and visible when this returns.
    pub(super) async fn append(
        self: &Arc<Self>,
        turn_id: i64,
        events: Vec<SessionEvent>,
    ) -> Result<(), StoreError> {
        let bodies = events.iter().map(SessionEvent::body).collect();
        let SessionKey { user, session } = self.key.clone();
        let log = self.clone();
        let published = move |events: &[LoggedEvent]| log.publish(events);
        self.store
            .append_events(user, session, Some(turn_id), bodies, published)
            .await?;
        Ok(())
    }

    /// Makes stored events visible. Called on the database's writer thread, in commit order.
    pub(crate) fn publish(&self, events: &[LoggedEvent]) {
        let mut ring = self.lock();
        for event in events {
            ring.head = event.seq;
            ring.bytes += event.body.len();
            ring.events.push_back(Arc::new(event.clone()));
        }
        while ring.events.len() > KEPT_EVENTS || ring.bytes > KEPT_BYTES {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.bytes -= oldest.body.len();
            ring.before = oldest.seq;
        }
        drop(ring);
        self.feed.touch();
    }

    /// Forgets what was before and makes these visible.
    pub(super) fn replace(&self, events: &[LoggedEvent]) {
        let mut ring = self.lock();
        ring.events.clear();
        ring.bytes = 0;
        if let Some(first) = events.first() {
            ring.before = first.seq - 1;
        }
        drop(ring);
        self.publish(events);
    }

    fn in_memory(&self, cursor: u64) -> Option<Vec<Arc<LoggedEvent>>> {
        let ring = self.lock();
        if cursor >= ring.head {
            return Some(vec![]);
        }
        if cursor < ring.before {
            return None;
        }
        let skip = usize::try_from(cursor - ring.before).unwrap_or(usize::MAX);
        Some(ring.events.iter().skip(skip).take(PAGE).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
