//! Waiting between attempts: exponential, with jitter from the caller.

use std::time::Duration;

/// First wait of a reconnect.
pub const FIRST: Duration = Duration::from_millis(400);
/// Longest wait of a reconnect.
pub const LONGEST: Duration = Duration::from_secs(5);

/// A growing wait. Reset it on success.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST, LONGEST)
    }
}

impl Backoff {
    /// Doubles from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            attempt: 0,
        }
    }

    /// The next wait: between half of and the whole step, by `jitter` in 0..=255.
    pub fn next(&mut self, jitter: u8) -> Duration {
        let step = self
            .first
            .saturating_mul(1 << self.attempt.min(16))
            .min(self.longest);
        self.attempt = self.attempt.saturating_add(1);
        let half = step / 2;
        half + half * u32::from(jitter) / 255
    }

    /// Starts again from the first wait.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..6).map(|_| backoff.next(255).as_millis()).collect();
        assert_eq!(waits, [400, 800, 1_600, 3_200, 5_000, 5_000]);
        backoff.reset();
        assert_eq!(backoff.next(0).as_millis(), 200);
    }

    #[test]
    fn a_peer_that_never_answers_does_not_overflow_the_wait() {
        let mut backoff = Backoff::default();
        for _ in 0..10_000 {
            assert!(backoff.next(128) <= LONGEST);
        }
    }
}
