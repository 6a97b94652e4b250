use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::confine::Collected;

fn ended(on: Point, code: i32, stdout: &str, stderr: &str) -> Result<Reply, HookError> {
    let collected = |text: &str| Collected {
        text: text.to_owned(),
        truncated: false,
        total: text.len() as u64,
    };
    let finished = Finished {
        status: ExitStatus::from_raw(code << 8),
        stdout: collected(stdout),
        stderr: collected(stderr),
    };
    of(on, finished)
}

fn said(on: Point, stdout: &str) -> Result<Reply, HookError> {
    ended(on, 0, stdout, "")
}

#[test]
fn saying_nothing_passes_and_a_document_says_what_it_says() {
    let call = Point::BeforeToolCall;
    assert_eq!(said(call, " \n").unwrap().ruling(), Ruling::Pass);
    assert_eq!(said(call, "{}").unwrap().ruling(), Ruling::Pass);
    let asks = said(call, r#"{"decision":"ask","reason":"why"}"#).unwrap();
    assert_eq!(asks.ruling(), Ruling::Ask("why".into()));
    let start = said(Point::BeforeAgentStart, r#"{"context":"be kind"}"#).unwrap();
    let context = Some("be kind".to_owned());
    assert_eq!(start.start(), Start::Go { context });
    let kept = said(
        Point::ToolResultPersist,
        r#"{"decision":"pass","result":""}"#,
    )
    .unwrap();
    assert_eq!(kept.keeping(), Keeping::Replace(String::new()));
    let wish = said(Point::BeforeCompaction, r#"{"context":"names"}"#).unwrap();
    assert_eq!(wish.wish().as_deref(), Some("names"));
}

#[test]
fn exit_code_two_denies_with_the_first_line_of_what_it_complains_and_others_are_failures() {
    let call = Point::BeforeToolCall;
    let denied = ended(call, 2, "{not read", "too risky\nmore").unwrap();
    assert_eq!(denied.ruling(), Ruling::Deny("too risky".into()));
    let withheld = ended(Point::ToolResultPersist, 2, "", "secret").unwrap();
    assert_eq!(withheld.keeping(), Keeping::Withhold("secret".into()));
    let error = ended(call, 1, r#"{"decision":"pass"}"#, "broken").unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    assert!(ended(Point::AgentEnd, 2, "", "no").is_err());
}

#[test]
fn what_has_no_place_at_a_point_is_no_answer() {
    for (on, text) in [
        (Point::BeforeToolCall, "yes"),
        (Point::BeforeToolCall, r#"{"decision":"allow"}"#),
        (
            Point::BeforeToolCall,
            r#"{"decision":"pass","arguments":{}}"#,
        ),
        (Point::BeforeToolCall, r#"{"decision":"pass"} {}"#),
        (Point::BeforeToolCall, r#"{"context":"x"}"#),
        (Point::BeforeToolCall, r#"{"result":"x"}"#),
        (Point::BeforeToolCall, "[]"),
        (Point::BeforeAgentStart, r#"{"decision":"ask"}"#),
        (Point::ToolResultPersist, r#"{"decision":"ask"}"#),
        (Point::ToolResultPersist, r#"{"result":{"a":1}}"#),
        (Point::BeforeCompaction, r#"{"decision":"deny"}"#),
        (Point::AfterToolCall, r#"{"decision":"deny"}"#),
        (Point::AgentEnd, r#"{"context":"x"}"#),
    ] {
        assert!(said(on, text).is_err(), "{on:?} {text}");
    }
}
