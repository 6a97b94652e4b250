//! `/mcp`: the agent as a server for other people's clients.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use homing_certs::Role;
use http::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use crate::mcp::npm::{installed, node, script};
use crate::network::{Device, EVERY_SCOPE};
use crate::rig::{Answer, LIMIT, Rig};

fn request(host: &str, message: &Value) -> Request<Body> {
    Request::post("/mcp")
        .header("host", host)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Body::from(message.to_string()))
        .unwrap()
}

async fn ask(rig: &Rig, device: &Arc<Device>, method: &str, params: Value) -> Answer {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    rig.call(device, request("127.0.0.1:8080", &message)).await
}

pub(crate) async fn call(rig: &Rig, device: &Arc<Device>, tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    ask(rig, device, "tools/call", params).await.json()
}

async fn names(rig: &Rig, device: &Arc<Device>) -> Vec<String> {
    let list = ask(rig, device, "tools/list", json!({})).await.json();
    let tools = list["result"]["tools"].as_array().unwrap().iter();
    tools
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_client_is_greeted_and_finds_what_the_device_may_use() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let hello = json!({
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}
    });
    let answer = ask(&rig, &owner, "initialize", hello).await.json();
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(answer["result"]["serverInfo"]["name"], "homing");
    let all = names(&rig, &owner).await;
    for offered in ["devices", "system", "whoami", "ask_agent"] {
        assert!(all.contains(&offered.to_owned()), "{offered}: {all:?}");
    }
    assert!(!all.contains(&"shell".to_owned()), "{all:?}");
    let node = rig.network.device("owner", Role::Node, EVERY_SCOPE);
    let status = names(&rig, &node).await;
    assert!(status.contains(&"system".to_owned()));
    assert!(!status.contains(&"ask_agent".to_owned()));
    let bare = rig.network.device("owner", Role::Client, &[]);
    let least = names(&rig, &bare).await;
    assert!(least.contains(&"whoami".to_owned()));
    assert!(!least.contains(&"system".to_owned()) && !least.contains(&"ask_agent".to_owned()));

    let who = call(&rig, &bare, "whoami", json!({})).await;
    let who = &who["result"]["structuredContent"];
    assert_eq!(who["node_id"], bare.id().to_string());
    for hidden in ["system", "shell", "ask_agent", "nothing"] {
        let answer = call(&rig, &bare, hidden, json!({"text": "help"})).await;
        let refused = answer["error"]["code"] == -32602 || answer["result"]["isError"] == true;
        assert!(refused, "{answer}");
    }
}

#[tokio::test]
async fn asking_the_agent_is_a_turn_in_a_session_of_the_device() {
    let rig = Rig::start().await;
    let phone = rig.network.device("ann", Role::Client, &["chat"]);
    let answer = call(&rig, &phone, "ask_agent", json!({"text": "who am i"})).await;
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("ann"), "{answer}");
    let again = call(&rig, &phone, "ask_agent", json!({"text": "help"})).await;
    assert_eq!(again["result"]["isError"], false, "{again}");
    let sessions = rig.get(&phone, "/api/sessions").await.json();
    let session = &sessions["sessions"][0];
    assert_eq!(session["session_id"], format!("mcp:{}", phone.id()));
    assert_eq!(session["messages"], 4);
    let lines = rig.audit_lines().await;
    let asked = lines.iter().filter(|line| line["target"] == "ask_agent");
    assert_eq!(asked.count(), 2);
    let wrong = call(&rig, &phone, "ask_agent", json!({})).await;
    assert_eq!(wrong["result"]["isError"], true);
}

#[tokio::test]
async fn runs_are_counted_however_they_are_started() {
    let rig = Rig::start_with(|settings| settings.rates.runs_per_minute = 2).await;
    let owner = rig.network.owner();
    for _ in 0..2 {
        let answer = call(&rig, &owner, "ask_agent", json!({"text": "help"})).await;
        assert_eq!(answer["result"]["isError"], false);
    }
    let refused = call(&rig, &owner, "ask_agent", json!({"text": "help"})).await;
    assert_eq!(refused["result"]["isError"], true);
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("too many"), "{text}");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_stopped() {
    let rig = Rig::start_with(|settings| {
        settings.pace = std::time::Duration::from_millis(200);
    })
    .await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    let session = format!("mcp:{}", owner.id());
    ws.open(&session, 0).await;
    tokio::select! {
        answer = call(&rig, &owner, "ask_agent", json!({"text": "help"})) => panic!("{answer}"),
        _ = ws.wait_for("delta") => {}
    }
    let end = ws.wait_for("turn_complete").await;
    assert_eq!(end["reason"], "interrupted");
}

#[tokio::test]
async fn a_page_of_another_site_does_not_get_in_through_a_name_or_its_origin() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let rebound = rig
        .call(&owner, request("evil.example:8080", &message))
        .await;
    assert_eq!(rebound.status, StatusCode::FORBIDDEN);
    for origin in ["http://evil.example", "http://localhost:3000", "null"] {
        let mut request = request("localhost:8080", &message);
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        let answer = rig.call(&owner, request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
    }
    let mut own = request("localhost:8080", &message);
    let origin = "http://localhost:8080".parse().unwrap();
    own.headers_mut().insert("origin", origin);
    assert_eq!(rig.call(&owner, own).await.status, StatusCode::OK);
    for host in [
        "localhost",
        "[::1]:9",
        "attic",
        &rig.state.settings.node_id.to_string(),
    ] {
        let answer = rig.call(&owner, request(host, &message)).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused_in_bounds() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "x".repeat(2 << 20)});
    let answer = rig.call(&owner, request("localhost", &long)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let get = Request::get("/mcp").body(Body::empty()).unwrap();
    assert_eq!(rig.call(&owner, get).await.code(), "method_not_allowed");
    let unknown = ask(&rig, &owner, "no/such", json!({})).await.json();
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
}

/// What this agent does not offer is listed as an expected failure; everything else must pass, and
/// nothing of the list may.
#[tokio::test]
async fn the_conformance_suite_finds_nothing_that_is_not_known() {
    let npm = installed().await;
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let service = rig.connect(&owner).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    });
    let known = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mcp_server/known.yaml");
    let dir = tempfile::tempdir().unwrap();
    let suite = tokio::process::Command::new(node(&npm))
        .args([
            script(&npm, "conformance/dist/index.js").as_str(),
            "server",
            "--url",
            &url,
        ])
        .arg("--expected-failures")
        .arg(known)
        .current_dir(dir.path())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(6 * LIMIT, suite)
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
