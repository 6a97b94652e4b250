//! The token bucket on new connections: a pure decision, with the time as an argument.

use std::time::Instant;

/// Allows `burst` at once and `per_second` in the long run.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: f64,
    burst: f64,
    available: f64,
    updated: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            per_second: f64::from(per_second),
            burst: f64::from(burst),
            available: f64::from(burst),
            updated: now,
        }
    }

    /// Takes one from the bucket, or says that it is empty.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.updated = now;
        self.available = (self.available + elapsed * self.per_second).min(self.burst);
        if self.available < 1.0 {
            return false;
        }
        self.available -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10, 3, start);
        assert_eq!((0..5).filter(|_| limit.allow(start)).count(), 3);
        assert!(!limit.allow(start + Duration::from_millis(50)));
        assert!(limit.allow(start + Duration::from_millis(160)));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| limit.allow(later)).count(), 3);
    }
}
