//! Every line of the table is called as nobody, as each role, and as another user.

use axum::Router;
use axum::body::Body;
use axum::routing::get as route_get;
use homing_agent::Gateway;
use homing_agent::gateway::{Class, FRAMES, Need, ROUTES, Route};
use homing_certs::{Role, Scopes, effective_rights};
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;

use crate::network::EVERY_SCOPE;
use crate::rig::{Answer, Rig};

fn request(route: &Route) -> Request<Body> {
    let id = if route.path.contains("/approvals/") {
        "1"
    } else {
        "s1"
    };
    let path = route
        .path
        .replace("{id}", id)
        .replace("{*id}", "homing")
        .replace("{name}", "f1.txt");
    let path = if path == "/api/blob" {
        "/api/blob?bytes=3".to_owned()
    } else {
        path
    };
    Request::builder()
        .method(route.method)
        .uri(path)
        .header("host", "127.0.0.1")
        .body(Body::from("x"))
        .unwrap()
}

/// Whether the gate let it through: what the handler then says is another test's business.
fn passed(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => false,
        StatusCode::NOT_FOUND => answer.code() == "not_found",
        _ => true,
    }
}

#[tokio::test]
async fn nobody_reaches_no_route() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    device.revoke_quietly();
    for route in ROUTES {
        let answer = rig.call(&device, request(route)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route:?}");
        assert_eq!(answer.code(), "revoked", "{route:?}");
    }
}

#[tokio::test]
async fn each_role_reaches_exactly_what_its_ceiling_leaves() {
    let rig = Rig::start().await;
    for role in Role::ALL {
        let device = rig.network.device("owner", role, EVERY_SCOPE);
        let rights = effective_rights(role, &Scopes::new(EVERY_SCOPE.iter().copied()).unwrap());
        for route in ROUTES {
            let answer = rig.call(&device, request(route)).await;
            let allowed = match route.need {
                Need::Admitted => true,
                Need::Scope(scope) => rights.contains(scope),
            };
            assert_eq!(
                passed(&answer),
                allowed,
                "{role} {route:?}: {}",
                answer.status
            );
            if !allowed {
                let Need::Scope(scope) = route.need else {
                    unreachable!()
                };
                assert_eq!(answer.code(), "forbidden");
                let message = answer.json()["error"]["message"].to_string();
                assert!(message.contains(scope), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn a_device_without_a_scope_reaches_only_what_needs_none() {
    let rig = Rig::start().await;
    let device = rig.network.device("owner", Role::Admin, &[]);
    for route in ROUTES {
        let answer = rig.call(&device, request(route)).await;
        assert_eq!(passed(&answer), route.need == Need::Admitted, "{route:?}");
    }
}

#[tokio::test]
async fn another_user_finds_nothing_of_the_first_ones() {
    let rig = Rig::start().await;
    let first = rig.network.owner();
    let other = rig.network.device("other", Role::Client, EVERY_SCOPE);
    let put = Request::put("/api/files/f1.txt")
        .body(Body::from("mine"))
        .unwrap();
    assert_eq!(rig.call(&first, put).await.status, StatusCode::OK);
    let mut ws = rig.ws(&first).await;
    ws.say("s1", "help").await;
    ws.wait_for("turn_complete").await;

    assert_eq!(
        rig.get(&other, "/api/files/f1.txt").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        rig.get(&other, "/api/sessions").await.json()["sessions"],
        json!([])
    );
    let clear = crate::rig::post("/api/sessions/s1/clear", "");
    assert_eq!(rig.call(&other, clear).await.status, StatusCode::NOT_FOUND);
    let mut ws = rig.ws(&other).await;
    ws.open("s1", 1).await;
    ws.send(json!({"type": "ping"})).await;
    assert_eq!(ws.next().await["type"], "pong");
    let devices = rig.network.device("other", Role::Client, &["chat"]);
    let seen = rig.get(&devices, "/api/devices").await.json();
    assert!(
        !seen.to_string().contains(&first.id().to_string()),
        "{seen}"
    );
    // The first one still has everything.
    assert_eq!(rig.get(&first, "/api/files/f1.txt").await.body, b"mine");
    assert_eq!(
        rig.get(&first, "/api/sessions").await.json()["sessions"][0]["session_id"],
        "s1"
    );
}

#[tokio::test]
async fn a_route_without_a_line_in_the_table_is_refused_to_the_owner() {
    let rig = Rig::start().await;
    let more = Router::new().route("/api/forgotten", route_get(|| async { "secret" }));
    let gateway = Gateway::with_routes(rig.state.clone(), more);
    let service = gateway.connect(rig.network.owner()).await;
    let response = service
        .oneshot(crate::rig::get("/api/forgotten"))
        .await
        .unwrap();
    let answer = Answer::read(response).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::FORBIDDEN, "forbidden")
    );
}

#[tokio::test]
async fn a_known_path_with_another_method_and_an_unknown_path_are_told_apart() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let delete = Request::delete("/api/health").body(Body::empty()).unwrap();
    assert_eq!(rig.call(&device, delete).await.code(), "method_not_allowed");
    let answer = rig.get(&device, "/api/nothing").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::NOT_FOUND, "not_found")
    );
}

#[tokio::test]
async fn every_frame_of_the_table_is_refused_when_its_scope_has_gone() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    device.renew(Role::Admin, &["audit.read"]);
    for frame in FRAMES {
        ws.send(json!({
            "type": frame.name, "session_id": "s", "text": "t", "name": "help",
            "id": 1, "path": "/api/files/a", "decision": "deny"
        }))
        .await;
        let answer = ws.next().await;
        match frame.need {
            Need::Admitted => assert_ne!(answer["type"], "error", "{answer}"),
            Need::Scope(_) => assert_eq!(answer["code"], "forbidden", "{answer}"),
        }
    }
    assert!(rig.get(&device, "/api/whoami").await.status.is_success());
}

#[tokio::test]
async fn every_state_changing_call_leaves_a_line_and_a_plain_read_none() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    for route in ROUTES {
        let before = rig.audit_lines().await.len();
        rig.call(&device, request(route)).await;
        let lines = rig.audit_lines().await;
        let calls: Vec<_> = lines[before..]
            .iter()
            .filter(|line| line["kind"] == "call")
            .collect();
        assert_eq!(
            calls.len(),
            usize::from(route.class != Class::Read),
            "{route:?}"
        );
        if let [line] = calls[..] {
            assert_eq!(line["device"], device.id().to_string());
            assert_eq!(
                (&line["method"], &line["decision"]),
                (&json!(route.method), &json!("allowed"))
            );
        }
    }
}
