//! `/v1` and `/chat`: what programs send and read, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::network::Device;
use crate::rig::{Answer, LIMIT, Rig, post};

fn ask(path: &str, body: &Value) -> Request<Body> {
    let mut request = post(path, body.to_string());
    let headers = request.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    // What the official libraries always send.
    headers.insert("authorization", "Bearer sk-not-ours".parse().unwrap());
    request
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

async fn call(rig: &Rig, device: &Arc<Device>, path: &str, body: Value) -> Answer {
    rig.call(device, ask(path, &body)).await
}

/// The pieces of a stream, to its end.
async fn stream(rig: &Rig, device: &Arc<Device>, path: &str, body: Value) -> Vec<(String, String)> {
    let service = rig.connect(device).await;
    let response = service.oneshot(ask(path, &body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = tokio::time::timeout(LIMIT, response.into_body().collect());
    let bytes = body.await.unwrap().unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.ends_with("\n\n"), "{text}");
    text.split_terminator("\n\n")
        .map(|piece| {
            let line = |name: &str| {
                let found = piece.lines().find_map(|line| line.strip_prefix(name));
                found.unwrap_or_default().to_owned()
            };
            (line("event: "), line("data: "))
        })
        .collect()
}

/// Until the agent has no session of the device's user.
async fn no_session_is_left(rig: &Rig, device: &Arc<Device>) {
    let feed = rig.state.feeds.of(crate::rig::user_of(device));
    let mut moved = feed.subscribe();
    let empty = async {
        while rig.get(device, "/api/sessions").await.json()["sessions"] != json!([]) {
            moved.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, empty).await.unwrap();
}

#[tokio::test]
async fn a_whole_answer_of_the_agents_tools_comes_as_a_chat_completion() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let body = json!({ "model": "homing", "messages": [user("status")], "temperature": 0.3 });
    let answer = call(&rig, &device, "/v1/chat/completions", body).await;
    let whole = answer.json();
    assert_eq!(answer.status, StatusCode::OK, "{whole}");
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["model"], "built-in");
    let id = answer.header("homing-request-id");
    assert_eq!(whole["id"], format!("chatcmpl-{id}"));
    assert!(whole["created"].as_i64().unwrap() > 1_700_000_000);
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["message"]["role"], "assistant");
    assert!(choice["message"].get("tool_calls").is_none());
    let text = choice["message"]["content"].as_str().unwrap();
    assert!(text.contains("CPU:"), "{text}");
    let usage = &whole["usage"];
    let sum =
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    assert!(sum > 0);
    no_session_is_left(&rig, &device).await;
}

#[tokio::test]
async fn a_streamed_answer_has_a_role_the_words_an_end_and_its_usage() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let body = json!({
        "messages": [user("status")], "stream": true, "stream_options": { "include_usage": true }
    });
    let mut pieces = stream(&rig, &device, "/v1/chat/completions", body).await;
    assert_eq!(pieces.pop().unwrap().1, "[DONE]");
    let chunks: Vec<Value> = pieces
        .iter()
        .map(|(_, data)| serde_json::from_str(data).unwrap())
        .collect();
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
    }
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert!(text.contains("CPU:"), "{text}");
    let [.., end, usage] = &chunks[..] else {
        panic!("{chunks:?}")
    };
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(end["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    no_session_is_left(&rig, &device).await;
}

#[tokio::test]
async fn a_response_comes_whole_and_as_events_with_rising_numbers() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let body = json!({ "model": "homing", "input": "help", "instructions": "be brief" });
    let whole = call(&rig, &device, "/v1/responses", body).await.json();
    assert_eq!(
        (&whole["object"], &whole["status"]),
        (&json!("response"), &json!("completed"))
    );
    let text = whole["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(!text.is_empty());

    let parts = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "help" }] }]);
    let body = json!({ "input": parts, "stream": true });
    let pieces = stream(&rig, &device, "/v1/responses", body).await;
    let mut streamed = String::new();
    for (number, (name, data)) in pieces.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(
            (&event["type"], &event["sequence_number"]),
            (&json!(name), &json!(number))
        );
        if name == "response.output_text.delta" {
            streamed.push_str(event["delta"].as_str().unwrap());
        }
    }
    let names: Vec<&str> = pieces.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..5],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta"
        ]
    );
    assert_eq!(names.last(), Some(&"response.completed"));
    let last: Value = serde_json::from_str(&pieces.last().unwrap().1).unwrap();
    assert_eq!(
        last["response"]["output"][0]["content"][0]["text"],
        streamed
    );
    assert_eq!(streamed, text);
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let list = rig.get(&device, "/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["homing", "built-in"]);
    for id in ids {
        let model = rig.get(&device, &format!("/v1/models/{id}")).await.json();
        assert_eq!(
            (&model["id"], &model["object"]),
            (&json!(id), &json!("model"))
        );
    }
    let missing = rig.get(&device, "/v1/models/openai%2Fgpt").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.code(), "model_not_found");
}

#[tokio::test]
async fn what_the_agent_cannot_do_is_refused_in_the_shape_that_programs_read() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
    let image = json!([{ "type": "image_url", "image_url": { "url": "data:," } }]);
    let long = "x".repeat(600 << 10);
    let cases = [
        (
            "chat/completions",
            json!({ "messages": [user("hi")], "tools": tool }),
            400,
            "tools_not_supported",
        ),
        (
            "chat/completions",
            json!({ "messages": [{ "role": "tool", "content": "1" }] }),
            400,
            "tools_not_supported",
        ),
        (
            "chat/completions",
            json!({ "messages": [user("hi")], "model": "gpt-5" }),
            404,
            "model_not_found",
        ),
        (
            "chat/completions",
            json!({ "messages": [user("hi")], "n": 2 }),
            400,
            "unsupported_parameter",
        ),
        (
            "chat/completions",
            json!({ "messages": [{ "role": "user", "content": image }] }),
            400,
            "unsupported_content",
        ),
        (
            "chat/completions",
            json!({ "messages": [] }),
            400,
            "bad_messages",
        ),
        (
            "chat/completions",
            json!({ "messages": [user(&long), user(&long), user("hi")] }),
            400,
            "context_length_exceeded",
        ),
        (
            "chat/completions",
            json!({ "messages": [user(&long)] }),
            400,
            "bad_message",
        ),
        (
            "chat/completions",
            json!({ "prompt": "hi" }),
            400,
            "bad_request",
        ),
        (
            "responses",
            json!({ "input": "hi", "tools": [{ "type": "web_search" }] }),
            400,
            "tools_not_supported",
        ),
        (
            "responses",
            json!({ "input": "hi", "previous_response_id": "resp_1" }),
            400,
            "unsupported_parameter",
        ),
        (
            "responses",
            json!({ "input": [{ "type": "function_call_output", "output": "1" }] }),
            400,
            "tools_not_supported",
        ),
    ];
    for (path, body, status, code) in cases {
        // A device of its own for each: they share no rate.
        let device = rig
            .network
            .device("other", homing_certs::Role::Client, &["chat"]);
        let answer = call(&rig, &device, &format!("/v1/{path}"), body).await;
        let error = answer.json()["error"].clone();
        assert_eq!(
            (answer.status.as_u16(), error["code"].as_str()),
            (status, Some(code)),
            "{error}"
        );
        assert!(error["message"].as_str().unwrap().len() > 5);
        assert!(
            error["type"].is_string() && error.get("param").is_some(),
            "{error}"
        );
    }
    let outside = rig.get(&device, "/v1/nothing").await.json();
    assert_eq!(outside["error"]["type"], "not_found_error");
    let own = rig.get(&device, "/api/nothing").await.json();
    assert!(own["error"].get("type").is_none());
    no_session_is_left(&rig, &device).await;
}

#[tokio::test]
async fn a_named_session_remembers_and_a_nameless_request_leaves_nothing() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let body = json!({ "messages": [user("help")], "metadata": { "session_id": "kept" } });
    assert_eq!(
        call(&rig, &device, "/v1/chat/completions", body)
            .await
            .status,
        StatusCode::OK
    );
    let mut request = ask("/v1/responses", &json!({ "input": "help" }));
    request
        .headers_mut()
        .insert("x-homing-session", "kept".parse().unwrap());
    assert_eq!(rig.call(&device, request).await.status, StatusCode::OK);
    let sessions = rig.get(&device, "/api/sessions").await.json()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
    assert_eq!(
        (&sessions[0]["session_id"], &sessions[0]["messages"]),
        (&json!("kept"), &json!(4))
    );
}

#[tokio::test]
async fn a_program_that_goes_ends_its_turn_and_only_its_own() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(100)).await;
    let device = rig.network.owner();
    // Somebody else of the same user talks meanwhile.
    let other = rig.network.device(
        "owner",
        homing_certs::Role::Client,
        &["chat", "status.read"],
    );
    let mut person = rig.ws(&other).await;
    person.say("person", "status").await;
    person.wait_for("delta").await;

    let service = rig.connect(&device).await;
    let body = json!({ "messages": [user("status")], "stream": true });
    let response = service
        .oneshot(ask("/v1/chat/completions", &body))
        .await
        .unwrap();
    let mut body = response.into_body();
    let first_words = async {
        let mut text = String::new();
        while !text.contains("CPU") && !text.contains("This") {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(LIMIT, first_words).await.unwrap();
    drop(body);

    let feed = rig.state.feeds.of(crate::rig::user_of(&device));
    let mut moved = feed.subscribe();
    let gone = async {
        loop {
            let sessions = rig.get(&device, "/api/sessions").await.json()["sessions"].clone();
            if sessions.as_array().unwrap().len() == 1 {
                return sessions;
            }
            moved.changed().await.unwrap();
        }
    };
    let left = tokio::time::timeout(LIMIT, gone).await.unwrap();
    assert_eq!(left[0]["session_id"], "person");
    let ends: Vec<Value> = rig
        .audit_lines()
        .await
        .into_iter()
        .filter(|line| line["kind"] == "turn")
        .collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends[0].to_string().contains("interrupted"), "{ends:?}");
    // The person's answer goes on to its end.
    assert_eq!(person.wait_for("turn_complete").await["reason"], "done");
}

#[tokio::test]
async fn what_an_earlier_process_left_of_a_nameless_request_is_gone_after_a_start() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_millis(200)).await;
    let device = rig.network.owner();
    let service = rig.connect(&device).await;
    let body = json!({ "messages": [user("status")], "stream": true });
    let response = service
        .oneshot(ask("/v1/chat/completions", &body))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let died = rig.die_and_restart().await;
    let sessions = died.get(&device, "/api/sessions").await.json();
    assert_eq!(
        sessions["sessions"].as_array().unwrap().len(),
        1,
        "the death came too early"
    );
    died.state.resume(|_| false).await.unwrap();
    let sessions = died.get(&device, "/api/sessions").await.json();
    assert_eq!(sessions["sessions"], json!([]));
}

#[tokio::test]
async fn runs_of_programs_are_limited_like_those_of_people() {
    let rig = Rig::start_with(|settings| settings.rates.runs_per_minute = 2).await;
    let device = rig.network.owner();
    let body = json!({ "messages": [user("help")] });
    for _ in 0..2 {
        let answer = call(&rig, &device, "/v1/chat/completions", body.clone()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let refused = call(&rig, &device, "/v1/chat/completions", body).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn neither_the_key_of_a_program_nor_its_words_reach_the_audit_log() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let body = json!({ "messages": [user("help with apricots")] });
    call(&rig, &device, "/v1/chat/completions", body).await;
    no_session_is_left(&rig, &device).await;
    let lines = format!("{:?}", rig.audit_lines().await);
    assert!(
        !lines.contains("sk-not-ours") && !lines.contains("apricots"),
        "{lines}"
    );
}

#[tokio::test]
async fn chat_answers_one_message_and_names_the_tools_that_it_used() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let first = call(&rig, &device, "/chat", json!({ "message": "status" })).await;
    let first = first.json();
    assert!(
        first["message"].as_str().unwrap().contains("CPU:"),
        "{first}"
    );
    let names: Vec<&str> = first["tool_calls_made"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"system"), "{first}");
    assert_eq!(first["tool_calls_made"][0]["ok"], true);
    let id = first["conversation_id"].clone();
    let body = json!({ "message": "help", "conversation_id": id });
    let second = call(&rig, &device, "/chat", body).await.json();
    assert_eq!(second["conversation_id"], id);
    assert_eq!(second["tool_calls_made"], json!([]));
    let sessions = rig.get(&device, "/api/sessions").await.json();
    assert_eq!(sessions["sessions"][0]["messages"], 4);
    let bad = call(&rig, &device, "/chat", json!({ "text": "x" })).await;
    assert_eq!(bad.code(), "bad_body");
    assert!(bad.json()["error"]["hint"].is_string());
}
