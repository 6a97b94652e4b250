//! The bench itself, on the rows that need no other program. Speed is not judged here.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::process::Command;

use serde_json::Value;

fn bench(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_homing-bench"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_quick_run_measures_every_prototype_and_leaves_no_process_behind() {
    let temp = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_homing-bench"))
        .args(["--only", "mapping", "--quick", "--rounds", "1", "--json"])
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let metrics = report["metrics"].as_array().unwrap();
    for system in ["direct TCP", "opaque splice", "c without its guard"] {
        for unit in ["µs", "requests/s", "MiB/s"] {
            let measured = metrics.iter().find(|metric| {
                metric["system"] == system
                    && metric["unit"] == unit
                    && metric["median"].as_f64() > Some(0.0)
            });
            assert!(measured.is_some(), "no {unit} of {system}");
        }
    }
    let folder = temp.path().to_string_lossy().into_owned();
    let left: Vec<String> = command_lines()
        .filter(|line| line.contains(&folder))
        .collect();
    assert!(left.is_empty(), "processes that were left behind: {left:?}");
    assert_eq!(
        std::fs::read_dir(temp.path()).unwrap().count(),
        0,
        "files that were left behind"
    );
}

fn command_lines() -> impl Iterator<Item = String> {
    let processes = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
}

/// The host's program is built beside this one by whoever tests the whole workspace.
#[test]
fn a_quick_run_measures_conversations_with_a_model_and_a_verdict_for_each() {
    let rows = "first-token,streams,replay,turn-cost,commits";
    let output = bench(&["--only", rows, "--quick", "--rounds", "1", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    for row in 20..=24 {
        let own: Vec<&Value> = checks.iter().filter(|check| check["row"] == row).collect();
        assert!(!own.is_empty(), "no verdict of row {row}");
        let measured = own.iter().all(|check| check["verdict"] != "NOT_RUN");
        assert!(measured, "row {row}: {own:?}");
    }
    for metric in report["metrics"].as_array().unwrap() {
        let positive = metric["median"].as_f64() > Some(0.0);
        // Ten short turns may cost less than the ticks in which the kernel counts.
        assert!(
            positive || metric["metric"].as_str().unwrap().starts_with("CPU"),
            "{metric}"
        );
    }
}

#[test]
fn a_row_that_cannot_run_is_reported_with_its_reason() {
    let args = [
        "--only",
        "binary",
        "--quick",
        "--rounds",
        "1",
        "--check",
        "--homing",
        "/nowhere/homing",
    ];
    let output = bench(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("NOT RUN    19"), "{text}");
    assert!(text.contains("/nowhere/homing is not there"), "{text}");
}

#[test]
fn a_row_that_does_not_exist_is_refused_with_the_list() {
    let output = bench(&["--only", "speed"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("throughput"),
        "{output:?}"
    );
}
