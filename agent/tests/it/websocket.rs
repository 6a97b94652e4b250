//! `/ws` over a stream, with a real client.

use std::time::Duration;

use homing_agent::gateway::close_code;
use homing_agent::limits::Rates;
use homing_certs::Role;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::rig::{Rig, numbers, text_of};

#[tokio::test]
async fn auth_and_ping_are_answered_and_carry_no_authority() {
    let rig = Rig::start().await;
    let device = rig.network.device("ann", Role::Client, &["chat"]);
    let mut ws = rig.ws(&device).await;
    ws.send(json!({"type": "auth", "token": "root", "client_id": "somebody else"}))
        .await;
    let answer = ws.next().await;
    assert_eq!(
        (&answer["type"], &answer["agent_name"]),
        (&json!("auth_ok"), &json!("attic"))
    );
    ws.send(json!({"type": "ping"})).await;
    assert_eq!(ws.next().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn a_message_is_answered_in_deltas_that_make_up_the_response() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(1)).await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.send(
        json!({"type": "text_final", "session_id": "s", "text": "who am I", "client_msg_id": "m1"}),
    )
    .await;
    let frames = ws.until("turn_complete").await;
    let kinds: Vec<&str> = frames
        .iter()
        .map(|frame| frame["type"].as_str().unwrap())
        .collect();
    let own: Vec<_> = frames
        .iter()
        .filter(|frame| frame["session_id"] == "s")
        .cloned()
        .collect();
    assert_eq!(numbers(&own), (1..=own.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        (&own[0]["type"], &own[0]["client_msg_id"]),
        (&json!("message"), &json!("m1"))
    );
    assert!(
        kinds.contains(&"tool_call") && kinds.contains(&"tool_result"),
        "{kinds:?}"
    );
    assert!(
        kinds.iter().filter(|kind| **kind == "delta").count() > 5,
        "{kinds:?}"
    );
    let response = frames
        .iter()
        .find(|frame| frame["type"] == "response")
        .unwrap();
    assert_eq!(response["text"], text_of(&frames));
    assert_eq!(
        (&response["model"], &response["attachments"]),
        (&json!("built-in"), &json!([]))
    );
    let done = frames.last().unwrap();
    assert_eq!(
        (&done["reason"], &done["usage"]["tool_calls"]),
        (&json!("done"), &json!(1))
    );
    assert!(response["text"].as_str().unwrap().contains("owner"));
}

#[tokio::test]
async fn the_assistant_reads_the_machine_through_its_tools() {
    let rig = Rig::start().await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    for (question, expected) in [
        ("status", "CPU"),
        ("memory?", "GB in use"),
        ("load", "Load"),
        ("uptime", "days"),
        ("which devices", "online"),
        ("which processes are busy", "the busiest are"),
        ("network traffic", "Network: "),
        ("what time is it?", "in UTC"),
        ("help", "No model is configured"),
    ] {
        ws.say("s", question).await;
        let frames = ws.until("turn_complete").await;
        let response = frames
            .iter()
            .find(|frame| frame["type"] == "response")
            .unwrap();
        let text = response["text"].as_str().unwrap();
        assert!(text.contains(expected), "{question}: {text}");
    }
}

#[tokio::test]
async fn a_tool_has_the_rights_of_who_asks_and_not_more() {
    let rig = Rig::start().await;
    let mut ws = rig
        .ws(&rig.network.device("guest", Role::Client, &["chat"]))
        .await;
    ws.say("s", "cpu").await;
    let frames = ws.until("turn_complete").await;
    let result = frames
        .iter()
        .find(|frame| frame["type"] == "tool_result")
        .unwrap();
    assert_eq!(
        (&result["ok"], &result["error"]),
        (&json!(false), &json!("the scope status.read is missing"))
    );
    let lines = rig.audit_lines().await;
    let line = lines
        .iter()
        .find(|line| line["kind"] == "tool_call")
        .unwrap();
    assert_eq!(
        (&line["target"], &line["decision"]),
        (&json!("system"), &json!("refused"))
    );
}

#[tokio::test]
async fn a_client_that_comes_back_in_the_middle_of_an_answer_sees_all_of_it_once() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(3)).await;
    let device = rig.network.owner();
    let mut all = vec![];
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    while all.len() < 5 {
        let frame = ws.next().await;
        if frame["session_id"] == "s" {
            all.push(frame);
        }
    }
    let mut breaks = 0;
    while all.last().unwrap()["type"] != "turn_complete" {
        // Gone without a word, in the middle of a word or not.
        drop(ws);
        ws = rig.ws(&device).await;
        breaks += 1;
        let next = all.last().unwrap()["seq"].as_u64().unwrap() + 1;
        ws.open("s", next).await;
        for _ in 0..8 {
            let frame = ws.next().await;
            if frame["session_id"] == "s" {
                all.push(frame);
            }
            if all.last().unwrap()["type"] == "turn_complete" {
                break;
            }
        }
    }
    assert!(breaks > 1);
    assert_eq!(numbers(&all), (1..=all.len() as u64).collect::<Vec<_>>());
    let response = all
        .iter()
        .find(|frame| frame["type"] == "response")
        .unwrap();
    assert_eq!(response["text"], text_of(&all));
}

#[tokio::test]
async fn opening_without_a_number_shows_the_whole_running_answer() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(3)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    ws.wait_for("turn_complete").await;
    ws.say("s", "help").await;
    ws.wait_for("delta").await;
    let mut late = rig.ws(&device).await;
    late.send(json!({"type": "session_open", "session_id": "s"}))
        .await;
    let frames = late.until("turn_complete").await;
    assert_eq!(frames[0]["type"], "message");
    let response = frames
        .iter()
        .find(|frame| frame["type"] == "response")
        .unwrap();
    assert_eq!(response["text"], text_of(&frames));
}

#[tokio::test]
async fn two_clients_of_a_user_see_the_same_session() {
    let rig = Rig::start().await;
    let (phone, laptop) = (rig.network.owner(), rig.network.owner());
    let mut one = rig.ws(&phone).await;
    let mut two = rig.ws(&laptop).await;
    two.open("s", 1).await;
    two.send(json!({"type": "ping"})).await;
    two.wait_for("pong").await;
    one.say("s", "help").await;
    let in_session = |frames: Vec<serde_json::Value>| {
        frames
            .into_iter()
            .filter(|frame| frame["session_id"] == "s")
            .collect::<Vec<_>>()
    };
    let seen_by_one = in_session(one.until("turn_complete").await);
    assert_eq!(in_session(two.until("turn_complete").await), seen_by_one);
}

#[tokio::test]
async fn messages_wait_in_their_order_and_say_where_they_stand() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(2)).await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    for session in ["a", "b", "c"] {
        ws.say(session, "help").await;
    }
    let mut queued = vec![];
    let mut done = vec![];
    while done.len() < 3 {
        let frame = ws.next().await;
        match frame["type"].as_str().unwrap() {
            "queued" => queued.push((frame["session_id"].clone(), frame["position"].clone())),
            "turn_complete" => done.push(frame["session_id"].clone()),
            _ => {}
        }
    }
    assert_eq!(queued, [(json!("b"), json!(1)), (json!("c"), json!(2))]);
    assert_eq!(done, ["a", "b", "c"]);
}

#[tokio::test]
async fn one_message_over_the_queue_is_refused_and_the_others_stay() {
    let rig = Rig::start_with(|settings| {
        settings.pace = Duration::from_secs(5);
        settings.rates = Rates {
            runs_per_minute: 1_000,
            chat_per_minute: 1_000,
            ..Rates::default()
        };
    })
    .await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    for number in 0..22 {
        ws.send(json!({"type": "text_final", "session_id": "s", "text": "help", "client_msg_id": number.to_string()})).await;
    }
    let error = ws.wait_for("error").await;
    assert_eq!(
        (&error["code"], &error["client_msg_id"]),
        (&json!("queue_full"), &json!("21"))
    );
    ws.send(json!({"type": "command", "name": "queue", "session_id": "s"}))
        .await;
    assert_eq!(
        ws.wait_for("command_result").await["text"],
        "running, 20 waiting"
    );
    ws.send(json!({"type": "command", "name": "stop", "session_id": "s"}))
        .await;
    assert_eq!(ws.wait_for("command_result").await["text"], "21 stopped");
}

#[tokio::test]
async fn an_interrupt_ends_the_answer_at_once_and_keeps_what_came() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(100)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    ws.wait_for("delta").await;
    ws.send(json!({"type": "interrupt", "session_id": "s"}))
        .await;
    let frames = ws.until("turn_complete").await;
    assert_eq!(frames.last().unwrap()["reason"], "interrupted");
    let history = rig
        .state
        .store
        .past(device.user(), "s".into(), i64::MAX, 10)
        .await
        .unwrap();
    let answer = history.messages[1].text.trim();
    assert!(
        "I am the built-in assistant".starts_with(answer),
        "{history:?}"
    );
    ws.say("s", "help").await;
    ws.wait_for("delta").await;
}

#[tokio::test]
async fn an_answer_goes_on_when_nobody_listens() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(2)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    ws.wait_for("delta").await;
    drop(ws);
    let mut ws = rig.ws(&device).await;
    ws.open("s", 1).await;
    assert_eq!(
        ws.until("turn_complete").await.last().unwrap()["reason"],
        "done"
    );
}

#[tokio::test]
async fn a_message_sent_twice_under_one_id_is_answered_once() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let frame =
        json!({"type": "text_final", "session_id": "s", "text": "help", "client_msg_id": "m1"});
    let mut ws = rig.ws(&device).await;
    ws.send(frame.clone()).await;
    ws.wait_for("turn_complete").await;
    ws.send(frame.clone()).await;
    assert_eq!(ws.wait_for("duplicate").await["client_msg_id"], "m1");
    let sessions = rig.get(&device, "/api/sessions").await.json();
    assert_eq!(sessions["sessions"][0]["messages"], 2);
    // Another device of the user may use the same id for its own message.
    let mut other = rig.ws(&rig.network.owner()).await;
    other.send(frame).await;
    other.wait_for("turn_complete").await;
}

#[tokio::test]
async fn commands_do_what_they_say() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    let last = ws.wait_for("turn_complete").await["seq"].as_u64().unwrap();
    for (name, text) in [
        ("queue", "idle, 0 waiting"),
        ("stop", "0 stopped"),
        ("clear", "cleared"),
    ] {
        ws.send(json!({"type": "command", "name": name, "session_id": "s"}))
            .await;
        assert_eq!(ws.wait_for("command_result").await["text"], text);
    }
    let mut late = rig.ws(&device).await;
    late.open("s", 1).await;
    let gone = late.next().await;
    assert_eq!(
        (&gone["type"], &gone["seq"]),
        (&json!("history_truncated"), &json!(last))
    );
    assert_eq!(
        late.next().await,
        json!({"type": "cleared", "session_id": "s", "seq": last + 1})
    );
    ws.send(json!({"type": "command", "name": "dance", "session_id": "s"}))
        .await;
    assert_eq!(ws.wait_for("error").await["code"], "unknown_command");
}

#[tokio::test]
async fn frames_that_are_not_understood_are_answered_and_the_socket_stays() {
    let rig = Rig::start().await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    for (text, code) in [
        ("not json", "bad_frame"),
        ("[]", "bad_frame"),
        (
            r#"{"type":"audio_chunk_in","session_id":"s"}"#,
            "unknown_frame",
        ),
        (r#"{"type":"text_final","session_id":"s"}"#, "bad_frame"),
        (
            r#"{"type":"text_final","session_id":"","text":"x"}"#,
            "bad_session_id",
        ),
        (
            r#"{"type":"text_final","session_id":"s","text":""}"#,
            "bad_message",
        ),
        (
            r#"{"type":"text_final","session_id":"s","text":"x","client_msg_id":""}"#,
            "bad_client_msg_id",
        ),
    ] {
        ws.send_raw(Message::Text(text.into())).await;
        assert_eq!(ws.wait_for("error").await["code"], code, "{text}");
    }
    ws.send(json!({"type": "ping"})).await;
    ws.wait_for("pong").await;
}

#[tokio::test]
async fn the_largest_message_is_taken_and_one_byte_more_closes_the_socket() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let fill = |length: usize| {
        let frame = r#"{"type":"ping","fill":""}"#;
        frame.replace(
            r#""""#,
            &format!("\"{}\"", "x".repeat(length - frame.len())),
        )
    };
    let mut ws = rig.ws(&device).await;
    ws.send_raw(Message::Text(fill(1 << 20).into())).await;
    ws.wait_for("pong").await;
    ws.send_raw(Message::Text(fill((1 << 20) + 1).into())).await;
    assert_eq!(ws.close_code().await, close_code::TOO_LARGE);
    let mut ws = rig.ws(&device).await;
    let (sent, code) = ws
        .send_while_reading(Message::Text(fill(3 << 20).into()))
        .await;
    assert_eq!((sent, code), (false, close_code::TOO_LARGE));
    let mut ws = rig.ws(&device).await;
    ws.send_raw(Message::Binary(vec![1].into())).await;
    assert_eq!(ws.close_code().await, close_code::POLICY);
}

#[tokio::test]
async fn a_run_over_the_rate_is_refused_with_the_time_to_wait() {
    let rig = Rig::start_with(|settings| {
        settings.rates = Rates {
            runs_per_minute: 1,
            ..Rates::default()
        };
    })
    .await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "help").await;
    ws.wait_for("turn_complete").await;
    ws.say("s", "help").await;
    let error = ws.wait_for("error").await;
    assert_eq!(error["code"], "rate_limited");
    assert!(error["retry_after_ms"].as_u64().unwrap() > 1_000);
}

#[tokio::test]
async fn a_change_by_one_device_is_a_resource_event_for_the_others() {
    let rig = Rig::start().await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.send(json!({"type": "ping"})).await;
    ws.wait_for("pong").await;
    rig.call(
        &rig.network.owner(),
        crate::rig::post("/api/upload?filename=a.txt", "x"),
    )
    .await;
    let event = ws.wait_for("resource_event").await;
    assert_eq!(
        event,
        json!({"type": "resource_event", "resource": "file", "action": "created", "id": "a.txt"})
    );
}
