//! What is kept of a tool's result.

use homing_agent::hooks::Point;
use serde_json::json;

use super::{Programs, agent, turn};
use crate::rig::{LIMIT, post};
use crate::scripted::{Script, calls, says};

const PERSIST: Point = Point::ToolResultPersist;
const SECRET: &str = "hunter2secret";

/// What a model sees of a file in the workspace that holds [`SECRET`].
fn read() -> (&'static str, serde_json::Value) {
    ("shell", json!({"argv": ["cat", "notes"]}))
}

async fn told(hooks: Vec<homing_agent::hooks::HookSettings>) -> (Vec<String>, String) {
    let script = Script::new(vec![calls(&[read()]), says("done")]);
    let rig = agent(&script, hooks).await;
    std::fs::write(rig.state.settings.workspace().join("notes"), SECRET).unwrap();
    let frames = turn(&rig).await;
    rig.state.shutdown().await;
    (script.told(), serde_json::to_string(&frames).unwrap())
}

#[tokio::test]
async fn a_result_that_is_replaced_is_seen_by_nobody_and_each_hook_sees_what_the_one_before_kept() {
    let programs = Programs::new();
    let sed = r#"sed -n 's/.*"ok":true.*hunter2secret.*/{"result":"[one]"}/p'"#;
    let next = r#"sed -n 's/.*"result":"\[one\]".*/{"result":"[two]"}/p'"#;
    let mut watching = programs.noting(Point::AfterToolCall);
    watching.text = true;
    let hooks = vec![
        watching,
        programs.hook(PERSIST, "first", sed),
        programs.hook(PERSIST, "second", next),
    ];
    let (told, frames) = told(hooks).await;
    assert_eq!(told, ["[two]"]);
    assert!(!frames.contains(SECRET), "{frames}");
    assert_eq!(programs.seen(1).await[0]["result"], "[two]");
}

#[tokio::test]
async fn a_result_is_withheld_when_its_hook_says_so_or_fails() {
    let programs = Programs::new();
    let mut slow = programs.hook(PERSIST, "slow", "sleep 1000");
    slow.timeout_seconds = 1;
    for (hook, words) in [
        (
            programs.hook(PERSIST, "says", "echo private >&2; exit 2"),
            "private",
        ),
        (
            programs.hook(PERSIST, "crash", "exit 1"),
            "no answer that counts",
        ),
        (
            programs.hook(PERSIST, "garbage", "echo '{\"result\":1}'"),
            "no answer",
        ),
        (slow, "no answer"),
    ] {
        let (told, frames) = told(vec![hook]).await;
        assert!(
            told[0].contains("withheld") && told[0].contains(words),
            "{told:?}"
        );
        assert!(!frames.contains(SECRET), "{frames}");
    }
    let (told, _) = told(vec![]).await;
    assert!(told[0].contains(SECRET));
}

#[tokio::test]
async fn a_replaced_result_is_all_that_is_written_down_and_read_again_after_a_restart() {
    let programs = Programs::new();
    let hook = programs.hook(PERSIST, "redact", r#"echo '{"result":"[redacted]"}'"#);
    let asks = ("shell", json!({"command": "touch mark"}));
    let script = Script::new(vec![calls(&[read(), asks]), says("never")]);
    let rig = agent(&script, vec![hook]).await;
    std::fs::write(rig.state.settings.workspace().join("notes"), SECRET).unwrap();
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "read and mark").await;
    let id = ws.wait_for("approval_required").await["id"].clone();
    ws.wait_for("tool_result").await;
    let kept = async {
        loop {
            let turns = rig.state.store.unfinished_turns().await.unwrap();
            let checkpoint = turns.iter().find_map(|turn| turn.checkpoint.clone());
            if let Some(text) = checkpoint.filter(|text| text.contains("[redacted]")) {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let checkpoint = tokio::time::timeout(LIMIT, kept).await.unwrap();
    assert!(!checkpoint.contains(SECRET));
    let script = Script::new(vec![says("done")]);
    let models = script.models();
    let rig = rig
        .die_in_place_with(|settings| settings.models = Some(models))
        .await;
    for file in ["agent.db", "agent.db-wal"] {
        let bytes = std::fs::read(rig.folder().join(file)).unwrap_or_default();
        let secret = SECRET.as_bytes();
        assert!(
            !bytes.windows(secret.len()).any(|part| part == secret),
            "{file}"
        );
    }
    assert_eq!(rig.state.resume(|_| false).await.unwrap(), 1);
    let mut ws = rig.ws(&owner).await;
    ws.open("s", 1).await;
    ws.wait_for("approval_required").await;
    rig.call(&owner, post(&format!("/api/approvals/{id}/approve"), ""))
        .await;
    ws.wait_for("turn_complete").await;
    assert_eq!(script.told()[0], "[redacted]");
}
