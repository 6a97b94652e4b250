//! What was measured and what was asked of it, as a table or a JSON document.

use serde::Serialize;

use crate::rows::Row;
use crate::stats;

mod text;

/// Differences to a rival below this are within what the rounds disagree by.
const NOISE: f64 = 1.15;

/// One run of the bench.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) settings: Vec<String>,
    /// Load averages before and after.
    pub(crate) load: Vec<String>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) checks: Vec<Check>,
}

/// One quantity of one system, a value per round.
#[derive(Debug, Serialize)]
pub(crate) struct Metric {
    pub(crate) metric: String,
    pub(crate) system: String,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) median: f64,
    pub(crate) spread: f64,
}

/// A quantity held against its goal.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) row: u8,
    pub(crate) what: String,
    pub(crate) ours: Option<f64>,
    pub(crate) against: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: String,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Verdict {
    Pass,
    Miss,
    Undecided,
    NotRun,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Ours may be at most this multiple of the other.
    AtMost(f64),
    /// Ours must be at least this multiple of the other.
    AtLeast(f64),
}

impl Report {
    /// Adds the value of one round.
    pub(crate) fn add(&mut self, metric: &str, unit: &'static str, system: &str, value: f64) {
        let known = self
            .metrics
            .iter_mut()
            .find(|known| known.metric == metric && known.system == system);
        if let Some(known) = known {
            known.values.push(value);
            known.median = stats::median(&known.values);
            known.spread = stats::spread(&known.values);
            return;
        }
        let (metric, system) = (metric.to_owned(), system.to_owned());
        self.metrics.push(Metric {
            metric,
            system,
            unit,
            values: vec![value],
            median: value,
            spread: 1.0,
        });
    }

    /// The values of a quantity, a round each.
    pub(crate) fn values(&self, metric: &str, system: &str) -> &[f64] {
        let known = self
            .metrics
            .iter()
            .find(|known| known.metric == metric && known.system == system);
        known.map_or(&[], |known| &known.values)
    }

    pub(crate) fn median(&self, metric: &str, system: &str) -> Option<f64> {
        let values = self.values(metric, system);
        (!values.is_empty()).then(|| stats::median(values))
    }

    /// Holds ours against what a rival did in the same run. Differences within the noise decide nothing.
    pub(crate) fn compare(
        &mut self,
        row: Row,
        what: &str,
        ours: f64,
        rival: &str,
        theirs: f64,
        goal: Goal,
    ) {
        let ratio = ours / theirs;
        let (words, factor, met) = match goal {
            Goal::AtMost(factor) => ("at most", factor, ratio <= factor),
            Goal::AtLeast(factor) => ("at least", factor, ratio >= factor),
        };
        let distance = (ratio / factor).max(factor / ratio);
        let verdict = match met {
            _ if !distance.is_finite() => Verdict::NotRun,
            _ if distance < NOISE => Verdict::Undecided,
            true => Verdict::Pass,
            false => Verdict::Miss,
        };
        let goal = format!("{words} {factor} × {rival}");
        self.push(
            row,
            what,
            Some((ours, theirs)),
            goal,
            verdict,
            String::new(),
        );
    }

    /// Holds ours against a fixed bound.
    pub(crate) fn bound(&mut self, row: Row, what: &str, ours: f64, bound: f64, unit: &str) {
        let verdict = if ours < bound {
            Verdict::Pass
        } else {
            Verdict::Miss
        };
        self.push(
            row,
            what,
            Some((ours, bound)),
            format!("below {bound} {unit}"),
            verdict,
            String::new(),
        );
    }

    /// Records a verdict that a row came to by itself.
    pub(crate) fn verdict(&mut self, row: Row, what: &str, goal: &str, met: bool, reason: String) {
        let verdict = if met { Verdict::Pass } else { Verdict::Miss };
        self.push(row, what, None, goal.to_owned(), verdict, reason);
    }

    pub(crate) fn undecided(&mut self, row: Row, what: &str, goal: &str, reason: String) {
        self.push(row, what, None, goal.to_owned(), Verdict::Undecided, reason);
    }

    pub(crate) fn not_run(&mut self, row: Row, what: &str, reason: String) {
        self.push(row, what, None, String::new(), Verdict::NotRun, reason);
    }

    pub(crate) fn missed(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.verdict == Verdict::Miss)
    }

    fn push(
        &mut self,
        row: Row,
        what: &str,
        pair: Option<(f64, f64)>,
        goal: String,
        verdict: Verdict,
        reason: String,
    ) {
        self.checks.push(Check {
            row: row.number(),
            what: what.to_owned(),
            ours: pair.map(|(ours, _)| ours),
            against: pair.map(|(_, against)| against),
            ratio: pair.map(|(ours, against)| ours / against),
            goal,
            verdict,
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ours: f64, theirs: f64, goal: Goal) -> Verdict {
        let mut report = Report::default();
        report.compare(Row::Get, "x", ours, "them", theirs, goal);
        report.checks[0].verdict
    }

    #[test]
    fn a_rival_is_beaten_or_not_only_beyond_the_noise() {
        assert_eq!(verdict(80.0, 100.0, Goal::AtMost(1.0)), Verdict::Pass);
        assert_eq!(verdict(95.0, 100.0, Goal::AtMost(1.0)), Verdict::Undecided);
        assert_eq!(verdict(105.0, 100.0, Goal::AtMost(1.0)), Verdict::Undecided);
        assert_eq!(verdict(120.0, 100.0, Goal::AtMost(1.0)), Verdict::Miss);
        assert_eq!(verdict(120.0, 100.0, Goal::AtMost(1.5)), Verdict::Pass);
        assert_eq!(verdict(300.0, 100.0, Goal::AtLeast(2.0)), Verdict::Pass);
        assert_eq!(verdict(150.0, 100.0, Goal::AtLeast(2.0)), Verdict::Miss);
        assert_eq!(verdict(150.0, 0.0, Goal::AtLeast(2.0)), Verdict::NotRun);
    }

    #[test]
    fn a_fixed_bound_is_met_or_missed_and_a_miss_is_told() {
        let mut report = Report::default();
        report.bound(Row::Idle, "x", 59.0, 60.0, "MiB");
        assert!(!report.missed());
        report.bound(Row::Idle, "x", 60.0, 60.0, "MiB");
        assert!(report.missed());
        assert!(report.text(true).contains("MISS"));
    }

    #[test]
    fn values_of_rounds_are_gathered_under_one_name() {
        let mut report = Report::default();
        for value in [3.0, 1.0, 2.0] {
            report.add("p50", "µs", "ours", value);
        }
        assert_eq!(report.median("p50", "ours"), Some(2.0));
        assert_eq!(report.metrics.len(), 1);
        assert_eq!(report.median("p50", "theirs"), None);
    }
}
