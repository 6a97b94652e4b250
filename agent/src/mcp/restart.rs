//! When a server that ended is started again. Pure: time is an argument.

use std::time::Duration;

/// Pauses and limits.
#[derive(Debug, Clone, Copy)]
pub struct McpPace {
    /// Pause before the first restart; doubles each time. 1 s by default.
    pub first_pause: Duration,
    /// Longest pause; 60 s by default.
    pub longest_pause: Duration,
    /// Failures in a row after which the server stays down until somebody enables it again; 10 by
    /// default, which is about five minutes.
    pub most_failures: u32,
    /// How long a server must have run to count as healthy again; 60 s by default.
    pub healthy_after: Duration,
    /// From the start of a server to the list of its tools; 120 s by default, because `npx` may have
    /// to download it first.
    pub start_limit: Duration,
    /// How long a server that is in doubt has to answer; 10 s by default.
    pub probe_limit: Duration,
}

impl Default for McpPace {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            most_failures: 10,
            healthy_after: Duration::from_secs(60),
            start_limit: Duration::from_secs(120),
            probe_limit: Duration::from_secs(10),
        }
    }
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures(u32);

impl Failures {
    /// One more, after the server had run this long: the pause before the next start, or none when it
    /// stays down.
    pub(super) fn add(&mut self, pace: &McpPace, ran: Duration) -> Option<Duration> {
        if ran >= pace.healthy_after {
            self.0 = 0;
        }
        self.0 += 1;
        if self.0 >= pace.most_failures {
            return None;
        }
        let doubled = 1_u32.checked_shl(self.0 - 1).unwrap_or(u32::MAX);
        let pause = pace.first_pause.saturating_mul(doubled);
        Some(pause.min(pace.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_then_the_server_stays_down() {
        let pace = McpPace::default();
        let mut failures = Failures::default();
        let pauses: Vec<_> = (0..12)
            .map(|_| {
                failures
                    .add(&pace, Duration::ZERO)
                    .map(|pause| pause.as_secs())
            })
            .collect();
        let some = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some);
        assert_eq!(pauses[..9], some);
        assert_eq!(pauses[9..], [None; 3]);
    }

    #[test]
    fn a_server_that_ran_long_enough_starts_counting_anew() {
        let pace = McpPace::default();
        let mut failures = Failures(8);
        let pause = failures.add(&pace, pace.healthy_after);
        assert_eq!(pause, Some(pace.first_pause));
        assert_eq!(failures, Failures(1));
    }
}
