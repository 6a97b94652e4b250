//! Numbers out of samples: percentiles of one round, medians and spread over the rounds.

use std::time::Duration;

/// Durations of single operations, in the order in which they were taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn first(&self) -> Option<Duration> {
        self.0.first().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The percentile in microseconds, by nearest rank; NaN without samples.
    pub(crate) fn micros(&self, percentile: f64) -> f64 {
        let mut sorted: Vec<f64> = self.0.iter().map(|d| d.as_secs_f64() * 1e6).collect();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, percentile / 100.0)
    }
}

/// The middle value; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    at(values, 0.5)
}

/// The value below which `part` of all lie.
pub(crate) fn at(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if part == 0.5 && !sorted.is_empty() && sorted.len().is_multiple_of(2) {
        let upper = sorted.len() / 2;
        return sorted[upper - 1].midpoint(sorted[upper]);
    }
    quantile(&sorted, part)
}

/// Largest over smallest: how far the rounds disagree.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low > 0.0 { high / low } else { f64::NAN }
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_by_nearest_rank() {
        let mut samples = Samples::default();
        for micros in (1..=200).rev() {
            samples.push(Duration::from_micros(micros));
        }
        assert_eq!(samples.micros(50.0).round(), 100.0);
        assert_eq!(samples.micros(99.0).round(), 198.0);
        assert_eq!(samples.micros(100.0).round(), 200.0);
        assert!(Samples::default().micros(50.0).is_nan());
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_spread_is_the_largest_over_the_smallest() {
        assert_eq!(spread(&[2.0, 3.0, 1.0]), 3.0);
    }
}
