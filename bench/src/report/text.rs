//! The report for people.

use std::fmt::Write as _;

use super::{Check, Metric, Report, Verdict};

impl Report {
    /// The report for people.
    pub(crate) fn text(&self, with_checks: bool) -> String {
        let mut out = format!("machine   {}\n", self.machine);
        for (system, version) in &self.versions {
            let _ = writeln!(out, "version   {system}: {version}");
        }
        for line in &self.settings {
            let _ = writeln!(out, "setting   {line}");
        }
        let _ = writeln!(out, "load      {}", self.load.join(" → "));
        if let Some(reason) = &self.suspect {
            let _ = writeln!(out, "SUSPECT   {reason}");
        }
        out.push('\n');
        let mut told: Vec<&str> = Vec::new();
        for metric in &self.metrics {
            if !told.contains(&metric.metric.as_str()) {
                told.push(&metric.metric);
                let _ = writeln!(out, "{} ({})", metric.metric, metric.unit);
                let same = |other: &&Metric| other.metric == metric.metric;
                self.metrics
                    .iter()
                    .filter(same)
                    .for_each(|metric| self.write(metric, &mut out));
            }
        }
        if with_checks {
            out.push('\n');
            self.checks.iter().for_each(|check| check.write(&mut out));
        }
        out
    }

    fn write(&self, metric: &Metric, out: &mut String) {
        let ours = self.value(&metric.metric, crate::systems::OURS);
        let ratio = ours.map(|ours| format!("   ours is {:.2} ×", ours.median / metric.median));
        let value = self.value(&metric.metric, &metric.system);
        let doubt = value
            .and_then(|value| value.doubt())
            .map(|doubt| format!("   ({doubt})"));
        let _ = writeln!(
            out,
            "  {:<46} {:>10}   spread {:.2} over {}{}{}",
            metric.system,
            number(metric.median),
            metric.spread,
            metric.values.len(),
            ratio.unwrap_or_default(),
            doubt.unwrap_or_default()
        );
    }
}

impl Check {
    fn write(&self, out: &mut String) {
        let verdict = match self.verdict {
            Verdict::Pass => "PASS",
            Verdict::Miss => "MISS",
            Verdict::Undecided => "UNDECIDED",
            Verdict::NotRun => "NOT RUN",
        };
        let _ = write!(out, "{verdict:<10} {:>2}  {}", self.row, self.what);
        if let (Some(ours), Some(against), Some(ratio)) = (self.ours, self.against, self.ratio) {
            let _ = write!(
                out,
                ": {} against {}, ratio {ratio:.2}",
                number(ours),
                number(against)
            );
        }
        if !self.goal.is_empty() {
            let _ = write!(out, "; goal: {}", self.goal);
        }
        if !self.reason.is_empty() {
            let _ = write!(out, "; {}", self.reason);
        }
        out.push('\n');
    }
}

/// Three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
