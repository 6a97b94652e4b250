//! The order of the rules.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rule(action: Action, argv: &[&str]) -> Rule {
    Rule {
        tool: "shell".into(),
        action,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        exact: false,
        arguments: [].into(),
    }
}

fn policy(rules: Vec<Rule>, tools: &[(&str, Action)]) -> Policy {
    Policy::new(PolicySettings {
        rules,
        tools: tools
            .iter()
            .map(|(name, action)| ((*name).to_owned(), *action))
            .collect(),
        ..PolicySettings::default()
    })
}

fn judge(policy: &Policy, argv: &[&str]) -> Judgement {
    policy.judge(&Call {
        tool: "shell",
        arguments: &json!({ "argv": argv }),
        effect: ToolEffect::Changes,
        own: None,
        at_least: Action::Allow,
    })
}

const DENIED: Judgement = Judgement::Refuse(Refusal::Denied);

#[test]
fn without_rules_what_reads_runs_and_what_changes_is_asked_about() {
    let policy = Policy::default();
    let call = |effect| Call {
        tool: "any",
        arguments: &serde_json::Value::Null,
        effect,
        own: None,
        at_least: Action::Allow,
    };
    assert_eq!(policy.judge(&call(ToolEffect::Reads)), Judgement::Run);
    assert_eq!(policy.judge(&call(ToolEffect::Changes)), Judgement::Ask);
    let own = Call {
        own: Some(Action::Allow),
        ..call(ToolEffect::Changes)
    };
    assert_eq!(policy.judge(&own), Judgement::Run);
}

#[test]
fn a_rule_about_arguments_opens_a_part_of_a_tool_that_is_asked_about() {
    let rules = vec![rule(Action::Allow, &["git", "status"])];
    let policy = policy(rules, &[("shell", Action::Ask)]);
    assert_eq!(judge(&policy, &["git", "status"]), Judgement::Run);
    assert_eq!(judge(&policy, &["git", "status", "-s"]), Judgement::Run);
    assert_eq!(judge(&policy, &["git", "push"]), Judgement::Ask);
    assert_eq!(judge(&policy, &["git"]), Judgement::Ask);
    assert_eq!(judge(&policy, &["git status"]), Judgement::Ask);
}

#[test]
fn deny_wins_over_ask_and_ask_over_allow_wherever_they_stand() {
    let allow = || rule(Action::Allow, &["git"]);
    let narrow = |action| rule(action, &["git", "push"]);
    let denied = policy(vec![narrow(Action::Deny), allow()], &[]);
    assert_eq!(judge(&denied, &["git", "push"]), DENIED);
    assert_eq!(judge(&denied, &["git", "log"]), Judgement::Run);
    let asked = policy(vec![allow(), narrow(Action::Ask)], &[]);
    assert_eq!(judge(&asked, &["git", "push"]), Judgement::Ask);
    let whole = policy(vec![allow()], &[("sh*", Action::Deny)]);
    assert_eq!(judge(&whole, &["git", "log"]), DENIED);
    assert!(whole.never("shell") && !whole.never("system"));
}

#[test]
fn an_exact_rule_covers_nothing_longer() {
    let exact = Rule {
        exact: true,
        ..rule(Action::Allow, &["uptime"])
    };
    let policy = policy(vec![exact], &[]);
    assert_eq!(judge(&policy, &["uptime"]), Judgement::Run);
    assert_eq!(judge(&policy, &["uptime", "-p"]), Judgement::Ask);
}

#[test]
fn a_pattern_of_an_argument_must_fit_and_a_missing_argument_fits_nothing() {
    let rule = Rule {
        tool: "write_file".into(),
        action: Action::Allow,
        argv: vec![],
        exact: false,
        arguments: [("path".to_owned(), "notes/*".to_owned())].into(),
    };
    let policy = policy(vec![rule], &[]);
    let judge = |arguments: serde_json::Value| {
        policy.judge(&Call {
            tool: "write_file",
            arguments: &arguments,
            effect: ToolEffect::Changes,
            own: None,
            at_least: Action::Allow,
        })
    };
    assert_eq!(judge(json!({"path": "notes/a.md"})), Judgement::Run);
    assert_eq!(judge(json!({"path": "other/a.md"})), Judgement::Ask);
    assert_eq!(judge(json!({"path": ["notes/a.md"]})), Judgement::Ask);
    assert_eq!(judge(json!({})), Judgement::Ask);
}

#[test]
fn a_tool_that_must_be_asked_about_is_asked_about_whatever_is_allowed() {
    let policy = policy(vec![], &[("*", Action::Allow)]);
    let call = Call {
        tool: "shell",
        arguments: &json!({"command": "true"}),
        effect: ToolEffect::Changes,
        own: Some(Action::Allow),
        at_least: Action::Ask,
    };
    assert_eq!(policy.judge(&call), Judgement::Ask);
}

#[test]
fn a_rule_that_looks_at_nothing_and_minutes_out_of_range_are_refused() {
    let empty = PolicySettings {
        rules: vec![rule(Action::Allow, &[])],
        ..PolicySettings::default()
    };
    assert!(empty.check().unwrap_err().contains("policy.tools"));
    let long = PolicySettings {
        approval_minutes: 1_441,
        ..PolicySettings::default()
    };
    assert!(long.check().is_err());
    assert!(PolicySettings::default().check().is_ok());
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Ask), Just(Action::Deny)]
}

proptest! {
    #[test]
    fn in_read_only_mode_nothing_that_changes_runs_or_is_asked_about_whatever_the_rules_say(
        tools in proptest::collection::btree_map("[a-z*]{0,6}", any_action(), 0..6),
        actions in proptest::collection::vec(any_action(), 0..4),
        own in proptest::option::of(any_action()),
        at_least in any_action(),
    ) {
        let settings = PolicySettings {
            read_only: true,
            tools,
            rules: actions.into_iter().map(|action| rule(action, &["git"])).collect(),
            ..PolicySettings::default()
        };
        let judgement = Policy::new(settings).judge(&Call {
            tool: "shell",
            arguments: &json!({"argv": ["git"]}),
            effect: ToolEffect::Changes,
            own,
            at_least,
        });
        prop_assert_eq!(judgement, Judgement::Refuse(Refusal::ReadOnly));
    }
}
