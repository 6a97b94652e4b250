//! `/rpc`: calls, their keys, their answers, events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use homing_agent::gateway::{METHODS, Need, close_code};
use homing_certs::{Role, Scopes, effective_rights};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::network::{Device, EVERY_SCOPE};
use crate::rig::{Rig, Ws};

fn call(id: &str, method: &str, params: Value) -> Value {
    json!({ "version": "1.0", "id": id, "method": method, "params": params, "ts": 1 })
}

fn keyed(id: &str, method: &str, params: Value, key: &str) -> Value {
    let mut call = call(id, method, params);
    call["idempotencyKey"] = key.into();
    call
}

/// Sends a call and gives its answer; events that come before are returned beside it.
async fn ask(ws: &mut Ws, call: Value) -> (Value, Vec<Value>) {
    let id = call["id"].clone();
    ws.send(call).await;
    let mut events = vec![];
    loop {
        let frame = ws.next().await;
        if frame.get("event").is_none() {
            assert_eq!(
                (&frame["version"], &frame["id"]),
                (&json!("1.0"), &id),
                "{frame}"
            );
            return (frame, events);
        }
        events.push(frame);
    }
}

async fn result(ws: &mut Ws, call: Value) -> Value {
    let (answer, _) = ask(ws, call).await;
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"].clone()
}

async fn refusal(ws: &mut Ws, call: Value) -> String {
    let (answer, _) = ask(ws, call).await;
    assert!(answer["error"]["message"].is_string(), "{answer}");
    assert!(answer["error"]["retryable"].is_boolean(), "{answer}");
    answer["error"]["code"].as_str().unwrap().to_owned()
}

async fn open(rig: &Rig, device: &Arc<Device>) -> Ws {
    rig.socket(device, "/rpc", 64 << 10).await
}

#[tokio::test]
async fn a_run_is_started_and_its_events_come_to_their_end() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    let hello = result(
        &mut ws,
        call(
            "h",
            "hello",
            json!({ "protocol": { "min": "1.0", "max": "1.0" } }),
        ),
    )
    .await;
    assert_eq!(hello["deviceId"], device.id().to_string());
    assert_eq!(hello["methods"].as_array().unwrap().len(), METHODS.len());
    let session =
        result(&mut ws, call("r", "session.resolve", json!({}))).await["sessionId"].clone();
    let run = json!({ "sessionId": session, "text": "status" });
    let (answer, mut events) = ask(&mut ws, keyed("a", "agent.run", run, "k1")).await;
    assert_eq!(
        answer["result"],
        json!({ "sessionId": session, "status": "started" })
    );
    while events
        .last()
        .is_none_or(|event| event["event"] != "session.turn_complete")
    {
        events.push(ws.next().await);
    }
    let kinds: BTreeSet<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    for kind in [
        "session.message",
        "session.delta",
        "session.tool_call",
        "session.response",
    ] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    let mut before = 0;
    for event in &events {
        assert_eq!(
            event["data"]["session_id"], session,
            "only what was asked for"
        );
        let seq = event["data"]["seq"].as_u64().unwrap();
        assert_eq!(seq, before + 1, "{event}");
        before = seq;
        assert!(event["ts"].as_i64().unwrap() > 1_700_000_000_000);
    }
    let status = result(
        &mut ws,
        call("s", "status.get", json!({ "sessionId": session })),
    )
    .await;
    assert_eq!(
        status["session"],
        json!({ "sessionId": session, "running": false, "waiting": 0 })
    );
}

#[tokio::test]
async fn a_call_with_an_effect_needs_a_key_and_is_done_once_for_it() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    let params = json!({ "sessionId": "s", "text": "help" });
    for method in METHODS.iter().filter(|line| line.keyed && line.here) {
        let refused = refusal(&mut ws, call("1", method.name, params.clone())).await;
        assert_eq!(refused, "MISSING_IDEMPOTENCY_KEY", "{}", method.name);
    }
    let first = result(&mut ws, keyed("2", "message.send", params.clone(), "k")).await;
    // From another socket of the device, as after a lost connection.
    let mut other = open(&rig, &device).await;
    let again = result(&mut other, keyed("3", "message.send", params.clone(), "k")).await;
    assert_eq!(again, first);
    let else_said = json!({ "sessionId": "s", "text": "status" });
    let refused = refusal(&mut other, keyed("4", "message.send", else_said, "k")).await;
    assert_eq!(refused, "DUPLICATE_REQUEST");
    let sessions = rig.get(&device, "/api/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
    let said = sessions["sessions"][0]["messages"].as_i64().unwrap();
    assert!(said <= 2, "one question and its answer: {sessions}");
    let bad = refusal(&mut ws, keyed("5", "message.send", params, "a b")).await;
    assert_eq!(bad, "INVALID_PARAMS");
}

#[tokio::test]
async fn a_run_is_cancelled_without_a_key() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(100)).await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    let params = json!({ "sessionId": "s", "text": "status" });
    result(&mut ws, keyed("1", "agent.run", params, "k")).await;
    while ws.next().await["event"] != "session.delta" {}
    let (answer, mut events) = ask(
        &mut ws,
        call("2", "agent.cancel", json!({ "sessionId": "s" })),
    )
    .await;
    assert_eq!(answer["result"]["cancelled"], true);
    while events
        .last()
        .is_none_or(|event| event["event"] != "session.turn_complete")
    {
        events.push(ws.next().await);
    }
    assert_eq!(events.last().unwrap()["data"]["reason"], "interrupted");
}

#[tokio::test]
async fn each_role_may_call_exactly_what_its_ceiling_leaves() {
    for role in Role::ALL {
        let rig = Rig::start_with(|settings| settings.rates.rpc_per_minute = 1_000).await;
        let device = rig.network.device("owner", role, EVERY_SCOPE);
        let rights = effective_rights(role, &Scopes::new(EVERY_SCOPE.iter().copied()).unwrap());
        let mut ws = open(&rig, &device).await;
        for line in METHODS {
            let name = line.name.replace('*', "something");
            // A node may ask how the agent is, but not how a conversation is.
            let params = match line.name {
                "status.get" => json!({}),
                _ => json!({ "sessionId": "s", "text": "help" }),
            };
            let (answer, _) = ask(&mut ws, keyed("1", &name, params, "k")).await;
            let allowed = match line.need {
                Need::Admitted => true,
                // An agent may pass it on, but not ask for it.
                Need::Scope(_) if line.name == "device.revoke" => role == Role::Admin,
                Need::Scope(scope) => rights.contains(scope),
            };
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            assert_eq!(code != "FORBIDDEN", allowed, "{role} {name}: {answer}");
            assert_eq!(
                code == "not_implemented",
                allowed && !line.here,
                "{role} {name}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn what_nobody_specified_and_what_is_no_call_is_refused_and_the_socket_stays() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    assert_eq!(
        refusal(&mut ws, call("1", "agent.explode", json!({}))).await,
        "METHOD_NOT_FOUND"
    );
    assert_eq!(
        refusal(&mut ws, call("2", "jobs.", json!({}))).await,
        "METHOD_NOT_FOUND"
    );
    ws.send_raw(Message::Text("no json".into())).await;
    let answer = ws.next().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&Value::Null, &json!("PARSE_ERROR"))
    );
    assert_eq!(
        refusal(&mut ws, call("3", "events.subscribe", json!({}))).await,
        "INVALID_PARAMS"
    );
    let range = json!({ "protocol": { "min": "2.0", "max": "3.0" } });
    assert_eq!(
        refusal(&mut ws, call("4", "hello", range)).await,
        "INVALID_PARAMS"
    );
    result(&mut ws, call("5", "status.get", json!({}))).await;
}

#[tokio::test]
async fn a_socket_hears_of_what_it_subscribed_to_and_of_nothing_else() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    let put = || crate::rig::post("/api/upload?filename=a", "x");
    rig.call(&device, put()).await;
    // An answer that comes first shows that nothing was on its way.
    let (_, events) = ask(&mut ws, call("1", "status.get", json!({}))).await;
    assert_eq!(events, Vec::<Value>::new());
    result(
        &mut ws,
        call("2", "events.subscribe", json!({ "resources": true })),
    )
    .await;
    rig.call(&device, put()).await;
    let event = ws.next().await;
    assert_eq!(
        (&event["event"], &event["data"]["resource"]),
        (&json!("resource_event"), &json!("file"))
    );

    let mut talk = rig.ws(&device).await;
    talk.say("s", "help").await;
    talk.wait_for("turn_complete").await;
    result(
        &mut ws,
        call("3", "events.unsubscribe", json!({ "resources": true })),
    )
    .await;
    let replay = json!({ "sessionId": "s", "fromSeq": 1 });
    let (_, mut events) = ask(&mut ws, call("4", "events.subscribe", replay)).await;
    while events
        .last()
        .is_none_or(|event| event["event"] != "session.turn_complete")
    {
        events.push(ws.next().await);
    }
    assert_eq!(events[0]["data"]["seq"], 1);
    assert!(
        events
            .iter()
            .all(|event| event["event"] != "resource_event"),
        "{events:?}"
    );
    result(
        &mut ws,
        call("5", "events.unsubscribe", json!({ "sessionId": "s" })),
    )
    .await;
    talk.say("s", "help").await;
    talk.wait_for("turn_complete").await;
    let (_, events) = ask(&mut ws, call("6", "status.get", json!({}))).await;
    assert_eq!(events, Vec::<Value>::new());
}

#[tokio::test]
async fn a_device_calls_sixty_times_a_minute_and_runs_ten_times() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    for number in 0..10 {
        let params = json!({ "sessionId": "s", "text": "help" });
        let (answer, _) = ask(
            &mut ws,
            keyed("1", "agent.run", params, &format!("k{number}")),
        )
        .await;
        assert!(answer.get("error").is_none(), "{number}: {answer}");
    }
    let params = json!({ "sessionId": "s", "text": "help" });
    let (answer, _) = ask(&mut ws, keyed("1", "agent.run", params, "more")).await;
    assert_eq!(answer["error"]["code"], "RATE_LIMITED");
    assert_eq!(answer["error"]["retryable"], true);
    assert!(answer["error"]["retryAfterMs"].as_u64().unwrap() > 0);
    for number in 11..60 {
        let (answer, _) = ask(&mut ws, call("2", "status.get", json!({}))).await;
        assert!(answer.get("error").is_none(), "{number}: {answer}");
    }
    assert_eq!(
        refusal(&mut ws, call("3", "status.get", json!({}))).await,
        "RATE_LIMITED"
    );
}

#[tokio::test]
async fn a_frame_above_a_mebibyte_and_a_revocation_close_the_socket() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    let large = "x".repeat((1 << 20) + 1);
    ws.send_raw(Message::Text(large.into())).await;
    assert_eq!(ws.close_code().await, close_code::TOO_LARGE);
    let mut ws = open(&rig, &device).await;
    result(&mut ws, call("1", "status.get", json!({}))).await;
    device.revoke();
    assert_eq!(ws.close_code().await, close_code::REVOKED);
}

#[tokio::test]
async fn sessions_of_another_user_are_not_there() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut talk = rig.ws(&device).await;
    talk.say("s", "help").await;
    talk.wait_for("turn_complete").await;
    let other = rig.network.device("other", Role::Client, EVERY_SCOPE);
    let mut ws = open(&rig, &other).await;
    let seen = result(
        &mut ws,
        call("1", "session.resolve", json!({ "sessionId": "s" })),
    )
    .await;
    assert_eq!(seen["lastSeq"], 0);
    let (_, events) = ask(
        &mut ws,
        call(
            "2",
            "events.subscribe",
            json!({ "sessionId": "s", "fromSeq": 1 }),
        ),
    )
    .await;
    let (_, more) = ask(&mut ws, call("3", "status.get", json!({}))).await;
    assert_eq!((events, more), (vec![], vec![]));
}

#[tokio::test]
async fn a_revocation_without_a_line_to_the_coordinator_says_so_and_what_helps() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = open(&rig, &device).await;
    let params = json!({ "device": "phone" });
    let (answer, _) = ask(&mut ws, call("1", "device.revoke", params)).await;
    let error = &answer["error"];
    assert_eq!(
        (&error["code"], &error["reason"], &error["retryable"]),
        (
            &json!("UNAVAILABLE"),
            &json!("coordinator_unreachable"),
            &json!(true)
        )
    );
    for params in [
        json!({}),
        json!({ "device": "" }),
        json!({ "device": "x".repeat(65) }),
    ] {
        assert_eq!(
            refusal(&mut ws, call("2", "device.revoke", params)).await,
            "INVALID_PARAMS"
        );
    }
}
