//! What was measured and what was asked of it, as a table or a JSON document.

use serde::Serialize;

use crate::calm;
use crate::rows::Row;
use crate::stats;

#[cfg(test)]
mod tests;
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
    /// Cores that others used while the value was measured that is added next.
    #[serde(skip)]
    pub(crate) foreign: f64,
    /// Why no comparison of this run can be believed.
    pub(crate) suspect: Option<String>,
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
    /// Cores that others used meanwhile.
    pub(crate) foreign: Vec<f64>,
}

/// A quantity over all rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) median: f64,
    /// Rounds that others disturbed.
    pub(crate) disturbed: usize,
    pub(crate) rounds: usize,
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

impl Value {
    /// A value that no other work can change.
    pub(crate) fn of(median: f64) -> Self {
        Self {
            median,
            disturbed: 0,
            rounds: 1,
        }
    }

    /// This and another, one after the other.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            median: self.median + other.median,
            disturbed: self.disturbed + other.disturbed,
            rounds: self.rounds + other.rounds,
        }
    }

    pub(crate) fn doubt(&self) -> Option<String> {
        let (disturbed, rounds) = (self.disturbed, self.rounds);
        (disturbed > 0).then(|| format!("other work disturbed {disturbed} of {rounds} windows"))
    }
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
            known.foreign.push(self.foreign);
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
            foreign: vec![self.foreign],
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

    pub(crate) fn value(&self, metric: &str, system: &str) -> Option<Value> {
        let known = self
            .metrics
            .iter()
            .find(|known| known.metric == metric && known.system == system)?;
        let disturbed = known
            .foreign
            .iter()
            .filter(|foreign| !calm::is_calm(**foreign))
            .count();
        Some(Value {
            median: known.median,
            disturbed,
            rounds: known.values.len(),
        })
    }

    /// Holds ours against what a rival did in the same run. Differences within the noise decide nothing,
    /// and neither do windows that others disturbed.
    pub(crate) fn compare(
        &mut self,
        row: Row,
        what: &str,
        ours: Value,
        rival: &str,
        theirs: Value,
        goal: Goal,
    ) {
        let ratio = ours.median / theirs.median;
        let (words, factor, met) = match goal {
            Goal::AtMost(factor) => ("at most", factor, ratio <= factor),
            Goal::AtLeast(factor) => ("at least", factor, ratio >= factor),
        };
        let distance = (ratio / factor).max(factor / ratio);
        let doubt = self
            .suspect
            .clone()
            .or_else(|| ours.doubt())
            .or_else(|| theirs.doubt());
        let verdict = match met {
            _ if !distance.is_finite() => Verdict::NotRun,
            _ if doubt.is_some() || distance < NOISE => Verdict::Undecided,
            true => Verdict::Pass,
            false => Verdict::Miss,
        };
        let goal = format!("{words} {factor} × {rival}");
        let pair = Some((ours.median, theirs.median));
        self.push(row, what, pair, goal, verdict, doubt.unwrap_or_default());
    }

    /// Holds ours against a fixed bound. Other work makes things slower, so that what is within the
    /// bound beside it stands.
    pub(crate) fn bound(&mut self, row: Row, what: &str, ours: Value, bound: f64, unit: &str) {
        let doubt = ours.doubt();
        let verdict = match ours.median < bound {
            true => Verdict::Pass,
            false if doubt.is_some() => Verdict::Undecided,
            false => Verdict::Miss,
        };
        let goal = format!("below {bound} {unit}");
        self.push(
            row,
            what,
            Some((ours.median, bound)),
            goal,
            verdict,
            doubt.unwrap_or_default(),
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
