//! Who is refused, why, and what the refusal says.

use std::sync::atomic::Ordering;

use axum::body::Body;
use homing_agent::limits::Rates;
use homing_certs::Role;
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;

use crate::network::EVERY_SCOPE;
use crate::rig::{Answer, Rig, get, post};

const LOCAL: &str = "homing-local";

fn local(path: &str, value: &str) -> Request<Body> {
    Request::get(path)
        .header(LOCAL, value)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn no_header_changes_who_is_calling() {
    let rig = Rig::start().await;
    let device = rig.network.device("ann", Role::Client, &["chat"]);
    let plain = rig.get(&device, "/api/whoami").await.json();
    let request = Request::get("/api/whoami")
        .header("peer-id", rig.network.owner().id().to_string())
        .header("homing-role", "admin")
        .header("authorization", "Bearer root")
        .header("x-forwarded-user", "owner")
        .body(Body::empty())
        .unwrap();
    assert_eq!(rig.call(&device, request).await.json(), plain);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_reason_and_the_next_step() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    assert_eq!(rig.get(&device, "/api/health").await.status, StatusCode::OK);
    device.later.store(40 * 86_400, Ordering::Relaxed);
    let answer = rig.get(&device, "/api/health").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::UNAUTHORIZED, "cert_expired")
    );
    assert!(
        answer.json()["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("renew")
    );
}

#[tokio::test]
async fn a_device_revoked_between_two_requests_of_a_connection_is_refused_at_the_second() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let service = rig.connect(&device).await;
    let first = service.clone().oneshot(get("/api/whoami")).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    device.revoke();
    let second = Answer::read(service.oneshot(get("/api/whoami")).await.unwrap()).await;
    assert_eq!(second.code(), "revoked");
}

#[tokio::test]
async fn a_device_that_its_host_denies_is_forbidden_on_its_next_request() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let service = rig.connect(&device).await;
    let first = service.clone().oneshot(get("/api/whoami")).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    rig.state.denied.insert(device.id());
    let second = Answer::read(service.oneshot(get("/api/whoami")).await.unwrap()).await;
    assert_eq!(second.code(), "forbidden");
    assert_eq!(second.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_the_proxys_token_an_admin_is_a_client_without_the_dangerous_scopes() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let with = rig
        .call(&device, local("/api/whoami", "token"))
        .await
        .json();
    assert_eq!(
        (&with["role"], &with["capped"]),
        (&json!("admin"), &json!(false))
    );
    let without = rig
        .call(&device, local("/api/whoami", "capped"))
        .await
        .json();
    assert_eq!(
        (&without["role"], &without["capped"]),
        (&json!("client"), &json!(true))
    );
    let scopes = without["scopes"].as_array().unwrap();
    for scope in [
        "exec.approve",
        "config.write",
        "invite",
        "devices.revoke",
        "*",
    ] {
        assert!(!scopes.contains(&json!(scope)), "{scope}");
    }
    assert!(scopes.contains(&json!("chat")));
    let odd = rig
        .call(&device, local("/api/whoami", "admin"))
        .await
        .json();
    assert_eq!(odd["capped"], json!(true));
}

#[tokio::test]
async fn a_stale_log_stops_what_needs_a_fresh_one_and_nothing_else() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    device.staleness_secs.store(15 * 60 + 1, Ordering::Relaxed);
    let put = || {
        Request::put("/api/files/a.txt")
            .body(Body::from("x"))
            .unwrap()
    };
    let answer = rig.call(&device, put()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::FORBIDDEN, "stale_policy")
    );
    assert_eq!(
        rig.get(&device, "/api/sessions").await.status,
        StatusCode::OK
    );
    device.staleness_secs.store(15 * 60, Ordering::Relaxed);
    assert_eq!(rig.call(&device, put()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_request_over_the_rate_is_told_when_to_come_again_and_others_are_not_affected() {
    let rates = Rates {
        reads_per_second: 5,
        writes_per_second: 2,
        ..Rates::default()
    };
    let rig = Rig::start_with(|settings| settings.rates = rates).await;
    let device = rig.network.owner();
    for _ in 0..5 {
        assert_eq!(
            rig.get(&device, "/api/agent-info").await.status,
            StatusCode::OK
        );
    }
    let mut answer = rig.get(&device, "/api/agent-info").await;
    // A slow machine may have earned one more in between; it cannot have earned twenty.
    for _ in 0..20 {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        answer = rig.get(&device, "/api/agent-info").await;
    }
    assert_eq!(answer.code(), "rate_limited");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    let other = rig.network.owner();
    assert_eq!(
        rig.get(&other, "/api/agent-info").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn refusals_name_the_request_and_are_in_the_audit_log() {
    let rig = Rig::start().await;
    let device = rig.network.device("owner", Role::Client, &["chat"]);
    let answer = rig.get(&device, "/api/logs?lines=5").await;
    let id = answer.header("homing-request-id").to_owned();
    assert!(!id.is_empty());
    assert_eq!(answer.json()["error"]["request_id"], json!(id));
    let lines = rig.audit_lines().await;
    let refused = lines.iter().find(|line| line["kind"] == "refused").unwrap();
    assert_eq!(
        refused["target"], "/api/logs",
        "the query is not in the log"
    );
    assert_eq!(refused["capability"], "audit.read");
}

#[tokio::test]
async fn a_state_changing_call_that_cannot_be_audited_does_not_happen() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let service = rig.connect(&device).await;
    rig.state.audit.shutdown().await;
    let put = Request::put("/api/files/a.txt")
        .body(Body::from("x"))
        .unwrap();
    let answer = Answer::read(service.clone().oneshot(put).await.unwrap()).await;
    assert_eq!(answer.code(), "audit_unavailable");
    let read = service
        .clone()
        .oneshot(get("/api/files/a.txt"))
        .await
        .unwrap();
    assert_eq!(
        read.status(),
        StatusCode::NOT_FOUND,
        "reading goes on, and nothing was stored"
    );
    let mut ws = rig.ws(&device).await;
    ws.say("s", "help").await;
    assert_eq!(ws.wait_for("error").await["code"], "audit_unavailable");
    assert!(
        !rig.state
            .store
            .session_exists(device.user(), "s".into())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn bad_input_has_a_code_and_a_sentence() {
    let rig = Rig::start().await;
    let device = rig.network.device("owner", Role::Admin, EVERY_SCOPE);
    for (request, code) in [
        (get("/api/devices?cursor=zzz"), "bad_cursor"),
        (get("/api/blob?bytes=many"), "bad_request"),
        (get("/api/blob?bytes=99999999999999"), "too_large"),
        (get("/ws"), "bad_request"),
        (post("/api/sessions/%00/clear", ""), "bad_session_id"),
        (
            Request::put("/api/files/.hidden")
                .body(Body::from("x"))
                .unwrap(),
            "bad_name",
        ),
        (
            Request::put("/api/files/a%2Fb")
                .body(Body::from("x"))
                .unwrap(),
            "bad_name",
        ),
    ] {
        let text = format!("{} {}", request.method(), request.uri());
        let answer = rig.call(&device, request).await;
        assert_eq!(answer.code(), code, "{text}");
        assert!(
            !answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .is_empty()
        );
    }
}
