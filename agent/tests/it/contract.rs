//! The interface that others have specified, line by line, and where it is here: `contract.json`.
//!
//! An entry is `here` (a line of the table or a frame that is sent), `instead` (why there is none) or
//! `planned`. What is here and specified by nobody is listed as additional.

use std::collections::BTreeSet;
use std::time::Duration;

use homing_agent::gateway::{FRAMES, ROUTES};
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::scripted::{Script, calls, says};

fn contract() -> Value {
    serde_json::from_str(include_str!("contract.json")).unwrap()
}

/// What the contract says is here, its additions included, and what it says is not here yet.
fn listed(contract: &Value, what: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut here, mut planned) = (BTreeSet::new(), BTreeSet::new());
    for entry in contract[what].as_array().unwrap() {
        let seed = entry["seed"].as_str().unwrap().to_owned();
        match (&entry["here"], &entry["planned"], &entry["instead"]) {
            (Value::String(at), Value::Null, Value::Null) => {
                assert!(here.insert(at.clone()), "{entry} is there twice");
            }
            (Value::Null, Value::String(_), Value::Null) => {
                assert!(planned.insert(seed), "{entry} is there twice");
            }
            (Value::Null, Value::Null, Value::String(why)) => assert!(why.len() > 10, "{entry}"),
            _ => panic!("{entry} says not exactly one of here, planned and instead"),
        }
    }
    for addition in contract[format!("additional_{what}")].as_array().unwrap() {
        let addition = addition.as_str().unwrap().to_owned();
        assert!(here.insert(addition.clone()), "{addition} is there twice");
    }
    (here, planned)
}

fn compare(what: &str, found: &BTreeSet<String>) {
    let (here, planned) = listed(&contract(), what);
    let missing: Vec<_> = here.difference(found).collect();
    assert!(
        missing.is_empty(),
        "{what} in contract.json that are not here: {missing:?}"
    );
    let unlisted: Vec<_> = found.difference(&here).collect();
    let done: Vec<_> = unlisted
        .iter()
        .filter(|one| planned.contains(**one))
        .collect();
    assert!(
        done.is_empty(),
        "planned {what} that are here now; say so: {done:?}"
    );
    assert!(
        unlisted.is_empty(),
        "{what} that contract.json does not list: {unlisted:?}"
    );
}

#[test]
fn every_specified_route_is_here_or_says_why_not() {
    let found = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    compare("routes", &found);
}

#[test]
fn every_specified_frame_of_a_client_is_understood_or_says_why_not() {
    let found = FRAMES.iter().map(|frame| frame.name.to_owned()).collect();
    compare("client_frames", &found);
}

#[tokio::test]
async fn every_specified_frame_of_the_agent_is_seen_on_a_socket() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(20)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    let mut seen = BTreeSet::new();
    let mut note = |frames: Vec<Value>| {
        for frame in frames {
            seen.insert(frame["type"].as_str().unwrap().to_owned());
        }
    };
    ws.send(json!({ "type": "auth", "token": "", "client_id": "" }))
        .await;
    note(ws.until("auth_ok").await);
    ws.send(json!({ "type": "ping" })).await;
    note(ws.until("pong").await);
    ws.send(json!({ "type": "nonsense" })).await;
    note(ws.until("error").await);
    let say = |id: &str| json!({ "type": "text_final", "session_id": "s", "text": "status", "client_msg_id": id });
    ws.send(say("1")).await;
    ws.send(say("2")).await;
    note(ws.until("queued").await);
    ws.send(say("2")).await;
    note(ws.until("duplicate").await);
    note(ws.until("turn_complete").await);
    note(ws.until("turn_complete").await);
    ws.send(json!({ "type": "command", "name": "clear", "session_id": "s" }))
        .await;
    note(ws.until("command_result").await);
    ws.open("s", 1).await;
    note(ws.until("history_truncated").await);
    note(ws.until("cleared").await);
    // Whoever changes something elsewhere is heard of here.
    rig.call(&device, crate::rig::post("/api/upload?filename=a", "x"))
        .await;
    note(ws.until("resource_event").await);
    ws.send(json!({ "type": "subscribe", "topics": ["system"] }))
        .await;
    note(ws.until("system_snapshot").await);
    note(questions().await);
    compare("server_frames", &seen);
}

/// The frames of a turn that asks a person, who says no.
async fn questions() -> Vec<Value> {
    let script = Script::new(vec![
        calls(&[("shell", json!({ "argv": ["true"] }))]),
        says("done"),
    ]);
    let models = script.models();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.send(json!({ "type": "text_final", "session_id": "s", "text": "go" }))
        .await;
    let mut frames = ws.until("approval_required").await;
    let id = frames.last().unwrap()["id"].clone();
    ws.send(json!({ "type": "approval_answer", "id": id, "decision": "deny" }))
        .await;
    frames.extend(ws.until("turn_complete").await);
    frames
}
