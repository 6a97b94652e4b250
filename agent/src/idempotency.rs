//! Writes that a client may send again: which of them run now, and what became of the earlier ones.
//!
//! Owns the rules; the answers themselves are in the store. Only success is kept: a refused write has
//! changed nothing and may be sent again with the same key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::store::{IdempotencyKey, KeptAnswer, Store, StoreError};

/// Longest key, in bytes: room for two UUIDs and a prefix.
pub const MAX_KEY: usize = 255;
/// Longest answer that is kept, in bytes; answers to writes are short.
pub const MAX_ANSWER: usize = 64 << 10;

/// All writes with a key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Idempotency {
    store: Store,
    running: Arc<Mutex<HashSet<IdempotencyKey>>>,
}

/// What a key stands for.
#[derive(Debug)]
pub enum Begun {
    /// The request runs now, under this claim.
    First(Claim),
    /// It was done before.
    Before(KeptAnswer),
    /// The same key is at work.
    Running,
    /// An earlier process was stopped at it.
    Unknown,
}

/// A request with a key that runs. Dropped, it leaves the key taken: nobody knows what happened.
#[derive(Debug)]
pub struct Claim {
    key: IdempotencyKey,
    all: Idempotency,
}

impl Idempotency {
    /// On this database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            running: Arc::default(),
        }
    }

    /// Whether this is a key: printable ASCII without spaces.
    #[must_use]
    pub fn is_key(key: &str) -> bool {
        (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Takes a key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self, key: IdempotencyKey) -> Result<Begun, StoreError> {
        if !self.lock().insert(key.clone()) {
            return Ok(Begun::Running);
        }
        let claim = Claim {
            key: key.clone(),
            all: self.clone(),
        };
        Ok(match self.store.begin_once(key, clock::unix_ms()).await? {
            None => Begun::First(claim),
            Some(answer) if answer.status.is_some() => Begun::Before(answer),
            Some(_) => Begun::Unknown,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<IdempotencyKey>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Keeps the answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep(self, answer: KeptAnswer) -> Result<(), StoreError> {
        self.all.store.keep_once(self.key.clone(), answer).await
    }

    /// Gives the key back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(self) -> Result<(), StoreError> {
        self.all.store.release_once(self.key.clone()).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
    }
}
