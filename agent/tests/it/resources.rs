//! What each resource answers.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use homing_certs::Role;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tower::ServiceExt;

use crate::rig::{Answer, LIMIT, Rig, get, post};

#[tokio::test]
async fn health_tells_that_the_agent_lives_and_what_it_costs() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let (service, other) = (rig.connect(&device).await, rig.connect(&device).await);
    let ask =
        || async { Answer::read(service.clone().oneshot(get("/api/health")).await.unwrap()).await };
    let health = ask().await.json();
    assert_eq!(
        (&health["status"], &health["agent"]),
        (&json!("ok"), &json!("attic"))
    );
    assert_eq!(health["connections"], 2);
    assert!(health["memory_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(health["uptime_seconds"].is_u64());
    drop(other);
    assert_eq!(ask().await.json()["connections"], 1);
}

#[tokio::test]
async fn whoami_and_agent_info_name_both_ends() {
    let rig = Rig::start().await;
    let device = rig.network.device("ann", Role::Client, &["chat", "models"]);
    let who = rig.get(&device, "/api/whoami").await.json();
    assert_eq!(who["node_id"], device.id().to_string());
    assert_eq!(
        (&who["user"], &who["role"], &who["path"]),
        (&json!("ann"), &json!("client"), &json!("direct"))
    );
    assert_eq!(
        who["scopes"],
        json!(["chat"]),
        "models is above the ceiling of a client"
    );
    assert_eq!(who["certificate"]["generation"], 5);
    let info = rig.get(&device, "/api/agent-info").await.json();
    assert_eq!(info["network_id"], rig.network.id().to_string());
    assert_eq!(info["name"], "attic");
}

#[tokio::test]
async fn devices_are_listed_in_pages_and_those_of_others_only_with_the_scope() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let phone = rig.network.device("owner", Role::Client, &["chat"]);
    let guest = rig.network.device("guest", Role::Client, &["chat"]);
    let online = rig.connect(&phone).await;
    rig.get(&guest, "/api/health").await;

    let all = rig.get(&owner, "/api/devices").await.json();
    assert_eq!(all["devices"].as_array().unwrap().len(), 3);
    let find = |id: String| {
        let devices = all["devices"].as_array().unwrap();
        devices
            .iter()
            .find(|device| device["node_id"] == json!(id))
            .unwrap()
            .clone()
    };
    assert_eq!(find(phone.id().to_string())["online"], json!(true));
    assert_eq!(find(guest.id().to_string())["online"], json!(false));

    let own = rig.get(&phone, "/api/devices").await.json();
    assert_eq!(own["devices"].as_array().unwrap().len(), 2);
    assert!(!own.to_string().contains("guest"));

    let first = rig.get(&owner, "/api/devices?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = rig
        .get(&owner, &format!("/api/devices?limit=2&cursor={cursor}"))
        .await
        .json();
    assert_eq!(rest["devices"].as_array().unwrap().len(), 1);
    assert!(rest["next_cursor"].is_null());
    drop(online);
}

#[tokio::test]
async fn sessions_are_listed_in_pages_and_cleared_without_reusing_numbers() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    for session in ["a", "b", "c"] {
        ws.say(session, "help").await;
        ws.wait_for("turn_complete").await;
    }
    let page = rig.get(&device, "/api/sessions?limit=2").await.json();
    assert_eq!(page["sessions"][0]["session_id"], "a");
    assert_eq!(page["sessions"][0]["messages"], 2);
    let rest = rig
        .get(&device, "/api/sessions?limit=2&cursor=b")
        .await
        .json();
    assert_eq!(rest["sessions"][0]["session_id"], "c");

    let before = page["sessions"][0]["last_seq"].as_u64().unwrap();
    let cleared = rig.call(&device, post("/api/sessions/a/clear", "")).await;
    assert_eq!(cleared.json()["cleared"], json!(true));
    let page = rig.get(&device, "/api/sessions?limit=1").await.json();
    assert_eq!(page["sessions"][0]["messages"], 0);
    assert_eq!(
        page["sessions"][0]["last_seq"].as_u64().unwrap(),
        before + 1
    );
    let unknown = rig.call(&device, post("/api/sessions/zzz/clear", "")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn echo_sends_back_every_byte_and_the_trailers() {
    let rig = Rig::start().await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    let frames = vec![
        Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"one "))),
        Ok(Frame::data(Bytes::from_static(b"two"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    let request = Request::post("/api/echo")
        .header("trailer", "x-sum")
        .body(body)
        .unwrap();
    let service = rig.connect(&rig.network.owner()).await;
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["trailer"], "x-sum");
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
    assert_eq!(collected.to_bytes(), "one two");
}

#[tokio::test]
async fn a_blob_is_the_pattern_of_the_asked_length() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    for length in [0usize, 1, 251, 64_256, 64_257, 300_000] {
        let answer = rig.get(&device, &format!("/api/blob?bytes={length}")).await;
        assert_eq!(answer.body.len(), length);
        assert!(
            answer
                .body
                .iter()
                .enumerate()
                .all(|(at, byte)| usize::from(*byte) == at % 251)
        );
    }
}

#[tokio::test]
async fn every_page_forbids_framing_inline_code_and_sniffing() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    for path in ["/", "/assets/app.js", "/assets/app.css"] {
        let answer = rig.get(&device, path).await;
        assert_eq!(answer.status, StatusCode::OK);
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
    }
    let html = String::from_utf8(rig.get(&device, "/").await.body).unwrap();
    assert!(!html.contains("<style") && !html.contains("onclick") && !html.contains("javascript:"));
    assert_eq!(
        html.matches("<script").count(),
        html.matches("<script src=").count()
    );
    let api = rig.get(&device, "/api/health").await;
    assert!(
        api.header("content-security-policy")
            .contains("default-src 'none'")
    );
}

#[tokio::test]
async fn events_are_followed_as_they_come_and_end_with_a_revocation() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let other = rig
        .network
        .device("other", Role::Client, &["files", "status.read"]);
    let service = rig.connect(&device).await;
    let response = service.oneshot(get("/api/events")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(LIMIT, body.frame()).await.unwrap();
        frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(next().await.unwrap(), ": following\n\n");
    let put = |name: &str| {
        Request::put(format!("/api/files/{name}"))
            .body(Body::from("x"))
            .unwrap()
    };
    rig.call(&other, put("theirs.txt")).await;
    rig.call(&device, put("mine.txt")).await;
    let event = next().await.unwrap();
    assert!(
        event.starts_with("id: 1\nevent: resource_event\ndata: "),
        "{event}"
    );
    assert!(event.contains("mine.txt") && !event.contains("theirs.txt"));
    device.revoke();
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_follower_that_comes_back_goes_on_after_its_last_event() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    for name in ["a", "b", "c"] {
        rig.state
            .feeds
            .of(device.user())
            .publish("file", "created", name);
    }
    let request = Request::get("/api/events")
        .header("last-event-id", "2")
        .body(Body::empty())
        .unwrap();
    let service = rig.connect(&device).await;
    let mut body = service.oneshot(request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let frame = tokio::time::timeout(LIMIT, body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(
        text.starts_with("id: 3\n") && text.contains("\"c\""),
        "{text}"
    );
}

#[tokio::test]
async fn a_quiet_event_stream_has_a_heartbeat() {
    let rig = Rig::start().await;
    let service = rig.connect(&rig.network.owner()).await;
    let mut body = service
        .oneshot(get("/api/events"))
        .await
        .unwrap()
        .into_body();
    body.frame().await.unwrap().unwrap();
    // Only now: the database's threads live in real time.
    tokio::time::pause();
    let frame = tokio::time::timeout(Duration::from_secs(16), body.frame())
        .await
        .unwrap();
    assert_eq!(
        frame.unwrap().unwrap().into_data().unwrap(),
        ": heartbeat\n\n"
    );
}

#[tokio::test]
async fn logs_show_the_newest_lines_of_the_audit_log() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, post("/api/upload?filename=a.txt", "x"))
        .await;
    rig.state.audit.head().await.unwrap();
    let logs = rig.get(&device, "/api/logs?lines=1000").await.json();
    let lines = logs["lines"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line["entry"]["target"] == "/api/upload"),
        "{logs}"
    );
    assert!(
        lines.iter().any(|line| line["entry"]["kind"] == "ended"),
        "{logs}"
    );
    let one = rig.get(&device, "/api/logs?lines=1").await.json();
    assert_eq!(one["lines"].as_array().unwrap().len(), 1);
}
