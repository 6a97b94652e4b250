//! What time it is for a verifier, how old its news are, and when a signer may trust its clock.
//!
//! `monotonic` is the time since an arbitrary start of this process. It should go on while the
//! machine sleeps (`CLOCK_BOOTTIME` on Linux): with a clock that stands still in sleep, staleness
//! is noticed late after waking.

use std::time::Duration;

use crate::ids::UnixTime;

mod signing;

pub use signing::{MAX_SIGNING_DEPARTURE_SECS, SigningClock, SigningClockError};

/// How often a coordinator signs a heartbeat.
pub const HEARTBEAT_EVERY_SECS: u64 = 15;
/// For how long a heartbeat is a better clock than our own: four of them may be lost.
pub const HEARTBEAT_FRESH_SECS: u64 = 60;
/// News older than this refuse what could do most harm.
pub const STALE_AFTER_SECS: u64 = 15 * 60;
/// The most that signed time may run ahead of what was known, unless our own wall clock agrees.
pub const MAX_FLOOR_JUMP_SECS: u64 = 3_600;

/// Why a signed time was not taken. Raise an alarm: a signer's clock or key is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Over an hour ahead of what is known, and our own clock does not agree.
    #[error("signed time {time} is over an hour ahead of {floor} and of this clock, {wall}")]
    JumpRefused {
        /// The signed time.
        time: UnixTime,
        /// The time known so far.
        floor: UnixTime,
        /// Our own wall clock.
        wall: UnixTime,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Anchor {
    time: UnixTime,
    monotonic: Duration,
}

impl Anchor {
    fn elapsed(&self, monotonic: Duration) -> u64 {
        monotonic.saturating_sub(self.monotonic).as_secs()
    }

    fn at(&self, monotonic: Duration) -> UnixTime {
        self.time.saturating_add(self.elapsed(monotonic))
    }
}

/// A verifier's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustClock {
    floor: Anchor,
    /// The newest heartbeat of this process.
    heartbeat: Option<Anchor>,
    /// The time of the newest heartbeat ever, as far as it is known.
    last_heartbeat: UnixTime,
}

impl TrustClock {
    /// Starts with the newest signed time that was kept; 0 when there is none. That time is taken
    /// to hold at `monotonic` zero.
    pub fn new(floor: UnixTime) -> Self {
        Self::new_at(floor, Duration::ZERO)
    }

    /// Like [`Self::new`] for a clock made at `monotonic`.
    pub fn new_at(floor: UnixTime, monotonic: Duration) -> Self {
        Self {
            floor: Anchor {
                time: floor,
                monotonic,
            },
            heartbeat: None,
            last_heartbeat: floor,
        }
    }

    /// Sets the time of the last heartbeat that was kept, when it is known apart from the floor.
    #[must_use]
    pub fn with_last_heartbeat(mut self, time: UnixTime) -> Self {
        self.last_heartbeat = time;
        self
    }

    /// Takes the time of a verified heartbeat. An older one than the newest changes nothing.
    pub fn observe_heartbeat(
        &mut self,
        time: UnixTime,
        wall: UnixTime,
        monotonic: Duration,
    ) -> Result<(), ClockError> {
        self.observe_signed(time, wall, monotonic)?;
        if self.heartbeat.is_none_or(|newest| newest.time < time) && self.last_heartbeat <= time {
            self.heartbeat = Some(Anchor { time, monotonic });
            self.last_heartbeat = time;
        }
        Ok(())
    }

    /// Takes the time of another verified document: it raises the floor, and says nothing of the
    /// age of the news.
    pub fn observe_signed(
        &mut self,
        time: UnixTime,
        wall: UnixTime,
        monotonic: Duration,
    ) -> Result<(), ClockError> {
        let floor = self.floor(monotonic);
        // The first signed time ever has nothing to jump from.
        let known = self.floor.time > UnixTime(0);
        let limit = floor.max(wall).saturating_add(MAX_FLOOR_JUMP_SECS);
        if known && time > limit {
            return Err(ClockError::JumpRefused { time, floor, wall });
        }
        if !known || time > floor {
            self.floor = Anchor { time, monotonic };
        }
        Ok(())
    }

    /// The time to check certificates with.
    pub fn now(&self, wall: UnixTime, monotonic: Duration) -> UnixTime {
        match self.heartbeat {
            Some(beat) if beat.elapsed(monotonic) <= HEARTBEAT_FRESH_SECS => beat.at(monotonic),
            // The wall clock never raises the floor: a bad jump would expire everybody for good.
            _ => wall.max(self.floor(monotonic)),
        }
    }

    /// How old the newest verified heartbeat is, also after a restart.
    pub fn staleness(&self, wall: UnixTime, monotonic: Duration) -> Duration {
        Duration::from_secs(self.now(wall, monotonic).seconds_since(self.last_heartbeat))
    }

    /// Whether the news are too old for scopes that need fresh ones.
    pub fn is_stale(&self, wall: UnixTime, monotonic: Duration) -> bool {
        self.staleness(wall, monotonic) > Duration::from_secs(STALE_AFTER_SECS)
    }

    /// The time that it is at least, by what was signed. This is what to keep on disk.
    pub fn floor(&self, monotonic: Duration) -> UnixTime {
        if self.floor.time == UnixTime(0) {
            UnixTime(0)
        } else {
            self.floor.at(monotonic)
        }
    }

    /// Forgets all signed times and starts again at `floor`: after a new root epoch, or by the
    /// command of whoever runs this machine.
    pub fn reset_floor(&mut self, floor: UnixTime, monotonic: Duration) {
        *self = Self::new_at(floor, monotonic);
    }
}

/// Whether a scope is refused when the news are older than [`STALE_AFTER_SECS`].
pub fn scope_needs_freshness(scope: &str) -> bool {
    let first = scope.split('.').next().unwrap_or(scope);
    // A pattern is as harmful as the worst that it covers.
    matches!(
        first,
        "terminal" | "jobs" | "exec" | "files" | "invite" | "*"
    ) || matches!(scope, "config" | "config.*" | "config.write")
        || scope.starts_with("config.write.")
}
