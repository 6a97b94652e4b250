//! MCP tools in turns: offered to a model, approved by a person, interrupted, confined.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use super::bench::{Bench, scripted};
use crate::scripted::{Script, calls, says};

#[tokio::test]
async fn a_model_is_offered_a_tool_calls_it_and_reads_its_answer() {
    let wanted = [("mcp_s_echo", json!({"a": 1}))];
    let script = Script::new(vec![calls(&wanted), says("done")]);
    let bench = Bench::answered_by(&script).await;
    bench.add(&[]).await;
    bench.ready().await;
    let mut ws = bench.rig.ws(&bench.owner).await;
    ws.say("s", "go").await;
    let end = ws.wait_for("turn_complete").await;
    assert_eq!(end["reason"], "done");
    assert!(script.tools().contains(&"mcp_s_echo".to_owned()));
    assert_eq!(script.told(), [r#"{"a": 1}"#]);
}

#[tokio::test]
async fn a_person_is_asked_and_the_answer_holds_for_this_server_as_it_was() {
    let wanted = [("mcp_s_pid", json!({}))];
    let (ask, end) = (|| calls(&wanted), || says("done"));
    let script = Script::new(vec![ask(), end(), ask(), end()]);
    let bench = Bench::answered_by(&script).await;
    let body = json!({"name": "s", "command": scripted(&[])});
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let mut ws = bench.rig.ws(&bench.owner).await;
    ws.say("s", "go").await;
    let question = ws.wait_for("approval_required").await;
    assert_eq!(question["tool"], "mcp_s_pid");
    let answer = json!({
        "type": "approval_answer", "id": question["id"], "decision": "approve"
    });
    ws.send(answer).await;
    ws.wait_for("turn_complete").await;
    assert!(
        script.told()[0].parse::<u32>().is_ok(),
        "{:?}",
        script.told()
    );

    ws.say("s", "again").await;
    let question = ws.wait_for("approval_required").await;
    let body = json!({"command": scripted(&["build=2"])});
    bench.send(Method::PUT, "/api/mcps/s", body).await;
    bench
        .until(|server| server["status"]["title"] == "scripted 2")
        .await;
    let answer = json!({
        "type": "approval_answer", "id": question["id"], "decision": "approve"
    });
    ws.send(answer).await;
    ws.wait_for("turn_complete").await;
    let told = script.told().pop().unwrap();
    assert!(told.contains("does not cover"), "{told}");
}

#[tokio::test]
async fn an_interrupt_reaches_the_server() {
    let script = Script::new(vec![calls(&[("mcp_s_hang", json!({}))])]);
    let bench = Bench::answered_by(&script).await;
    bench.add(&[]).await;
    bench.ready().await;
    let mut ws = bench.rig.ws(&bench.owner).await;
    ws.say("s", "go").await;
    bench.logged("hanging").await;
    let before = Instant::now();
    ws.send(json!({"type": "interrupt", "session_id": "s"}))
        .await;
    let end = ws.wait_for("turn_complete").await;
    assert_eq!(end["reason"], "interrupted");
    assert!(before.elapsed() < Duration::from_secs(5));
    bench.logged("cancelled").await;
}

#[tokio::test]
async fn in_read_only_mode_nothing_runs_that_could_change_something_even_when_it_is_allowed() {
    let wanted = [("mcp_s_grow", json!({"name": "x"}))];
    let script = Script::new(vec![calls(&wanted), says("done")]);
    let models = script.models();
    let bench = Bench::start_with(|settings| {
        settings.models = Some(models);
        settings.policy.read_only = true;
    })
    .await;
    bench.add(&[]).await;
    bench.ready().await;
    let mut ws = bench.rig.ws(&bench.owner).await;
    ws.say("s", "go").await;
    ws.wait_for("turn_complete").await;
    assert!(
        script.told()[0].contains("read-only"),
        "{:?}",
        script.told()
    );
    // Allowed, and said to be a reader.
    assert_eq!(bench.text("echo", json!({})).await, "{}");
}

#[tokio::test]
async fn the_program_of_a_server_cannot_read_what_the_agent_keeps() {
    if !homing_agent::confine::support().files {
        // Said by the doctor, and tested where the kernel can.
        return;
    }
    let bench = Bench::start().await;
    let secret = bench.rig.folder().join("agent.db");
    let look = format!("cat {} 2>&1 | head -c 200 >&2; exec cat", secret.display());
    let body = json!({"name": "s", "command": ["sh", "-c", look]});
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.logged("Permission denied").await;
    assert!(
        !bench
            .logs()
            .await
            .iter()
            .any(|line| line.contains("SQLite"))
    );
}
