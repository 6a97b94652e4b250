//! How often a device may do what. Buckets are pure: the time is an argument.
//!
//! Applies to admitted devices only; what happens before admission is limited by the transport.
//! No caller is exempt.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use homing_certs::{NodeId, UserId};

/// Buckets kept per kind; beyond that, full ones are forgotten, which changes nothing for anyone.
const MAX_BUCKETS: usize = 4_096;

/// Configured rates. Each bucket holds one second's or one minute's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Plain reads per device and second; 2,000 by default.
    pub reads_per_second: u32,
    /// State-changing calls per device and second; 50 by default.
    pub writes_per_second: u32,
    /// Agent runs per device and minute; 10 by default.
    pub runs_per_minute: u32,
    /// Chat messages per user and minute; 60 by default.
    pub chat_per_minute: u32,
    /// Calls on `/rpc` per device and minute; 60 by default.
    pub rpc_per_minute: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            reads_per_second: 2_000,
            writes_per_second: 50,
            runs_per_minute: 10,
            chat_per_minute: 60,
            rpc_per_minute: 60,
        }
    }
}

/// The limit was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many {what}; try again in {} ms", retry_after.as_millis())]
pub struct RateLimited {
    /// What was counted.
    pub what: &'static str,
    /// When one more fits.
    pub retry_after: Duration,
}

/// All buckets of one agent.
#[derive(Debug)]
pub struct Limits {
    all: ArcSwap<All>,
}

#[derive(Debug)]
struct All {
    rates: Rates,
    reads: Buckets<NodeId>,
    writes: Buckets<NodeId>,
    runs: Buckets<NodeId>,
    chat: Buckets<UserId>,
    rpc: Buckets<NodeId>,
}

impl Limits {
    /// Full buckets.
    #[must_use]
    pub fn new(rates: Rates) -> Self {
        Self {
            all: ArcSwap::from_pointee(All::new(rates)),
        }
    }

    /// From now on these rates, with full buckets where they are others than before.
    pub fn change(&self, rates: Rates) {
        if self.all.load().rates != rates {
            self.all.store(Arc::new(All::new(rates)));
        }
    }

    /// Counts a plain read.
    ///
    /// # Errors
    /// When the device has used up its rate.
    pub fn read(&self, device: NodeId, now: Instant) -> Result<(), RateLimited> {
        self.all.load().reads.take(device, now)
    }

    /// Counts a state-changing call.
    ///
    /// # Errors
    /// When the device has used up its rate.
    pub fn write(&self, device: NodeId, now: Instant) -> Result<(), RateLimited> {
        self.all.load().writes.take(device, now)
    }

    /// Counts a call on `/rpc`.
    ///
    /// # Errors
    /// When the device has used up its rate.
    pub fn rpc(&self, device: NodeId, now: Instant) -> Result<(), RateLimited> {
        self.all.load().rpc.take(device, now)
    }

    /// Counts a message that starts an agent run.
    ///
    /// # Errors
    /// When the device or its user has used up the rate. A refused run counts as no message.
    pub fn run(&self, device: NodeId, user: UserId, now: Instant) -> Result<(), RateLimited> {
        let all = self.all.load();
        all.runs.take(device, now)?;
        all.chat.take(user, now)
    }
}

impl All {
    fn new(rates: Rates) -> Self {
        let second = Duration::from_secs(1);
        let minute = Duration::from_secs(60);
        Self {
            rates,
            reads: Buckets::new("reads", rates.reads_per_second, second),
            writes: Buckets::new("writes", rates.writes_per_second, second),
            runs: Buckets::new("agent runs", rates.runs_per_minute, minute),
            chat: Buckets::new("chat messages", rates.chat_per_minute, minute),
            rpc: Buckets::new("calls", rates.rpc_per_minute, minute),
        }
    }
}

#[derive(Debug)]
struct Buckets<K> {
    what: &'static str,
    capacity: f64,
    per_second: f64,
    map: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    fn new(what: &'static str, count: u32, per: Duration) -> Self {
        let capacity = f64::from(count.max(1));
        Self {
            what,
            capacity,
            per_second: capacity / per.as_secs_f64(),
            map: Mutex::default(),
        }
    }

    fn take(&self, key: K, now: Instant) -> Result<(), RateLimited> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_BUCKETS && !map.contains_key(&key) {
            map.retain(|_, bucket| self.filled(bucket, now) < self.capacity);
        }
        let full = Bucket {
            tokens: self.capacity,
            at: now,
        };
        let bucket = map.entry(key).or_insert(full);
        *bucket = Bucket {
            tokens: self.filled(bucket, now),
            at: now,
        };
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - bucket.tokens) / self.per_second;
        Err(RateLimited {
            what: self.what,
            retry_after: Duration::from_secs_f64(missing),
        })
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + elapsed * self.per_second).min(self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::new(Rates {
            reads_per_second: 10,
            writes_per_second: 2,
            runs_per_minute: 3,
            chat_per_minute: 4,
            rpc_per_minute: 5,
        })
    }

    #[test]
    fn one_over_the_rate_is_refused_until_the_time_it_names() {
        let limits = limits();
        let device = NodeId::from([1; 32]);
        let start = Instant::now();
        for _ in 0..10 {
            limits.read(device, start).unwrap();
        }
        let refused = limits.read(device, start).unwrap_err();
        assert_eq!(refused.what, "reads");
        let just_before = start + refused.retry_after - Duration::from_millis(1);
        limits.read(device, just_before).unwrap_err();
        limits
            .read(
                device,
                start + refused.retry_after + Duration::from_millis(1),
            )
            .unwrap();
    }

    #[test]
    fn devices_do_not_share_a_bucket_but_the_devices_of_a_user_share_its_chat() {
        let limits = limits();
        let (one, two) = (NodeId::from([1; 32]), NodeId::from([2; 32]));
        let user = UserId::from([9; 16]);
        let now = Instant::now();
        for _ in 0..3 {
            limits.run(one, user, now).unwrap();
        }
        assert_eq!(limits.run(one, user, now).unwrap_err().what, "agent runs");
        limits.run(two, user, now).unwrap();
        assert_eq!(
            limits.run(two, user, now).unwrap_err().what,
            "chat messages"
        );
        limits.run(two, UserId::from([8; 16]), now).unwrap();
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let limits = limits();
        let device = NodeId::from([1; 32]);
        let later = Instant::now() + Duration::from_secs(5);
        limits.write(device, later).unwrap();
        limits.write(device, later).unwrap();
        limits.write(device, Instant::now()).unwrap_err();
    }
}
