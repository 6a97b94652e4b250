//! Start and end: what is bound and left behind, and what happens to requests in flight.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homing_loopback_proxy::{BindError, LoopbackAddr, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::agent::{TcpUpstream, hyper_agent};
use crate::harness::{PATIENCE, config, start, status};

#[tokio::test]
async fn a_taken_port_is_said_with_the_next_step() {
    let first = start(|_| {}).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.bind = LoopbackAddr::try_from(first.address).unwrap();
    let token_file = config.token_file.clone();
    let upstream = TcpUpstream::new(first.address);
    let error = Proxy::bind(config, upstream)
        .await
        .expect_err("the port is taken");
    assert!(matches!(error, BindError::PortTaken { .. }));
    assert!(error.to_string().contains("choose another port"), "{error}");
    assert!(!token_file.exists());
}

#[tokio::test]
async fn the_token_and_the_socket_are_there_for_the_time_of_the_run() {
    let proxy = start(|_| {}).await;
    let token_file = proxy.dir.path().join("proxy.token");
    let socket = proxy.socket();
    for path in [&token_file, &socket] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    proxy.shutdown.cancel();
    timeout(PATIENCE, proxy.task)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    assert!(!token_file.exists() && !socket.exists());
}

#[tokio::test]
async fn a_stopped_proxy_ends_idle_and_endless_connections_at_once_and_lets_others_complete() {
    let proxy = start(|_| {}).await;
    let host = proxy.authority();
    let mut streams = Vec::new();
    for path in ["/small", "/slow", "/events"] {
        let mut stream = proxy.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if path != "/slow" {
            stream.read_u8().await.unwrap();
        }
        streams.push(stream);
    }
    proxy
        .until("all are on their way", |now| now.requests_forwarded == 3)
        .await;
    let start = Instant::now();
    proxy.shutdown.cancel();
    timeout(PATIENCE, proxy.task)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "it waited for its deadline"
    );
    let [mut small, mut slow, mut events] = <[_; 3]>::try_from(streams).unwrap();
    let mut answer = String::new();
    small.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("xxx"));
    answer.clear();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    // What is endless never ends as if it were whole.
    let error = events.read_to_string(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_reset() {
    let proxy = start(|config| config.limits.drain_timeout = Duration::from_millis(100)).await;
    let mut stream = proxy.connect().await;
    let head = format!(
        "POST /count HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\nabc",
        proxy.authority()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    proxy
        .until("it is on its way", |now| now.requests_forwarded == 1)
        .await;
    proxy.shutdown.cancel();
    timeout(PATIENCE, proxy.task)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_proxy_can_start_again_where_a_killed_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let agent = hyper_agent().await;
    let first = Proxy::bind(config(&dir), TcpUpstream::new(agent))
        .await
        .unwrap();
    let old = std::fs::read_to_string(dir.path().join("proxy.token")).unwrap();
    // Dropped without a run, it leaves its files behind as a killed process does.
    drop(first);
    assert!(config(&dir).unix_socket.unwrap().exists());
    let upstream = TcpUpstream::new(agent);
    let second = Proxy::bind(config(&dir), Arc::clone(&upstream))
        .await
        .unwrap();
    assert_ne!(
        std::fs::read_to_string(dir.path().join("proxy.token")).unwrap(),
        old
    );
    assert_eq!(second.url(), format!("http://{}", second.address()));
}

#[tokio::test]
async fn the_counters_tell_what_was_accepted_and_what_is_open() {
    let proxy = start(|_| {}).await;
    for _ in 0..3 {
        let request = "GET /small HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n";
        assert_eq!(status(&proxy.exchange(request).await), 200);
    }
    proxy
        .until("all are closed", |now| now.open_connections == 0)
        .await;
    assert_eq!(proxy.counters().accepted_connections, 3);
    assert_eq!(proxy.counters().requests_forwarded, 3);
}
