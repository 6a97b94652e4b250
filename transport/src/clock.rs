//! This machine's two clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing_certs::UnixTime;

/// The wall clock, which nobody has verified.
#[must_use]
pub fn wall_clock() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(since.as_secs())
}

/// Time since an arbitrary start that never jumps and goes on while the machine sleeps: a laptop
/// that slept for an hour has not jumped.
#[cfg(target_os = "linux")]
#[must_use]
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Time since an arbitrary start that never jumps.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn since_boot() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
