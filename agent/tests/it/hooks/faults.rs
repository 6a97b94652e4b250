//! Hooks that hang, reach for what is not theirs, or lie where models write; and the way around turns.

use std::time::{Duration, Instant};

use homing_agent::confine::support;
use homing_agent::hooks::{HookSettings, Point};
use serde_json::{Value, json};

use super::{Programs, agent, agent_with, gone, made, reason, touch, turn};
use crate::rig::{LIMIT, Rig};
use crate::scripted::{Script, calls, says};

/// Notes itself and a child, and never answers.
const HANGS: &str = "echo $$ >> $dir/pids\nsleep 1000 &\necho $! >> $dir/pids\nwait";

fn hanging(programs: &Programs, on: Point) -> HookSettings {
    let mut hook = programs.hook(on, "hangs", HANGS);
    hook.timeout_seconds = 60;
    hook
}

async fn hangs(programs: &Programs) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    let noted = || std::fs::read_to_string(programs.path("pids")).unwrap_or_default();
    while noted().lines().count() < 2 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the hook did not start"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_interrupt_ends_a_hook_that_hangs_with_all_that_it_started() {
    for on in [
        Point::BeforeAgentStart,
        Point::BeforeToolCall,
        Point::ToolResultPersist,
        Point::BeforeCompaction,
    ] {
        let programs = Programs::new();
        let script = match on {
            Point::BeforeCompaction => Script::new(vec![says("one")]),
            _ => Script::new(vec![calls(&[touch("mark")]), says("done")]),
        };
        let models = script.models_with(16_000);
        let hooks = vec![hanging(&programs, on)];
        let rig = agent_with(&script, hooks, |settings| settings.models = Some(models)).await;
        let mut ws = rig.ws(&rig.network.owner()).await;
        if on == Point::BeforeCompaction {
            super::ask(&mut ws, &"x".repeat(25_000)).await;
            ws.say("s", &"x".repeat(25_000)).await;
        } else {
            ws.say("s", "go on").await;
        }
        hangs(&programs).await;
        let before = Instant::now();
        ws.send(json!({"type": "interrupt", "session_id": "s"}))
            .await;
        let end = ws.wait_for("turn_complete").await;
        assert_eq!(end["reason"], "interrupted", "{on:?}");
        // Far below the time of the hook; a busy machine takes longer than the 200 ms that are meant.
        assert!(before.elapsed() < Duration::from_secs(2), "{on:?}");
        gone(&programs.path("pids")).await;
    }
}

#[tokio::test]
async fn a_hook_that_only_observes_delays_no_turn_and_ends_with_the_agent() {
    let programs = Programs::new();
    let hooks = vec![hanging(&programs, Point::AgentEnd)];
    let rig = agent(&Script::new(vec![says("one"), says("two")]), hooks).await;
    let before = Instant::now();
    assert_eq!(reason(&turn(&rig).await), "done");
    assert_eq!(reason(&turn(&rig).await), "done");
    assert!(before.elapsed() < Duration::from_secs(5));
    hangs(&programs).await;
    rig.state.shutdown().await;
    assert!(before.elapsed() < Duration::from_secs(15));
    gone(&programs.path("pids")).await;
}

#[tokio::test]
async fn a_hook_that_takes_too_long_dies_with_all_that_it_started() {
    let programs = Programs::new();
    let mut hook = hanging(&programs, Point::BeforeToolCall);
    hook.timeout_seconds = 1;
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent(&script, vec![hook]).await;
    assert_eq!(reason(&turn(&rig).await), "done");
    assert!(!made(&rig, "mark"));
    gone(&programs.path("pids")).await;
}

#[tokio::test]
async fn a_hook_sees_neither_the_agents_files_nor_its_environment() {
    if !support().full() {
        return;
    }
    let programs = Programs::new();
    let body = "for file in $1/agent.db $1/audit.jsonl $1/secrets.key; do\n\
                  cat $file > /dev/null 2>&1 && echo \"read $file\" >> $dir/read\n\
                done\n\
                ls $1 > /dev/null 2>&1 && echo list >> $dir/read\n\
                pwd > $dir/cwd\n\
                env | cut -d= -f1 > $dir/env";
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent(&script, vec![]).await;
    let mut live = crate::config::live(&rig.state.settings);
    let mut hook = programs.hook(Point::BeforeToolCall, "curious", body);
    hook.command.push(rig.folder().display().to_string());
    live.hooks = vec![hook];
    rig.state.apply(live);
    turn(&rig).await;
    assert!(made(&rig, "mark"), "it passes: {:?}", script.told());
    assert!(!programs.path("read").exists());
    let workspace = rig.state.settings.workspace().canonicalize().unwrap();
    let cwd = std::fs::read_to_string(programs.path("cwd")).unwrap();
    assert_eq!(cwd.trim(), workspace.display().to_string());
    let variables = std::fs::read_to_string(programs.path("env")).unwrap();
    assert!(!variables.contains("CARGO"), "{variables}");
}

#[tokio::test]
async fn a_hook_in_the_workspace_is_never_started_because_models_write_there() {
    let programs = Programs::new();
    let script = Script::new(vec![calls(&[touch("mark")]), says("done")]);
    let rig = agent(&script, vec![]).await;
    let workspace = rig.state.settings.workspace();
    let path = programs.script("kind", "touch started");
    std::fs::copy(&path, workspace.join("kind")).unwrap();
    std::os::unix::fs::symlink(workspace.join("kind"), programs.path("link")).unwrap();
    for command in [
        vec![workspace.join("kind")],
        vec![programs.path("link")],
        vec!["/bin/sh".into(), workspace.join("kind")],
    ] {
        let words = command.iter().map(|word| word.display().to_string());
        let mut live = crate::config::live(&rig.state.settings);
        live.hooks = vec![HookSettings::new(Point::BeforeAgentStart, words.collect())];
        rig.state.apply(live);
        assert_eq!(reason(&turn(&rig).await), "failed");
        assert!(!made(&rig, "started"));
    }
}

#[tokio::test]
async fn a_hook_that_reads_nothing_may_still_answer() {
    let programs = Programs::new();
    let hook = programs.hook(Point::BeforeToolCall, "deaf", "exec <&-; exit 0");
    let long = "x".repeat(200_000);
    let write = json!({"argv": ["touch", "mark"], "cwd": ".", "command": null, "ignored": long});
    let script = Script::new(vec![calls(&[("shell", write)]), says("done")]);
    let rig = agent(&script, vec![hook]).await;
    turn(&rig).await;
    // The tool does not know the argument: it was let through to it.
    assert!(script.told()[0].contains("ignored"), "{:?}", script.told());
}

async fn over_mcp(rig: &Rig, tool: &str) -> Value {
    crate::mcp_server::call(rig, &rig.network.owner(), tool, json!({})).await
}

#[tokio::test]
async fn hooks_hold_for_programs_that_call_tools_at_mcp_as_well() {
    let programs = Programs::new();
    let word = |decision: &str| format!(r#"echo '{{"decision":"{decision}","reason":"no"}}'"#);
    for (hook, words) in [
        (
            programs.hook(Point::BeforeToolCall, "guard", &word("deny")),
            "the hook guard refuses",
        ),
        (
            programs.hook(Point::BeforeToolCall, "asks", &word("ask")),
            "nobody can be asked",
        ),
        (
            programs.hook(Point::ToolResultPersist, "keeps", &word("deny")),
            "withheld",
        ),
    ] {
        let rig = agent(&Script::new(vec![]), vec![hook]).await;
        let answer = over_mcp(&rig, "whoami").await;
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(words), "{text}");
    }
    let replaces = r#"echo '{"result":"[redacted]"}'"#;
    let hooks = vec![
        programs.hook(Point::ToolResultPersist, "replaces", replaces),
        programs.noting(Point::BeforeToolCall),
    ];
    let rig = agent(&Script::new(vec![]), hooks).await;
    let answer = over_mcp(&rig, "whoami").await;
    let result = &answer["result"];
    assert_eq!(result["content"][0]["text"], "[redacted]");
    assert!(
        result.get("structuredContent").is_none_or(Value::is_null),
        "{answer}"
    );
    let seen = programs.seen(1).await;
    assert_eq!(
        (&seen[0]["tool"], &seen[0]["turn_id"]),
        (&json!("whoami"), &json!(0))
    );
}
