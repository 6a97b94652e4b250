//! Containers, of an engine that answers what Docker 28 and Podman 5 answer, over a real Unix socket.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homing_agent::tools::settings::ContainerSettings;
use homing_agent::tools::{ContainerLogsTool, ContainersTool};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::run;

/// Answers by path, and what was asked.
struct FakeEngine {
    folder: TempDir,
    asked: Arc<Mutex<Vec<(Method, String)>>>,
    /// Ends with the test.
    _serving: JoinSet<()>,
}

type Answers = &'static [(&'static str, u16, &'static [u8])];

impl FakeEngine {
    fn new(answers: Answers) -> Self {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let asked = Arc::new(Mutex::new(vec![]));
        let mut serving = JoinSet::new();
        let log = asked.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let log = log.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().to_string();
                    log.lock()
                        .unwrap()
                        .push((request.method().clone(), path.clone()));
                    let known = answers.iter().find(|(known, ..)| *known == path);
                    let (status, body) = known.map_or(
                        (404, &br#"{"message":"No such container: x"}"#[..]),
                        |(_, status, body)| (*status, *body),
                    );
                    let answer = Response::builder()
                        .status(StatusCode::from_u16(status).unwrap())
                        .body(Full::new(Bytes::from_static(body)))
                        .unwrap();
                    async move { Ok::<_, Infallible>(answer) }
                });
                connections.spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            folder,
            asked,
            _serving: serving,
        }
    }

    fn settings(&self) -> ContainerSettings {
        at(self.folder.path().join("engine.sock"))
    }

    async fn containers(&self, arguments: Value) -> Result<Value, String> {
        run(&ContainersTool::new(&self.settings()), arguments).await
    }

    async fn logs(&self, arguments: Value) -> Result<Value, String> {
        run(&ContainerLogsTool::new(&self.settings()), arguments).await
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        assert!(asked.iter().all(|(method, _)| method == Method::GET));
        asked.iter().map(|(_, path)| path.clone()).collect()
    }
}

fn at(socket: PathBuf) -> ContainerSettings {
    ContainerSettings {
        socket: Some(socket),
    }
}

const DOCKER: Answers = &[
    (
        "/version",
        200,
        include_bytes!("engine/docker-version.json"),
    ),
    (
        "/containers/json?all=1",
        200,
        include_bytes!("engine/docker-list.json"),
    ),
    (
        "/containers/media/json",
        200,
        include_bytes!("engine/docker-inspect.json"),
    ),
    (
        "/containers/media/stats?stream=0",
        200,
        include_bytes!("engine/docker-stats.json"),
    ),
    (
        "/containers/media/logs?stdout=1&stderr=1&timestamps=1&tail=2",
        200,
        b"\x01\0\0\0\0\0\0\x06first\n\x02\0\0\0\0\0\0\x07second\n",
    ),
];

const PODMAN: Answers = &[
    (
        "/version",
        200,
        include_bytes!("engine/podman-version.json"),
    ),
    (
        "/containers/json?all=1",
        200,
        include_bytes!("engine/podman-list.json"),
    ),
    (
        "/containers/notes/json",
        200,
        include_bytes!("engine/podman-inspect.json"),
    ),
];

#[tokio::test]
async fn the_containers_of_docker_are_listed_with_the_stopped_ones_first() {
    let engine = FakeEngine::new(DOCKER);
    let told = engine.containers(json!({})).await.unwrap();
    assert_eq!(
        told,
        json!({
            "engine": {"name": "docker", "version": "28.2.2"},
            "total": 2,
            "running": 1,
            "containers": [
                {
                    "id": "a0b1c2d3e4f5", "name": "db", "image": "postgres:17", "state": "exited",
                    "status": "Exited (137) 2 hours ago", "ports": [],
                },
                {
                    "id": "4f1c1d1fb0a9", "name": "media", "image": "jellyfin/jellyfin:10.10",
                    "state": "running", "status": "Up 3 days (healthy)",
                    "ports": ["0.0.0.0:8096->8096/tcp", ":::8096->8096/tcp"],
                    "compose_project": "home",
                },
            ],
            "truncated": false,
        })
    );
}

#[tokio::test]
async fn one_container_of_docker_is_told_with_what_it_uses_and_without_its_secrets() {
    let engine = FakeEngine::new(DOCKER);
    let told = engine
        .containers(json!({"container": "media"}))
        .await
        .unwrap();
    assert_eq!(
        told["usage"],
        json!({
            "cpu_percent": 50.0, "memory_bytes": 200_000_000, "memory_limit_bytes": 8_000_000_000_u64,
            "received_bytes": 1_001, "sent_bytes": 2_002, "processes": 23,
        })
    );
    assert_eq!(told["health"], "healthy");
    assert_eq!(told["restarts"], 2);
    assert_eq!(told["program"], "/jellyfin/jellyfin");
    assert_eq!(told["variables"], json!(["PATH", "API_TOKEN", "EMPTY"]));
    assert_eq!(told["mounts"][0]["source"], "/srv/media");
    assert_eq!(told["networks"][0]["address"], "172.18.0.2");
    assert!(!told.to_string().contains("secret"), "{told}");
    let list = engine.containers(json!({})).await.unwrap();
    assert!(!list.to_string().contains("secret"), "{list}");
}

#[tokio::test]
async fn a_stopped_container_of_podman_says_why_and_is_not_asked_what_it_uses() {
    let engine = FakeEngine::new(PODMAN);
    let list = engine.containers(json!({})).await.unwrap();
    assert_eq!(
        list["engine"],
        json!({"name": "podman", "version": "5.4.2"})
    );
    assert_eq!(list["containers"][0]["name"], "notes");
    let told = engine
        .containers(json!({"container": "notes"}))
        .await
        .unwrap();
    assert_eq!(
        (&told["running"], &told["exit_code"], &told["out_of_memory"]),
        (&json!(false), &json!(137), &json!(true))
    );
    assert!(told.get("usage").is_none() && told.get("health").is_none());
    assert!(!told.to_string().contains("secret"), "{told}");
    assert!(!engine.asked().iter().any(|path| path.contains("stats")));
}

#[tokio::test]
async fn a_log_is_told_without_its_frames() {
    let engine = FakeEngine::new(DOCKER);
    let told = engine
        .logs(json!({"container": "media", "lines": 2}))
        .await
        .unwrap();
    assert_eq!(told, json!({"log": "first\nsecond\n", "truncated": false}));
}

#[tokio::test]
async fn a_long_log_is_cut_at_its_old_end_and_says_so() {
    const LONG: &[u8] = &[b'x'; 200_000];
    let engine = FakeEngine::new(&[(
        "/containers/a/logs?stdout=1&stderr=1&timestamps=1&tail=500",
        200,
        LONG,
    )]);
    let told = engine
        .logs(json!({"container": "a", "lines": 100_000}))
        .await
        .unwrap();
    assert_eq!(told["truncated"], true);
    assert!(told["hint"].as_str().unwrap().contains("fewer lines"));
    assert!(told.to_string().len() < 64 << 10);
}

#[tokio::test]
async fn nothing_but_a_name_reaches_the_engine() {
    let engine = FakeEngine::new(DOCKER);
    for name in [
        "../../images/prune",
        "a/start",
        "a?x=1",
        "a/../b",
        "",
        "a\r\nPOST /",
    ] {
        let error = engine
            .containers(json!({"container": name}))
            .await
            .unwrap_err();
        assert!(error.contains("named by letters"), "{error}");
    }
    assert_eq!(engine.asked(), Vec::<String>::new());
    engine
        .containers(json!({"container": "gone"}))
        .await
        .unwrap_err();
    assert_eq!(engine.asked(), ["/containers/gone/json"]);
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_words() {
    let engine = FakeEngine::new(&[
        (
            "/containers/json?all=1",
            500,
            br#"{"message":"driver failed"}"#,
        ),
        ("/containers/a/json", 200, b"<html>"),
    ]);
    let error = engine.containers(json!({})).await.unwrap_err();
    assert!(
        error.contains("500") && error.contains("driver failed"),
        "{error}"
    );
    let error = engine
        .containers(json!({"container": "a"}))
        .await
        .unwrap_err();
    assert!(error.contains("cannot be understood"), "{error}");
    let error = engine
        .containers(json!({"container": "b"}))
        .await
        .unwrap_err();
    assert_eq!(error, "there is no container b");
    let nowhere = at(engine.folder.path().join("none.sock"));
    let error = run(&ContainersTool::new(&nowhere), json!({}))
        .await
        .unwrap_err();
    assert!(
        error.contains("none.sock") && error.contains("tools.containers.socket"),
        "{error}"
    );
    let no_socket = at(engine.folder.path().join("file"));
    std::fs::write(engine.folder.path().join("file"), "").unwrap();
    let error = run(&ContainersTool::new(&no_socket), json!({}))
        .await
        .unwrap_err();
    assert!(error.contains("connection refused"), "{error}");
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_given_up() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("engine.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let tool = ContainersTool::with_patience(&at(path), Duration::from_millis(50));
    let error = run(&tool, json!({})).await.unwrap_err();
    assert!(error.contains("did not answer"), "{error}");
}
