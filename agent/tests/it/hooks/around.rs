//! What hooks are told around a turn, and what they add to it or refuse.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use homing_agent::hooks::{
    AgentEnd, AgentStart, Answering, CompactionBegins, CompactionDone, Hook, Keeping, OnFailure,
    Point, Ruling, Start, ToolCalling, ToolEnded,
};
use homing_agent::turn::Said;
use serde_json::{Value, json};

use super::{Programs, agent, agent_with, ask, made, reason, touch, turn};
use crate::rig::Rig;
use crate::scripted::{Script, calls, says};

#[tokio::test]
async fn every_point_of_a_turn_is_told_with_its_document() {
    let programs = Programs::new();
    let points = [
        Point::BeforeAgentStart,
        Point::BeforeToolCall,
        Point::ToolResultPersist,
        Point::AfterToolCall,
        Point::AgentEnd,
    ];
    let hooks = points.map(|on| programs.noting(on)).to_vec();
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent(&script, hooks).await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ask(&mut ws, "go on").await;
    let mut seen = programs.seen(5).await;
    let place = |document: &Value| {
        let session = document["session"] == "s" && document["user"] == "owner";
        let device = document["device"] == owner.id().to_string();
        session && device && document["turn_id"] == 1 && document["version"] == 1
    };
    assert!(seen.iter().all(place), "{seen:#?}");
    // Those that observe run beside each other.
    seen.sort_by_key(|document| points.iter().position(|on| document["on"] == on.as_str()));
    let at = |on: Point| seen.iter().find(|seen| seen["on"] == on.as_str()).unwrap();
    let start = at(Point::BeforeAgentStart);
    assert_eq!(
        (&start["model"], &start["resumed"]),
        (&json!("script"), &json!(false))
    );
    assert!(start.get("message").is_none());
    let call = at(Point::BeforeToolCall);
    assert_eq!(call["tool"], "shell");
    assert_eq!(call["arguments"], json!({"argv": ["touch", "mark"]}));
    let kept = at(Point::ToolResultPersist);
    assert_eq!(
        (&kept["call_id"], &kept["ok"]),
        (&call["call_id"], &json!(true))
    );
    assert!(kept["result"].as_str().unwrap().contains("exit_code"));
    assert!(at(Point::AfterToolCall).get("result").is_none());
    let end = at(Point::AgentEnd);
    assert_eq!(
        (&end["reason"], &end["model"]),
        (&json!("done"), &json!("script"))
    );
    assert_eq!(end["usage"]["tool_calls"], 1);
    assert!(end.get("message").is_none() && end.get("answer").is_none());
}

#[tokio::test]
async fn texts_are_handed_over_only_to_hooks_that_ask_for_them() {
    let programs = Programs::new();
    let hooks = [Point::BeforeAgentStart, Point::AgentEnd].map(|on| {
        let mut hook = programs.noting(on);
        hook.text = true;
        hook
    });
    let rig = agent(&Script::new(vec![says("tea")]), hooks.to_vec()).await;
    turn(&rig).await;
    let seen = programs.seen(2).await;
    assert_eq!(seen[0]["message"], "go on");
    assert_eq!(
        (&seen[1]["message"], &seen[1]["answer"]),
        (&json!("go on"), &json!("tea"))
    );
}

#[tokio::test]
async fn a_hook_adds_to_what_models_are_told_within_a_bound() {
    let programs = Programs::new();
    let on = Point::BeforeAgentStart;
    let long = r#"printf '{"context":"'; head -c 20000 /dev/zero | tr '\0' x; echo '"}'"#;
    let hooks = vec![
        programs.hook(on, "kind", r#"echo '{"context":"Ann is ill today."}'"#),
        programs.hook(on, "long", long),
        programs.hook(on, "late", r#"echo '{"context":"too late"}'"#),
    ];
    let script = Script::new(vec![says("done")]);
    let rig = agent(&script, hooks).await;
    turn(&rig).await;
    let system = script.questions()[0].system.clone();
    assert!(system.contains("Ann is ill today.") && system.contains("cut here: 20000"));
    assert!(!system.contains("too late"));
    assert!(system.matches('x').count() < 9_000);
}

#[tokio::test]
async fn a_hook_refuses_a_turn_and_no_model_is_asked() {
    let programs = Programs::new();
    let on = Point::BeforeAgentStart;
    let night = programs.hook(on, "night", "echo 'come back tomorrow' >&2; exit 2");
    let broken = programs.hook(on, "broken", "exit 1");
    for (hook, words) in [
        (night, "the hook night refuses this: come back tomorrow"),
        (
            broken.clone(),
            "the hook broken refuses this: it gave no answer",
        ),
    ] {
        let script = Script::new(vec![says("done")]);
        let rig = agent(&script, vec![hook, programs.noting(Point::AgentEnd)]).await;
        let frames = turn(&rig).await;
        assert_eq!((reason(&frames), script.asked()), ("failed", 0));
        let error = frames
            .iter()
            .find(|frame| frame["type"] == "error")
            .unwrap();
        assert!(error["text"].as_str().unwrap().contains(words), "{error}");
        let lines = rig.audit_lines().await;
        let refused = lines
            .iter()
            .find(|line| line["decision"] == "refused")
            .unwrap();
        assert_eq!(refused["method"], "hook", "{refused}");
        rig.state.shutdown().await;
    }
    assert_eq!(programs.seen(2).await[1]["reason"], "failed");
    let mut kind = broken;
    kind.on_failure = Some(OnFailure::Pass);
    let rig = agent(&Script::new(vec![says("done")]), vec![kind]).await;
    assert_eq!(reason(&turn(&rig).await), "done");
}

#[tokio::test]
async fn hooks_around_a_compaction_wish_for_its_summary_and_are_told_of_it() {
    let programs = Programs::new();
    let mut after = programs.noting(Point::AfterCompaction);
    after.text = true;
    let hooks = vec![
        programs.noting(Point::BeforeCompaction),
        programs.hook(
            Point::BeforeCompaction,
            "wish",
            r#"echo '{"context":"Keep every phone number."}'"#,
        ),
        programs.hook(Point::BeforeCompaction, "broken", "exit 1"),
        after,
    ];
    let told = "Ann likes tea.";
    let script = Script::new(vec![
        says("one"),
        says("two"),
        says(told),
        says(told),
        says("three"),
    ]);
    let models = script.models_with(16_000);
    let rig = agent_with(&script, hooks, |settings| settings.models = Some(models)).await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    let mut frames = vec![];
    for word in ["first", "second", "third"] {
        frames = ask(&mut ws, &format!("{word} {}", "x".repeat(15_000))).await;
    }
    assert_eq!(reason(&frames), "done");
    let questions = script.questions();
    assert!(questions[2].system.contains("Keep every phone number."));
    assert!(!questions[0].system.contains("phone number"));
    let last = &questions.last().unwrap().said[0];
    assert_eq!(last, &Said::Summary("Ann likes tea.".into()));
    let seen = programs.seen(2).await;
    assert_eq!(
        (&seen[0]["on"], &seen[0]["messages"]),
        (&json!("before_compaction"), &json!(5))
    );
    assert!(seen[0]["bytes"].as_u64() > seen[0]["room"].as_u64());
    assert_eq!(
        (&seen[1]["on"], &seen[1]["summarized"]),
        (&json!("after_compaction"), &json!(true))
    );
    assert_eq!(seen[1]["summary"], "Ann likes tea.");
}

/// In the process; notes where it was asked or told.
#[derive(Debug, Default)]
struct Own(Mutex<Vec<&'static str>>);

impl Own {
    fn note<T: Send + 'static>(&self, what: &'static str, answer: T) -> Answering<'static, T> {
        self.0.lock().unwrap().push(what);
        async { Ok(answer) }.boxed()
    }
}

impl Hook for Own {
    fn name(&self) -> &str {
        "own"
    }

    fn before_agent_start<'a>(&'a self, _: &'a AgentStart) -> Answering<'a, Start> {
        let context = Some("Be brief.".to_owned());
        self.note("before_agent_start", Start::Go { context })
    }

    fn before_tool_call<'a>(&'a self, call: &'a ToolCalling) -> Answering<'a, Ruling> {
        let ruling = match call.arguments["argv"][1] == "bad" {
            true => Ruling::Deny("bad".to_owned()),
            false => Ruling::Pass,
        };
        self.note("before_tool_call", ruling)
    }

    fn after_tool_call<'a>(&'a self, _: &'a ToolEnded) -> Answering<'a, ()> {
        self.note("after_tool_call", ())
    }

    fn tool_result_persist<'a>(&'a self, _: &'a ToolEnded) -> Answering<'a, Keeping> {
        self.note("tool_result_persist", Keeping::Replace("[own]".to_owned()))
    }

    fn agent_end<'a>(&'a self, _: &'a AgentEnd) -> Answering<'a, ()> {
        self.note("agent_end", ())
    }

    fn before_compaction<'a>(&'a self, _: &'a CompactionBegins) -> Answering<'a, Option<String>> {
        self.note("before_compaction", None)
    }

    fn after_compaction<'a>(&'a self, _: &'a CompactionDone) -> Answering<'a, ()> {
        self.note("after_compaction", ())
    }
}

#[tokio::test]
async fn a_hook_in_the_process_is_asked_like_a_program_and_before_it() {
    let programs = Programs::new();
    let own = Arc::new(Own::default());
    let script = Script::new(vec![calls(&[touch("bad"), touch("good")]), says("done")]);
    let hook = programs.noting(Point::BeforeToolCall);
    let hooks: Vec<Arc<dyn Hook>> = vec![own.clone()];
    let rig: Rig = agent_with(&script, vec![hook], |settings| settings.own_hooks = hooks).await;
    turn(&rig).await;
    rig.state.shutdown().await;
    assert!(made(&rig, "good") && !made(&rig, "bad"));
    assert!(script.questions()[0].system.contains("Be brief."));
    let told = script.told();
    assert!(
        told[0].contains("the hook own refuses this: bad"),
        "{told:?}"
    );
    assert_eq!(told[1], "[own]");
    // The program was not asked about what was denied before it.
    assert_eq!(programs.seen(1).await.len(), 1);
    let mut noted = own.0.lock().unwrap().clone();
    noted.sort_unstable();
    let expected = [
        "after_tool_call",
        "agent_end",
        "before_agent_start",
        "before_tool_call",
        "before_tool_call",
        "tool_result_persist",
    ];
    assert_eq!(noted, expected);
}
