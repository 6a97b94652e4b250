//! Before a tool call: never looser than the policy, and the strictest hook decides.

use homing_agent::hooks::{OnFailure, Point};
use homing_agent::policy::Action;
use serde_json::json;

use super::{Programs, agent, agent_with, made, touch, turn};
use crate::rig::{Rig, Ws, post};
use crate::scripted::{Script, calls, says};

const BEFORE: Point = Point::BeforeToolCall;

async fn answer(rig: &Rig, ws: &mut Ws, how: &str) -> serde_json::Value {
    let question = ws.wait_for("approval_required").await;
    let path = format!("/api/approvals/{}/{how}", question["id"]);
    let answered = rig.call(&rig.network.owner(), post(&path, "")).await;
    assert!(answered.status.is_success(), "{}", answered.json());
    question
}

#[tokio::test]
async fn a_hook_denies_what_the_policy_allows_and_is_on_record_with_its_name() {
    let programs = Programs::new();
    let by_code = programs.hook(BEFORE, "guard", "echo 'no touching' >&2; exit 2");
    let word = r#"echo '{"decision":"deny","reason":"no \u001b[2Jtouching"}'"#;
    let by_word = programs.hook(BEFORE, "guard-too", word);
    for (hook, name) in [(by_code, "guard"), (by_word, "guard-too")] {
        let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
        let rig = agent(&script, vec![hook]).await;
        let frames = turn(&rig).await;
        assert_eq!(frames.last().unwrap()["reason"], "done");
        assert!(!made(&rig, "mark"));
        let told = script.told();
        let words = format!("the hook {name} refuses this: no ");
        assert!(
            told[0].contains(&words) && told[0].contains("touching"),
            "{told:?}"
        );
        assert!(!told[0].contains('\u{1b}'));
        let lines = rig.audit_lines().await;
        let line = lines
            .iter()
            .find(|line| line["kind"] == "tool_call")
            .unwrap();
        assert_eq!(
            (&line["decision"], &line["detail"]["hook"]),
            (&json!("refused"), &json!(name))
        );
    }
}

#[tokio::test]
async fn a_hook_has_a_person_asked_about_what_the_policy_allows() {
    let programs = Programs::new();
    let asks = r#"echo '{"decision":"ask","reason":"touches things"}'"#;
    let hook = programs.hook(BEFORE, "guard", asks);
    for (how, runs) in [("approve", true), ("deny", false)] {
        let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
        let rig = agent(&script, vec![hook.clone()]).await;
        let mut ws = rig.ws(&rig.network.owner()).await;
        ws.say("s", "make a mark").await;
        let question = answer(&rig, &mut ws, how).await;
        let summary = question["summary"].as_str().unwrap();
        assert_eq!(summary, "run touch mark [guard: touches things]");
        ws.wait_for("turn_complete").await;
        assert_eq!(made(&rig, "mark"), runs, "{how}");
    }
}

#[tokio::test]
async fn a_hook_that_passes_loosens_nothing() {
    let programs = Programs::new();
    for (action, asked) in [(Action::Deny, false), (Action::Ask, true)] {
        let hook = programs.hook(BEFORE, "kind", r#"echo '{"decision":"pass"}'"#);
        let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
        let rig = agent_with(&script, vec![hook], |settings| {
            settings.policy.tools = [("shell".to_owned(), action)].into();
        })
        .await;
        let mut ws = rig.ws(&rig.network.owner()).await;
        ws.say("s", "make a mark").await;
        if asked {
            answer(&rig, &mut ws, "deny").await;
        }
        ws.wait_for("turn_complete").await;
        assert!(!made(&rig, "mark"));
        assert!(script.told()[0].contains("error"), "{:?}", script.told());
    }
    // Nobody can say yes to what is not there to be said.
    let hook = programs.hook(BEFORE, "kind", r#"echo '{"decision":"allow"}'"#);
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent(&script, vec![hook]).await;
    turn(&rig).await;
    assert!(!made(&rig, "mark"));
}

#[tokio::test]
async fn a_hook_is_asked_again_before_an_approved_call_runs_and_its_no_wins() {
    let programs = Programs::new();
    let body = "if [ -e $dir/again ]; then echo 'not now' >&2; exit 2; fi\ntouch $dir/again";
    let hook = programs.hook(BEFORE, "guard", body);
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent_with(&script, vec![hook], |settings| {
        settings.policy.tools = [("shell".to_owned(), Action::Ask)].into();
    })
    .await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "make a mark").await;
    answer(&rig, &mut ws, "approve").await;
    ws.wait_for("turn_complete").await;
    assert!(!made(&rig, "mark"));
    assert!(script.told()[0].contains("not now"), "{:?}", script.told());
}

#[tokio::test]
async fn several_hooks_are_asked_in_order_and_the_strictest_answer_wins() {
    let programs = Programs::new();
    let note = |name: &str, rest: &str| {
        let body = format!("echo {name} >> $dir/order\n{rest}");
        programs.hook(BEFORE, name, &body)
    };
    let hooks = vec![
        note("one", ""),
        note("two", r#"echo '{"decision":"ask"}'"#),
        note("three", "echo 'three says no' >&2; exit 2"),
        note("four", "exit 2"),
    ];
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent(&script, hooks).await;
    turn(&rig).await;
    assert!(!made(&rig, "mark"));
    assert!(script.told()[0].contains("three says no"));
    let order = std::fs::read_to_string(programs.path("order")).unwrap();
    assert_eq!(order, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_hook_is_asked_only_about_the_tools_that_it_names() {
    let programs = Programs::new();
    let mut hook = programs.hook(BEFORE, "guard", "exit 2");
    hook.tools = vec!["mcp_*".into(), "sh*l".into()];
    let script = Script::new(vec![
        calls(&[touch("mark"), ("whoami", json!({}))]),
        says("done"),
    ]);
    let rig = agent(&script, vec![hook]).await;
    turn(&rig).await;
    let told = script.told();
    assert!(
        told[0].contains("refuses") && told[1].contains("owner"),
        "{told:?}"
    );
}

#[tokio::test]
async fn hooks_that_are_changed_hold_from_the_next_call_on() {
    let programs = Programs::new();
    let script = Script::new(vec![
        calls(&[touch("one")]),
        says("done"),
        calls(&[touch("two")]),
        says("done"),
    ]);
    let rig = agent(&script, vec![]).await;
    turn(&rig).await;
    let mut live = crate::config::live(&rig.state.settings);
    live.hooks = vec![programs.hook(BEFORE, "guard", "exit 2")];
    rig.state.apply(live);
    turn(&rig).await;
    assert!(made(&rig, "one") && !made(&rig, "two"));
}

#[tokio::test]
async fn a_hook_that_fails_counts_as_a_no_unless_its_owner_said_otherwise() {
    let programs = Programs::new();
    let missing = {
        let mut hook = programs.hook(BEFORE, "gone", "");
        hook.command = vec![programs.path("nothing").display().to_string()];
        hook
    };
    let mut slow = programs.hook(BEFORE, "slow", "sleep 1000");
    slow.timeout_seconds = 1;
    let faults = [
        programs.hook(BEFORE, "crash", "exit 1"),
        programs.hook(BEFORE, "killed", "kill -9 $$"),
        programs.hook(BEFORE, "garbage", "echo yes"),
        programs.hook(BEFORE, "no-text", r"printf '\377\376'"),
        programs.hook(BEFORE, "long", "head -c 10000000 /dev/zero | tr '\\0' ' '"),
        programs.hook(
            BEFORE,
            "arguments",
            r#"echo '{"arguments":{"argv":["true"]}}'"#,
        ),
        missing,
        slow,
    ];
    for hook in faults {
        for on_failure in [OnFailure::Deny, OnFailure::Pass] {
            let mut hook = hook.clone();
            hook.on_failure = Some(on_failure);
            let name = hook.command[0].clone();
            let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
            let rig = agent(&script, vec![hook]).await;
            turn(&rig).await;
            let passes = on_failure == OnFailure::Pass;
            assert_eq!(made(&rig, "mark"), passes, "{name} {on_failure:?}");
            let told = script.told();
            assert_eq!(
                told[0].contains("no answer that counts"),
                !passes,
                "{told:?}"
            );
        }
    }
}
