//! The wall clock as the services see it: Unix milliseconds for rows and log lines.
//!
//! Not for trust: whether a certificate is in force is decided by the clock in `homing-transport`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds; 0 when the clock stands before 1970.
#[must_use]
pub fn unix_ms() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// Unix time in seconds.
#[must_use]
pub fn unix_secs() -> i64 {
    unix_ms() / 1_000
}
