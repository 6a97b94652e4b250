//! Verdicts, and what leaves one open.

use super::*;

fn verdict(ours: f64, theirs: f64, goal: Goal) -> Verdict {
    let mut report = Report::default();
    report.compare(
        Row::Get,
        "x",
        Value::of(ours),
        "them",
        Value::of(theirs),
        goal,
    );
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
    report.bound(Row::Idle, "x", Value::of(59.0), 60.0, "MiB");
    assert!(!report.missed());
    report.bound(Row::Idle, "x", Value::of(60.0), 60.0, "MiB");
    assert!(report.missed());
    assert!(report.text(true).contains("MISS"));
}

#[test]
fn a_disturbed_window_decides_no_comparison_and_excuses_no_bound_that_is_met() {
    let disturbed = |median| Value {
        median,
        disturbed: 1,
        rounds: 3,
    };
    let mut report = Report::default();
    report.compare(
        Row::Get,
        "x",
        disturbed(10.0),
        "them",
        Value::of(100.0),
        Goal::AtMost(1.0),
    );
    report.compare(
        Row::Get,
        "x",
        Value::of(900.0),
        "them",
        disturbed(100.0),
        Goal::AtMost(1.0),
    );
    report.bound(Row::Idle, "x", disturbed(61.0), 60.0, "ms");
    report.bound(Row::Idle, "x", disturbed(59.0), 60.0, "ms");
    let verdicts: Vec<Verdict> = report.checks.iter().map(|check| check.verdict).collect();
    let undecided = Verdict::Undecided;
    assert_eq!(verdicts, [undecided, undecided, undecided, Verdict::Pass]);
    assert!(
        report.checks[0].reason.contains("1 of 3"),
        "{}",
        report.checks[0].reason
    );
}

#[test]
fn nothing_is_compared_in_a_run_that_cannot_be_believed() {
    let mut report = Report {
        suspect: Some("faster than light".to_owned()),
        ..Report::default()
    };
    report.compare(
        Row::Get,
        "x",
        Value::of(1.0),
        "them",
        Value::of(9.0),
        Goal::AtMost(1.0),
    );
    assert_eq!(report.checks[0].verdict, Verdict::Undecided);
}

#[test]
fn values_of_rounds_are_gathered_under_one_name_with_what_disturbed_them() {
    let mut report = Report::default();
    for (value, foreign) in [(3.0, 0.0), (1.0, 0.9), (2.0, 0.0)] {
        report.foreign = foreign;
        report.add("p50", "µs", "ours", value);
    }
    let value = report.value("p50", "ours").unwrap();
    assert_eq!((value.median, value.disturbed, value.rounds), (2.0, 1, 3));
    assert_eq!(report.metrics.len(), 1);
    assert!(report.value("p50", "theirs").is_none());
}
