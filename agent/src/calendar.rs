//! Days and months of the calendar in UTC, as far as budgets and reports need them. Pure.

/// A day, counted from 1970-01-01 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

/// Milliseconds of a day; leap seconds are not counted in Unix time.
const DAY_MS: i64 = 86_400_000;

impl Day {
    /// The day of a moment in Unix milliseconds.
    #[must_use]
    pub fn of(unix_ms: i64) -> Self {
        Self(unix_ms.div_euclid(DAY_MS))
    }

    /// The first day of its month.
    #[must_use]
    pub fn month_start(self) -> Self {
        let (_, _, day) = self.civil();
        Self(self.0 - i64::from(day) + 1)
    }

    /// `2026-11-20`.
    #[must_use]
    pub fn text(self) -> String {
        let (year, month, day) = self.civil();
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `2026-11`.
    #[must_use]
    pub fn month_text(self) -> String {
        let (year, month, _) = self.civil();
        format!("{year:04}-{month:02}")
    }

    /// Year, month and day of the proleptic Gregorian calendar (Howard Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
    fn civil(self) -> (i64, u8, u8) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |value: i64| u8::try_from(value).unwrap_or_default();
        (year, small(month), small(day))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar_also_around_leap_days_and_before_1970() {
        for (seconds, day, start) in [
            (0, "1970-01-01", "1970-01-01"),
            (-1, "1969-12-31", "1969-12-01"),
            (951_782_400, "2000-02-29", "2000-02-01"),
            (1_709_164_800, "2024-02-29", "2024-02-01"),
            (1_709_251_199, "2024-02-29", "2024-02-01"),
            (1_709_251_200, "2024-03-01", "2024-03-01"),
            (1_795_132_799, "2026-11-19", "2026-11-01"),
            (4_107_542_400, "2100-03-01", "2100-03-01"),
        ] {
            let found = Day::of(seconds * 1_000);
            assert_eq!(found.text(), day, "{seconds}");
            assert_eq!(found.month_start().text(), start, "{seconds}");
            assert_eq!(found.month_text(), day[..7], "{seconds}");
        }
    }

    #[test]
    fn the_day_changes_with_the_last_millisecond() {
        assert_eq!(Day::of(86_399_999), Day(0));
        assert_eq!(Day::of(86_400_000), Day(1));
        assert_eq!(Day::of(-1), Day(-1));
    }
}
