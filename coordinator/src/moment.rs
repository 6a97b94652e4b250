//! The two clocks of a decision: wall time, and a monotonic clock that exposes jumps of the first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing_certs::UnixTime;

/// When a decision is made. Given to every decision, so that tests choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall time.
    pub wall: UnixTime,
    /// Time since an arbitrary start that never jumps and that goes on while the machine sleeps.
    pub monotonic: Duration,
}

impl Moment {
    /// Now, by this machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            wall: UnixTime(wall.as_secs()),
            monotonic: since_boot(),
        }
    }
}

/// A moment whose two clocks agree.
impl From<UnixTime> for Moment {
    fn from(wall: UnixTime) -> Self {
        Self {
            wall,
            monotonic: Duration::from_secs(wall.0),
        }
    }
}

/// A laptop that slept for an hour has not jumped: the clock that counts sleep is the right one.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
