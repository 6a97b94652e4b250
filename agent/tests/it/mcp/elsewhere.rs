//! Servers over HTTP that behave badly: they speak the real protocol, as far as they do.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::bench::Bench;

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, Value)>>>);

/// A server on the loopback; gives its address.
async fn serve(router: Router) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let router = router.clone();
            tokio::spawn(async move {
                let service = hyper_util::service::TowerToHyperService::new(router);
                let stream = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(stream, service)
                    .await;
            });
        }
    });
    format!("http://{address}/mcp")
}

async fn answer(State(seen): State<Seen>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let header = head.headers.get("authorization");
    let header = header
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    seen.0.lock().unwrap().push((header, message.clone()));
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": "elsewhere", "version": "1"}
        }),
        "tools/list" => {
            let tool = |name| json!({"name": name, "inputSchema": {"type": "object"}});
            json!({"tools": [tool("plain"), tool("long"), tool("long-event"), tool("secret")]})
        }
        "tools/call" => {
            let name = message["params"]["name"].as_str().unwrap();
            let text = match name {
                "long" | "long-event" => "x".repeat(3 << 20),
                "secret" => "Bearer hunter-22".to_owned(),
                _ => "plain".to_owned(),
            };
            let result = json!({"content": [{"type": "text", "text": text}]});
            if name == "long-event" {
                let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
                return Response::builder()
                    .header("content-type", "text/event-stream")
                    .body(Body::from(format!("data: {answer}\n\n")))
                    .unwrap();
            }
            result
        }
        "server/discover" => {
            let mut response = Response::new(Body::from("what?"));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        }
        _ => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            return response;
        }
    };
    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from(answer.to_string()))
        .unwrap()
}

async fn bench(url: &str) -> Bench {
    let bench = Bench::start().await;
    let body = json!({
        "name": "s", "url": url, "policy": "allow",
        "headers": {"authorization": "Bearer hunter-22"}
    });
    let added = bench.send(http::Method::POST, "/api/mcps", body).await;
    assert_eq!(added.json()["headers"], json!({"authorization": "****"}));
    bench
}

#[tokio::test]
async fn a_server_elsewhere_gets_its_headers_and_bounds_hold_for_its_answers() {
    let seen = Seen::default();
    let router = Router::new()
        .route("/mcp", post(answer))
        .with_state(seen.clone());
    let bench = bench(&serve(router).await).await;
    bench.ready().await;
    assert_eq!(bench.text("plain", json!({})).await, "plain");
    assert_eq!(bench.text("secret", json!({})).await, "****");
    for tool in ["long", "long-event"] {
        bench.error(tool, json!({})).await;
        bench.ready().await;
        assert_eq!(bench.text("plain", json!({})).await, "plain");
    }
    let seen = seen.0.lock().unwrap();
    assert!(seen.iter().all(|(header, _)| header == "Bearer hunter-22"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_takes_no_secret_along() {
    let stolen = Seen::default();
    let thief = Router::new()
        .route("/mcp", post(answer))
        .with_state(stolen.clone());
    let thief = serve(thief).await;
    let to = thief.clone();
    let router = Router::new().route(
        "/mcp",
        post(move || async move {
            Response::builder()
                .status(StatusCode::TEMPORARY_REDIRECT)
                .header("location", to)
                .body(Body::empty())
                .unwrap()
        }),
    );
    let bench = bench(&serve(router).await).await;
    let server = bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    assert!(
        server["status"]["last_error"]
            .as_str()
            .unwrap()
            .contains("MCP")
    );
    assert!(stolen.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_refuses_our_key_is_not_asked_for_ever() {
    let count = Arc::new(Mutex::new(0));
    let counting = count.clone();
    let router = Router::new().route(
        "/mcp",
        post(move || async move {
            *counting.lock().unwrap() += 1;
            (StatusCode::UNAUTHORIZED, "no")
        }),
    );
    let bench = bench(&serve(router).await).await;
    let server = bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    let error = server["status"]["last_error"].as_str().unwrap();
    assert!(
        error.contains("401") && !error.contains("hunter"),
        "{error}"
    );
    assert!(*count.lock().unwrap() <= 16);
}
