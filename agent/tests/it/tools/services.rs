//! Services and the journal, asked of scripts that answer as systemd's own programs do and refuse any
//! other arguments.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use homing_agent::tools::{JournalTool, ServicesTool, Tool};
use serde_json::{Value, json};

use super::run;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/tools/systemd")
        .join(name)
}

async fn services(arguments: Value) -> Result<Value, String> {
    run(&ServicesTool::new(&script("systemctl")), arguments).await
}

async fn journal(arguments: Value) -> Result<Value, String> {
    run(&JournalTool::new(&script("journalctl")), arguments).await
}

#[tokio::test]
async fn services_are_listed_with_the_failed_ones_first() {
    let told = services(json!({})).await.unwrap();
    let units: Vec<&str> = told["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| unit["unit"].as_str().unwrap())
        .collect();
    assert_eq!(
        units,
        [
            "backup.service",
            "nginx.service",
            "apparmor.service",
            "cron.service",
            "fstrim.service",
            "syslog.service"
        ]
    );
    assert_eq!(
        (
            &told["total"],
            &told["failed"],
            &told["active"],
            &told["truncated"]
        ),
        (&json!(6), &json!(1), &json!(2), &json!(false))
    );
    let failed = services(json!({"only_failed": true})).await.unwrap();
    assert_eq!(
        failed["services"],
        json!([{
            "unit": "backup.service", "load": "loaded", "active": "failed", "sub": "failed",
            "description": "Nightly backup",
        }])
    );
}

#[tokio::test]
async fn one_service_is_told_with_its_result_and_without_its_environment() {
    let told = services(json!({"unit": "backup"})).await.unwrap();
    assert_eq!(
        (
            &told["ActiveState"],
            &told["Result"],
            &told["ExecMainStatus"]
        ),
        (&json!("failed"), &json!("exit-code"), &json!("2"))
    );
    assert!(told.get("CPUUsageNSec").is_none(), "{told}");
    assert!(!told.to_string().contains("secret"), "{told}");
    let error = services(json!({"unit": "gone.service"})).await.unwrap_err();
    assert!(error.contains("there is no unit gone.service"), "{error}");
}

#[tokio::test]
async fn the_journal_is_told_whatever_form_its_messages_have() {
    let told = journal(json!({})).await.unwrap();
    let lines = told["lines"].as_array().unwrap();
    let messages: Vec<&str> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "Started cron.service.",
            "grüße \u{fffd}",
            "[too long to be told]",
            "backup: disk is full"
        ]
    );
    assert_eq!(
        lines[3],
        json!({
            "time": "2025-11-20T08:00:07Z", "message": "backup: disk is full", "priority": "err",
            "unit": "backup.service", "program": "restic", "pid": "4711",
        })
    );
    let arguments = json!({"lines": 3, "unit": "backup", "since": "2h", "priority": "err"});
    let told = journal(arguments).await.unwrap();
    assert_eq!(told["lines"].as_array().unwrap().len(), 1);
    let nothing = journal(json!({"lines": 5})).await.unwrap();
    assert_eq!(nothing, json!({"lines": [], "truncated": false}));
}

#[tokio::test]
async fn a_long_journal_is_cut_at_its_old_end_and_one_without_end_is_left() {
    let told = journal(json!({"lines": 9_999})).await.unwrap();
    assert_eq!(told["truncated"], true);
    assert!(told.to_string().len() < 64 << 10);
    let last = told["lines"].as_array().unwrap().last().unwrap();
    assert!(last["message"].as_str().unwrap().starts_with("line 500 "));
    let begun = Instant::now();
    let told = journal(json!({"lines": 4})).await.unwrap();
    assert_eq!(told["truncated"], true);
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn options_in_names_and_spans_never_reach_the_program() {
    for arguments in [
        json!({"unit": "--version"}),
        json!({"unit": "-H root@host"}),
        json!({"unit": "*"}),
        json!({"unit": "a b"}),
        json!({"unit": ""}),
    ] {
        let error = services(arguments.clone()).await.unwrap_err();
        assert!(error.contains("is named by"), "{error}");
        let error = journal(arguments).await.unwrap_err();
        assert!(error.contains("is named by"), "{error}");
    }
    let error = journal(json!({"since": "1h --flush"})).await.unwrap_err();
    assert!(error.contains("a span is"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_absent_fails_or_says_nothing_is_named() {
    let nowhere = Path::new("/nowhere/systemctl");
    let error = run(&ServicesTool::new(nowhere), json!({}))
        .await
        .unwrap_err();
    assert_eq!(error, "this machine has no systemctl");
    let error = run(&JournalTool::new(nowhere), json!({}))
        .await
        .unwrap_err();
    assert_eq!(error, "this machine has no systemctl");
    let error = journal(json!({"lines": 2})).await.unwrap_err();
    assert_eq!(error, "the answer of journalctl cannot be understood");
    let error = journal(json!({"lines": 77})).await.unwrap_err();
    assert!(error.contains("journalctl failed: not expected"), "{error}");
    let silent = ServicesTool::with_patience(&script("silent"), Duration::from_millis(100));
    let error = run(&silent, json!({})).await.unwrap_err();
    assert!(error.contains("did not answer"), "{error}");
}

#[test]
fn the_journal_needs_more_than_a_look_at_the_state() {
    let tools: [&dyn Tool; 2] = [
        &ServicesTool::new(Path::new("systemctl")),
        &JournalTool::new(Path::new("journalctl")),
    ];
    assert_eq!(
        tools.map(|tool| tool.scope()),
        [Some("status.read"), Some("audit.read")]
    );
}
