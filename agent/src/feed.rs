//! What concerns a user right now: a signal that something moved, and the newest resource events.
//!
//! Followers keep a cursor and read; nothing is queued for them. Session events themselves are in the
//! sessions' logs; a move there only raises the signal here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use homing_certs::UserId;
use serde::Serialize;
use tokio::sync::watch;

/// Resource events kept per user; a follower that is further behind is told to read anew.
pub const KEPT: usize = 512;

/// Something of the user's has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceEvent {
    /// Its number in this process, from 1.
    #[serde(skip)]
    pub number: u64,
    /// `session`, `file`, `device`, `mcp`.
    pub resource: &'static str,
    /// `created`, `updated`, `cleared`, `deleted`.
    pub action: &'static str,
    /// Which one.
    pub id: String,
}

/// The feeds of all users.
#[derive(Debug, Clone, Default)]
pub struct Feeds {
    users: Arc<Mutex<HashMap<UserId, Arc<Feed>>>>,
}

/// One user's feed.
#[derive(Debug)]
pub struct Feed {
    moved: watch::Sender<u64>,
    events: Mutex<Events>,
}

#[derive(Debug, Default)]
struct Events {
    last: u64,
    kept: VecDeque<Arc<ResourceEvent>>,
}

impl Feeds {
    /// The feed of a user.
    #[must_use]
    pub fn of(&self, user: UserId) -> Arc<Feed> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.entry(user).or_default().clone()
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            moved: watch::Sender::new(0),
            events: Mutex::default(),
        }
    }
}

impl Feed {
    /// Raises the signal.
    pub fn touch(&self) {
        self.moved
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Follows the signal.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Says that something has changed.
    pub fn publish(&self, resource: &'static str, action: &'static str, id: impl Into<String>) {
        let mut events = self.lock();
        events.last += 1;
        let event = ResourceEvent {
            number: events.last,
            resource,
            action,
            id: id.into(),
        };
        if events.kept.len() == KEPT {
            events.kept.pop_front();
        }
        events.kept.push_back(Arc::new(event));
        drop(events);
        self.touch();
    }

    /// Number of the newest event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// Events after `cursor`, and whether some before them are no longer kept.
    #[must_use]
    pub fn after(&self, cursor: u64) -> (Vec<Arc<ResourceEvent>>, bool) {
        let events = self.lock();
        // A cursor of an earlier process may lie ahead of everything.
        let missed = cursor > events.last
            || events
                .kept
                .front()
                .is_some_and(|oldest| oldest.number > cursor.saturating_add(1));
        let newer = events
            .kept
            .iter()
            .filter(|event| missed || event.number > cursor);
        (newer.cloned().collect(), missed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_sees_each_event_once_and_hears_when_it_missed_some() {
        let feed = Feed::default();
        feed.publish("file", "created", "a");
        feed.publish("file", "created", "b");
        let (events, missed) = feed.after(1);
        assert!(!missed);
        assert_eq!(
            events
                .iter()
                .map(|event| event.id.as_str())
                .collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!(feed.after(2), (vec![], false));
        for _ in 0..KEPT {
            feed.publish("file", "updated", "c");
        }
        assert!(feed.after(1).1);
        assert!(feed.after(u64::MAX - 1).1);
        assert!(!feed.after(2).1);
    }

    #[test]
    fn users_do_not_hear_of_each_other() {
        let feeds = Feeds::default();
        feeds
            .of(UserId::from([1; 16]))
            .publish("file", "created", "a");
        assert_eq!(feeds.of(UserId::from([2; 16])).last(), 0);
    }
}
