//! What is left of conversations when the agent stops, or dies.

use std::time::Duration;

use homing_certs::Role;
use serde_json::json;

use crate::rig::{Rig, numbers, text_of};

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_process_died() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_secs(5)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("a", "who am I").await;
    ws.wait_for("delta").await;
    ws.say("b", "help").await;
    ws.wait_for("queued").await;

    let after = rig.die_and_restart().await;
    after.state.resume(|_| false).await.unwrap();
    let mut ws = after.ws(&device).await;
    ws.open("a", 1).await;
    let began = ws.until("turn_complete").await;
    assert_eq!(began.last().unwrap()["reason"], "restarted");
    assert!(began.iter().any(|frame| frame["type"] == "error"));
    assert!(
        !text_of(&began).is_empty(),
        "what was shown before is shown again"
    );
    let own: Vec<_> = began
        .into_iter()
        .filter(|frame| frame["session_id"] == "a")
        .collect();
    assert_eq!(numbers(&own), (1..=own.len() as u64).collect::<Vec<_>>());
    ws.open("b", 1).await;
    let waited = ws.until("turn_complete").await;
    assert_eq!(waited.last().unwrap()["reason"], "done");
    assert!(text_of(&waited).contains("No model is configured"));
}

#[tokio::test]
async fn turns_of_a_device_revoked_meanwhile_do_not_start_again() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_secs(5)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("a", "help").await;
    ws.say("b", "help").await;
    ws.wait_for("queued").await;
    let after = rig.die_and_restart().await;
    after
        .state
        .resume(|node_id| *node_id == device.id())
        .await
        .unwrap();
    let mut ws = after.ws(&rig.network.owner()).await;
    for session in ["a", "b"] {
        ws.open(session, 1).await;
        assert_eq!(ws.wait_for("turn_complete").await["reason"], "revoked");
    }
}

#[tokio::test]
async fn an_orderly_stop_ends_what_runs_and_keeps_what_waits() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_secs(5)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("a", "help").await;
    ws.say("b", "help").await;
    ws.wait_for("queued").await;
    let rig = rig.restart_with(|_| {}).await;
    assert_eq!(rig.state.resume(|_| false).await.unwrap(), 1);
    let mut ws = rig.ws(&device).await;
    ws.open("a", 1).await;
    assert_eq!(ws.wait_for("turn_complete").await["reason"], "shutdown");
    ws.open("b", 1).await;
    assert_eq!(ws.wait_for("turn_complete").await["reason"], "done");
}

#[tokio::test]
async fn numbers_go_on_after_a_restart_and_replay_reaches_back_over_it() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    ws.wait_for("turn_complete").await;
    let rig = rig.restart_with(|_| {}).await;
    let mut ws = rig.ws(&device).await;
    ws.open("s", 1).await;
    ws.say("s", "help").await;
    let mut frames = ws.until("turn_complete").await;
    frames.extend(ws.until("turn_complete").await);
    frames.retain(|frame| frame["session_id"] == "s");
    assert_eq!(
        numbers(&frames),
        (1..=frames.len() as u64).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_long_history_is_replayed_from_the_database_page_by_page() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let user = device.user();
    for _ in 0..3 {
        let bodies = (0..700)
            .map(|_| r#"{"type":"delta","text":"x"}"#.to_owned())
            .collect();
        rig.state
            .store
            .append_events(user, "s".into(), None, bodies, |_| {})
            .await
            .unwrap();
    }
    let mut ws = rig.ws(&device).await;
    ws.open("s", 5).await;
    let mut seen = vec![];
    while seen.len() < 2_096 {
        seen.extend(ws.next().await["seq"].as_u64());
    }
    assert_eq!(seen, (5..=2_100).collect::<Vec<_>>());
}

#[tokio::test]
async fn devices_do_not_wait_for_each_other_but_a_session_has_one_turn_at_a_time() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(5)).await;
    let (one, two) = (
        rig.network.owner(),
        rig.network.device("owner", Role::Client, &["chat"]),
    );
    let mut first = rig.ws(&one).await;
    let mut second = rig.ws(&two).await;
    first.say("shared", "help").await;
    first.wait_for("delta").await;
    second.say("other", "help").await;
    // Runs beside the first: it has a delta long before the first could end.
    second.wait_for("delta").await;
    second.wait_for("turn_complete").await;
    first.wait_for("turn_complete").await;

    first.say("shared", "help").await;
    first.wait_for("delta").await;
    second.say("shared", "help").await;
    let queued = second.wait_for("queued").await;
    assert_eq!(queued["position"], json!(1));
    let frames = second.until("turn_complete").await;
    assert!(
        frames.iter().all(|frame| frame["type"] != "message"),
        "the first ends before the second begins"
    );
}
