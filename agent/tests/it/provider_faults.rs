//! A provider that answers badly, seen from the conversation: the turn ends with words for the
//! person, nothing of a half answer is done, and the next turn is whole.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::fakes::{Fake, STREAM_HEAD, Script, Step, openai, status, stream};
use crate::models::{model, provider, send};
use crate::rig::{LIMIT, Rig, Ws, text_of};

/// Times that a server is asked that might do better the next time.
const TRIES: usize = 3;

/// Piece of a tool call's arguments, in bytes.
const PIECE: usize = 64 << 10;

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// The beginning of a call of the tool that tells the machine's state.
fn call(arguments: &Value) -> String {
    let function = json!({ "name": "system", "arguments": arguments });
    let call = json!({ "index": 0, "id": "c", "type": "function", "function": function });
    openai::piece(&json!({ "tool_calls": [call] }), None)
}

/// A tool call whose arguments have 10 MB, in many pieces.
fn endless_arguments() -> Script {
    let mut script = stream(&[call(&json!("{\"a\":\""))]);
    for _ in 0..10_000_000 / PIECE {
        let function = json!({ "arguments": "x".repeat(PIECE) });
        let delta = json!({ "tool_calls": [{ "index": 0, "function": function }] });
        script.push(Step::Send(openai::piece(&delta, None).into_bytes()));
    }
    script.push(Step::Send(openai::end("tool_calls").into_bytes()));
    script
}

/// What a server does, how often it is asked, and what the person is told.
fn faults() -> Vec<(&'static str, Script, usize, &'static str)> {
    let refused = |code, headers| openai::error(code, headers, "no");
    let wait = "retry-after: 3600\r\n";
    let half = openai::text("half");
    let cut = format!("{STREAM_HEAD}{half}{}", &half[..half.len() / 2]);
    let not_understood = "cannot be understood";
    vec![
        ("401", refused(401, ""), 1, "refused the key"),
        ("429", refused(429, ""), TRIES, "asks to wait"),
        (
            "429, an hour",
            refused(429, wait),
            1,
            "asks to wait for 3600 seconds",
        ),
        ("500", refused(500, ""), TRIES, "failed (status 500)"),
        ("half a frame", vec![Step::Send(cut.into())], 1, "broke off"),
        (
            "half JSON",
            stream(&[event("{\"choices\":[{")]),
            1,
            not_understood,
        ),
        ("no JSON", stream(&[event("hello")]), 1, not_understood),
        (
            "text for a list",
            stream(&[event("{\"choices\":\"x\"}")]),
            1,
            not_understood,
        ),
        (
            "number for a text",
            stream(&[openai::piece(&json!({ "content": 7 }), None)]),
            1,
            not_understood,
        ),
        (
            "list for arguments",
            stream(&[call(&json!([1])), openai::end("tool_calls")]),
            1,
            not_understood,
        ),
        (
            "10 MB of arguments",
            endless_arguments(),
            1,
            "too long: the arguments of a tool",
        ),
        ("empty stream", stream(&[]), 1, "broke off"),
        (
            "nothing but the last line",
            stream(&[event("[DONE]")]),
            1,
            "broke off",
        ),
        ("empty body", status(200, "", ""), 1, "broke off"),
    ]
}

/// Says something, and what the person is told of the turn that fails.
async fn failing(ws: &mut Ws) -> (String, Vec<Value>) {
    ws.say("s", "hello").await;
    let frames = ws.until("turn_complete").await;
    assert_eq!(frames.last().unwrap()["reason"], "failed", "{frames:?}");
    let error = frames.iter().find(|frame| frame["type"] == "error");
    let told = error.unwrap()["text"].as_str().unwrap().to_owned();
    (told, frames)
}

#[tokio::test]
async fn a_provider_that_answers_badly_ends_the_turn_with_words_and_the_next_one_is_whole() {
    for (fault, script, tries, words) in faults() {
        let mut scripts = vec![script; tries];
        scripts.push(openai::answer(&["whole"]));
        let fake = Fake::start(scripts).await;
        let rig = Rig::start().await;
        let owner = rig.network.owner();
        let id = provider(&rig, &owner, "home", &fake).await;
        model(&rig, &owner, &id, json!({ "model": "m" })).await;
        let mut ws = rig.ws(&owner).await;
        let (told, frames) = failing(&mut ws).await;
        assert!(told.contains(words), "{fault}: {told}");
        let ran = frames.iter().any(|frame| frame["type"] == "tool_call");
        assert!(!ran, "{fault}: a half call was made: {frames:?}");
        ws.say("s", "again").await;
        let frames = ws.until("turn_complete").await;
        assert_eq!(text_of(&frames), "whole", "{fault}");
        assert_eq!(fake.seen().len(), tries + 1, "{fault}");
    }
}

#[tokio::test]
async fn an_unknown_reason_to_end_is_an_end() {
    let script = stream(&[openai::text("all of it"), openai::end("because")]);
    let fake = Fake::always(script).await;
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let id = provider(&rig, &owner, "home", &fake).await;
    model(&rig, &owner, &id, json!({ "model": "m" })).await;
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "hello").await;
    let frames = ws.until("turn_complete").await;
    assert_eq!(text_of(&frames), "all of it");
    assert_eq!(frames.last().unwrap()["reason"], "done");
}

/// A TLS server with a certificate that nobody vouches for; what it was told inside of TLS.
fn unknown_authority() -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}/v1",
        listener.local_addr().unwrap().port()
    );
    let told = std::thread::spawn(move || {
        let mut told = Vec::new();
        for stream in listener.incoming().take(TRIES) {
            let connection = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
            tls.sock.set_read_timeout(Some(LIMIT)).unwrap();
            // The client ends the handshake with an alert.
            let ended = tls.read_to_end(&mut told);
            assert!(ended.is_err(), "the certificate was taken");
        }
        told
    });
    (url, told)
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_hears_nothing() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let (url, told) = unknown_authority();
    let body = json!({ "name": "home", "profile": "custom", "base_url": url, "api_key": "sk-0123456789abcd" });
    let added = send(&rig, &owner, "POST", "/api/providers", body)
        .await
        .json();
    model(
        &rig,
        &owner,
        added["id"].as_str().unwrap(),
        json!({ "model": "m" }),
    )
    .await;
    let mut ws = rig.ws(&owner).await;
    let (error, _) = failing(&mut ws).await;
    assert!(error.contains("cannot be reached"), "{error}");
    let told = tokio::task::spawn_blocking(|| told.join().unwrap());
    let told = tokio::time::timeout(LIMIT, told).await.unwrap().unwrap();
    assert!(told.is_empty(), "{}", String::from_utf8_lossy(&told));
}
