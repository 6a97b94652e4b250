//! What concerns a user right now: a signal that something moved, and the newest resource events.
//!
//! Followers keep a cursor and read; nothing is queued for them. Session events themselves are in the
//! sessions' logs; a move there only raises the signal here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use homing_certs::{Role, Scopes, UserId};
use serde::Serialize;
use tokio::sync::watch;

/// Resource events kept per user; a follower that is further behind is told to read anew.
pub const KEPT: usize = 512;

/// Who hears of a change besides everybody of the user whose feed it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Whoever has this scope, of any user: the thing belongs to all of them.
    WithScope(&'static str),
    /// Admins with this scope, of any user.
    Admins(&'static str),
}

impl Others {
    /// Whether a device of another user hears of it.
    #[must_use]
    pub fn include(self, role: Role, scopes: &Scopes) -> bool {
        match self {
            Self::WithScope(scope) => scopes.contains(scope),
            Self::Admins(scope) => role == Role::Admin && scopes.contains(scope),
        }
    }
}

/// Something of the user's has changed, or of another's that some of this user's devices hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceEvent {
    /// Its number in this process, from 1.
    #[serde(skip)]
    pub number: u64,
    /// `session`, `file`, `mcp`, `approval`, `provider`, `model`, `config`.
    pub resource: &'static str,
    /// `created`, `updated`, `cleared`, `deleted`.
    pub action: &'static str,
    /// Which one.
    pub id: String,
    /// Who of this user hears of it; `None` for everybody.
    #[serde(skip)]
    pub only: Option<Others>,
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

    /// Says that something has changed: to the user, and to these devices of all others.
    pub fn publish(
        &self,
        user: UserId,
        others: Others,
        (resource, action): (&'static str, &'static str),
        id: &str,
    ) {
        self.of(user).publish(resource, action, id);
        // Copied, so that no lock is held while they are told.
        let all: Vec<Arc<Feed>> = {
            let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            let foreign = users.iter().filter(|(other, _)| **other != user);
            foreign.map(|(_, feed)| feed.clone()).collect()
        };
        for feed in all {
            feed.add(resource, action, id.to_owned(), Some(others));
        }
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
        self.add(resource, action, id.into(), None);
    }

    fn add(&self, resource: &'static str, action: &'static str, id: String, only: Option<Others>) {
        let mut events = self.lock();
        events.last += 1;
        let event = ResourceEvent {
            number: events.last,
            resource,
            action,
            id,
            only,
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

    #[test]
    fn what_belongs_to_all_is_told_to_the_others_who_may_know() {
        let feeds = Feeds::default();
        let (ann, bob) = (UserId::from([1; 16]), UserId::from([2; 16]));
        let (own, other) = (feeds.of(ann), feeds.of(bob));
        let others = Others::WithScope("models");
        feeds.publish(ann, others, ("model", "updated"), "m1");
        assert_eq!(own.after(0).0[0].only, None);
        assert_eq!(other.after(0).0[0].only, Some(others));
        let scopes = |list: &[&str]| Scopes::new(list.iter().copied()).unwrap();
        assert!(others.include(Role::Client, &scopes(&["models"])));
        assert!(!others.include(Role::Admin, &scopes(&["chat"])));
        let admins = Others::Admins("exec.approve");
        assert!(admins.include(Role::Admin, &scopes(&["exec.approve"])));
        assert!(!admins.include(Role::Client, &scopes(&["exec.approve"])));
        assert!(!admins.include(Role::Admin, &scopes(&["chat"])));
    }
}
