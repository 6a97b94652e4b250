//! The time that the owner of this host has vouched for, after its clock was wrong.
//!
//! Documents that were signed while the clock was ahead stay in the store, and each start would take
//! their times for the truth until the real time catches up.

use std::io;
use std::path::Path;

use homing_certs::{MAX_FLOOR_JUMP_SECS, TrustState, UnixTime};

use crate::denied::replace;

const FILE: &str = "time-confirmed";

/// Remembers for the next starts that it was `time`.
///
/// # Errors
/// The file cannot be written.
pub fn write(dir: &Path, time: UnixTime) -> io::Result<()> {
    replace(&dir.join(FILE), format!("{}\n", time.0).as_bytes())
}

/// The limit of signed times that are believed: the confirmed time, and the wall clock since.
/// `None` when nobody has ever had to confirm one.
pub(crate) fn read(dir: &Path, wall: UnixTime) -> io::Result<Option<UnixTime>> {
    let text = match std::fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let confirmed = text.trim().parse().map_err(io::Error::other)?;
    Ok(Some(wall.max(UnixTime(confirmed))))
}

/// State and floor as they are believed under this limit.
pub(crate) fn limited(
    state: TrustState,
    floor: UnixTime,
    limit: Option<UnixTime>,
) -> (TrustState, UnixTime) {
    match limit {
        Some(limit) if floor > limit.saturating_add(MAX_FLOOR_JUMP_SECS) => {
            (state.without_times_after(limit), limit)
        }
        _ => (state, floor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_confirmed_time_reads_back_and_the_wall_clock_goes_on_from_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), UnixTime(7)).unwrap(), None);
        write(dir.path(), UnixTime(100)).unwrap();
        assert_eq!(read(dir.path(), UnixTime(7)).unwrap(), Some(UnixTime(100)));
        assert_eq!(
            read(dir.path(), UnixTime(200)).unwrap(),
            Some(UnixTime(200))
        );
        std::fs::write(dir.path().join(FILE), "tomorrow").unwrap();
        assert!(read(dir.path(), UnixTime(7)).is_err());
    }
}
