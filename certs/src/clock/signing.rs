//! A signer's guard against its own clock.

use std::time::Duration;

use super::Anchor;
use crate::ids::UnixTime;

/// How far the wall clock may depart from the monotonic clock, or go back behind what was signed.
pub const MAX_SIGNING_DEPARTURE_SECS: u64 = 300;

/// Why nothing is signed until somebody confirms the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningClockError {
    /// The wall clock has jumped while this process ran.
    #[error("the clock says {wall}, {expected} was expected")]
    Jumped {
        /// The wall clock.
        wall: UnixTime,
        /// What it should say by the monotonic clock.
        expected: UnixTime,
    },
    /// The wall clock lies before what was already signed.
    #[error("the clock says {wall}, but something was signed at {last_signed}")]
    BehindLastSigned {
        /// The wall clock.
        wall: UnixTime,
        /// The newest time that was signed.
        last_signed: UnixTime,
    },
}

/// Decides whether a signer may put the wall clock's time under its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningClock {
    anchor: Anchor,
    last_signed: UnixTime,
}

impl SigningClock {
    /// Starts from the newest time that was signed (0 for none) and the clocks as they are.
    pub fn new(last_signed: UnixTime, wall: UnixTime, monotonic: Duration) -> Self {
        Self {
            anchor: Anchor {
                time: wall,
                monotonic,
            },
            last_signed,
        }
    }

    /// The time to sign with. Never before one that was already signed.
    pub fn time(&self, wall: UnixTime, monotonic: Duration) -> Result<UnixTime, SigningClockError> {
        let expected = self.anchor.at(monotonic);
        if wall.0.abs_diff(expected.0) > MAX_SIGNING_DEPARTURE_SECS {
            return Err(SigningClockError::Jumped { wall, expected });
        }
        let last_signed = self.last_signed;
        if last_signed.seconds_since(wall) > MAX_SIGNING_DEPARTURE_SECS {
            return Err(SigningClockError::BehindLastSigned { wall, last_signed });
        }
        Ok(wall.max(last_signed))
    }

    /// Remembers a time that was signed.
    pub fn signed(&mut self, time: UnixTime) {
        self.last_signed = self.last_signed.max(time);
    }

    /// The newest time that was signed.
    pub fn last_signed(&self) -> UnixTime {
        self.last_signed
    }

    /// Somebody has looked and says that the wall clock is right.
    pub fn confirm(&mut self, wall: UnixTime, monotonic: Duration) {
        *self = Self::new(self.last_signed.min(wall), wall, monotonic);
    }
}
