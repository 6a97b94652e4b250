//! Clients of `/ws` that behave badly, or as people with bad lines do.

use std::time::Duration;

use homing_agent::limits::Rates;
use homing_certs::Role;
use http::StatusCode;
use serde_json::json;

use crate::network::EVERY_SCOPE;
use crate::rig::{LIMIT, Rig, numbers, post, text_of};

/// Sockets of the storm: one after the other, and at once.
const STORM: usize = 200;
const AT_ONCE: usize = 50;

#[tokio::test]
async fn a_storm_of_reconnects_in_the_middle_of_an_answer_costs_nothing_but_its_sockets() {
    let rig = Rig::start_with(|settings| {
        settings.pace = Duration::from_millis(20);
        settings.rates = Rates {
            reads_per_second: 1_000_000,
            ..Rates::default()
        };
    })
    .await;
    let device = rig.network.owner();
    let mut first = rig.ws(&device).await;
    let message =
        json!({ "type": "text_final", "session_id": "s", "text": "help", "client_msg_id": "m" });
    first.send(message.clone()).await;
    first.wait_for("delta").await;
    drop(first);
    for _ in 0..STORM {
        let mut ws = rig.ws(&device).await;
        ws.open("s", 1).await;
        // Each says again what it does not know to have been heard, reads a little, and is gone.
        ws.send(message.clone()).await;
        ws.wait_for("message").await;
    }
    let mut all = Vec::new();
    for _ in 0..AT_ONCE {
        let mut ws = rig.ws(&device).await;
        ws.open("s", 1).await;
        all.push(ws);
    }
    let mut seen = Vec::new();
    for mut ws in all {
        let frames = ws.until("turn_complete").await;
        let own = frames.into_iter().filter(|frame| frame["seq"].is_u64());
        seen.push(own.collect::<Vec<_>>());
    }
    let last = seen[0].last().unwrap()["seq"].as_u64().unwrap();
    for frames in &seen {
        assert_eq!(numbers(frames), (1..=last).collect::<Vec<_>>());
        assert_eq!(text_of(frames), text_of(&seen[0]));
        let asked = frames.iter().filter(|frame| frame["type"] == "message");
        assert_eq!(asked.count(), 1);
    }
    // Nothing of the storm is left: the agent stops at once, and not when some socket times out.
    let stopped = tokio::time::timeout(LIMIT / 4, rig.state.shutdown());
    stopped.await.expect("sockets of the storm are still there");
}

#[tokio::test]
async fn a_session_of_another_user_is_not_there_whatever_is_asked_of_it() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(50)).await;
    let ann = rig.network.device("ann", Role::Client, EVERY_SCOPE);
    let bob = rig.network.device("bob", Role::Admin, EVERY_SCOPE);
    let mut anns = rig.ws(&ann).await;
    anns.say("s", "help").await;
    anns.wait_for("delta").await;

    let mut bobs = rig.ws(&bob).await;
    bobs.open("s", 1).await;
    bobs.send(json!({ "type": "interrupt", "session_id": "s" }))
        .await;
    for (command, answer) in [
        ("stop", "0 stopped"),
        ("clear", "nothing to clear"),
        ("queue", "idle, 0 waiting"),
    ] {
        bobs.send(json!({ "type": "command", "name": command, "session_id": "s" }))
            .await;
        assert_eq!(bobs.wait_for("command_result").await["text"], answer);
    }
    let cleared = rig.call(&bob, post("/api/sessions/s/clear", "")).await;
    assert_eq!(cleared.status, StatusCode::NOT_FOUND);
    assert_eq!(
        rig.get(&bob, "/api/sessions").await.json()["sessions"],
        json!([])
    );
    // His own session of that name begins at 1, and has nothing of hers.
    bobs.say("s", "who am i").await;
    let frames = bobs.until("turn_complete").await;
    let message = frames.iter().find(|frame| frame["seq"] == 1).unwrap();
    assert_eq!(
        (&message["type"], &message["text"]),
        (&json!("message"), &json!("who am i"))
    );
    assert!(text_of(&frames).contains("bob"), "{frames:?}");

    let complete = anns.wait_for("turn_complete").await;
    assert_eq!(complete["reason"], "done");
    let listed = rig.get(&ann, "/api/sessions").await.json();
    assert_eq!(listed["sessions"][0]["messages"], 2);
}
