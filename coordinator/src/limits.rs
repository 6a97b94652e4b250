//! Token buckets. The clock is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Keys whose buckets are remembered; full ones are forgotten when the map is full.
const MAX_KEYS: usize = 4_096;

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: u32,
    /// Per second.
    pub(crate) per_second: f64,
}

/// One bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Option<Instant>,
}

/// A bucket for each key.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    buckets: HashMap<K, Bucket>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst),
            at: None,
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.tokens = self.level(now);
        self.at = Some(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    fn level(&self, now: Instant) -> f64 {
        let since = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        (self.tokens + since * self.rate.per_second).min(f64::from(self.rate.burst))
    }
}

impl<K: Hash + Eq> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
        }
    }

    pub(crate) fn take(&mut self, key: K, now: Instant) -> bool {
        if self.buckets.len() >= MAX_KEYS && !self.buckets.contains_key(&key) {
            let full = f64::from(self.rate.burst);
            self.buckets.retain(|_, bucket| bucket.level(now) < full);
            if self.buckets.len() >= MAX_KEYS {
                return false;
            }
        }
        self.buckets
            .entry(key)
            .or_insert_with(|| Bucket::new(self.rate))
            .take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        per_second: 2.0,
    };

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::new(RATE);
        let start = Instant::now();
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        assert!(!bucket.take(start + Duration::from_millis(400)));
        assert!(bucket.take(start + Duration::from_millis(600)));
    }

    #[test]
    fn one_key_does_not_spend_what_is_anothers_and_the_map_stays_bounded() {
        let mut buckets = Buckets::new(RATE);
        let start = Instant::now();
        assert_eq!((0..5).filter(|_| buckets.take(0, start)).count(), 3);
        assert!(buckets.take(1, start));
        for key in 2..MAX_KEYS + 100 {
            buckets.take(key, start);
        }
        assert!(buckets.buckets.len() <= MAX_KEYS);
        assert!(buckets.take(usize::MAX, start + Duration::from_secs(10)));
    }
}
