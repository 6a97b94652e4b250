//! The two clocks of a decision: wall time, and a monotonic clock that exposes jumps of the first.

use std::time::Duration;

use homing_certs::UnixTime;
use homing_transport::clock::{since_boot, wall_clock};

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
        Self {
            wall: wall_clock(),
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
