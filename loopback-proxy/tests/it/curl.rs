//! What unmodified curl does through the proxy.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;

use homing_loopback_proxy::ProxyAuth;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::agent::{hyper_agent, scripted_agent};
use crate::harness::{PATIENCE, Running, start, start_before};

pub(crate) async fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "60"])
        .args(arguments)
        .kill_on_drop(true);
    command.output().await.expect("curl runs")
}

pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn get(proxy: &Running, path: &str, arguments: &[&str]) -> String {
    let url = format!("{}{path}", proxy.url);
    text(&curl(&[arguments, &[url.as_str()]].concat()).await)
}

fn big_file(path: &Path, size: u64) -> String {
    std::fs::File::create(path).unwrap().set_len(size).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_plain_get_works_as_it_is() {
    let proxy = start(|_| {}).await;
    assert_eq!(get(&proxy, "/small", &[]).await, "x".repeat(200));
    let localhost = format!("http://localhost:{}/small", proxy.address.port());
    assert_eq!(text(&curl(&[&localhost]).await).len(), 200);
    assert_eq!(proxy.counters().requests_forwarded, 2);
    assert_eq!(proxy.counters().refused.total(), 0);
}

#[tokio::test]
async fn the_agent_is_told_that_the_principal_is_capped_unless_the_token_is_shown() {
    let proxy = start(|_| {}).await;
    let capped = get(
        &proxy,
        "/head",
        &["-H", "homing-local: token", "-H", "X-Real-IP: 1"],
    )
    .await;
    let host = proxy.authority();
    assert!(capped.starts_with(&format!("GET /head\nhoming-local: capped\nhost: {host}\n")));
    assert!(!capped.contains("x-real-ip") && !capped.contains("homing-local: token"));

    let bearer = format!("Authorization: Bearer {}", proxy.token());
    let full = get(&proxy, "/head", &["-H", &bearer]).await;
    assert!(full.starts_with("GET /head\nhoming-local: token\n"));
    assert!(!full.contains("authorization") && !full.contains(&proxy.token()));
}

#[tokio::test]
async fn with_auth_by_token_nothing_passes_without_it() {
    let proxy = start(|config| config.auth = ProxyAuth::Token).await;
    let refused = get(&proxy, "/small", &[]).await;
    assert!(refused.contains("\"token_required\""), "{refused}");
    assert_eq!(proxy.counters().refused.bad_token, 1);
    let bearer = format!("Authorization: Bearer {}", proxy.token());
    assert_eq!(get(&proxy, "/small", &["-H", &bearer]).await.len(), 200);
    let socket = proxy.socket().display().to_string();
    let through_socket = curl(&["--unix-socket", &socket, "http://localhost/small"]).await;
    assert!(text(&through_socket).contains("\"token_required\""));

    let off = start(|config| {
        config.auth = ProxyAuth::Token;
        config.guard = false;
    })
    .await;
    assert_eq!(get(&off, "/small", &[]).await.len(), 200);
}

#[tokio::test]
async fn a_stale_token_is_refused_and_an_api_key_is_passed_on() {
    let proxy = start(|_| {}).await;
    let stale = format!("Authorization: Bearer homing_local_{}", "0".repeat(64));
    assert!(
        get(&proxy, "/head", &["-H", &stale])
            .await
            .contains("\"bad_token\"")
    );
    assert_eq!(proxy.counters().refused.bad_token, 1);
    let key = get(&proxy, "/head", &["-H", "Authorization: Bearer sk-1"]).await;
    assert!(key.contains("homing-local: capped") && key.contains("authorization: Bearer sk-1"));
}

#[tokio::test]
async fn the_unix_socket_serves_its_user() {
    let proxy = start(|_| {}).await;
    let socket = proxy.socket().display().to_string();
    for url in ["http://localhost/head", &format!("{}/head", proxy.url)] {
        let answer = text(&curl(&["--unix-socket", &socket, url]).await);
        assert!(answer.contains("homing-local: capped"), "{answer}");
    }
    let other = curl(&["--unix-socket", &socket, "http://evil.example/head"]).await;
    assert!(text(&other).contains("\"bad_host\""));
}

#[tokio::test]
async fn the_unix_socket_needs_the_token_where_it_was_told_so_and_tcp_does_not() {
    let proxy = start(|config| config.unix_needs_token = true).await;
    let socket = proxy.socket().display().to_string();
    let through = ["--unix-socket", &socket, "http://localhost/head"];
    assert!(text(&curl(&through).await).contains("\"token_required\""));
    let bearer = format!("Authorization: Bearer {}", proxy.token());
    let answer = curl(&[&through[..], &["-H", &bearer]].concat()).await;
    assert!(text(&answer).contains("homing-local: token"));
    assert!(
        get(&proxy, "/head", &[])
            .await
            .contains("homing-local: capped")
    );
}

#[tokio::test]
async fn ipv6_is_served_when_asked_for() {
    let proxy = start(|config| config.also_v6 = true).await;
    let url = format!("http://[::1]:{}/small", proxy.address.port());
    assert_eq!(text(&curl(&["-g", &url]).await).len(), 200);
}

#[tokio::test]
async fn a_hundred_mebibytes_pass_in_both_directions() {
    const SIZE: u64 = 100 * 1024 * 1024;
    let proxy = start(|_| {}).await;
    let file = big_file(&proxy.dir.path().join("big"), SIZE);
    let upload = format!("@{file}");
    assert_eq!(
        get(&proxy, "/count", &["--data-binary", &upload]).await,
        format!("{SIZE} ")
    );
    let chunked = [
        "-H",
        "Transfer-Encoding: chunked",
        "-T",
        &file,
        "-X",
        "POST",
    ];
    assert_eq!(get(&proxy, "/count", &chunked).await, format!("{SIZE} "));
    let down = format!("/zeros?size={SIZE}");
    let sizes = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
    assert_eq!(get(&proxy, &down, &sizes).await, format!("200 {SIZE}"));
    let both = [&["--data-binary", &upload], sizes.as_slice()].concat();
    assert_eq!(get(&proxy, "/echo", &both).await, format!("200 {SIZE}"));
}

#[tokio::test]
async fn expect_100_continue_passes_through() {
    let proxy = start(|_| {}).await;
    let file = big_file(&proxy.dir.path().join("file"), 300_000);
    let seen = curl(&[
        "-v",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "30",
        "--data-binary",
        &format!("@{file}"),
        &format!("{}/count", proxy.url),
    ])
    .await;
    assert_eq!(text(&seen), "300000 ");
    assert!(String::from_utf8_lossy(&seen.stderr).contains("HTTP/1.1 100 Continue"));
}

#[tokio::test]
async fn head_has_no_body_and_the_connection_is_used_again() {
    let proxy = start(|_| {}).await;
    let url = format!("{}/small", proxy.url);
    let arguments = [
        "-I",
        url.as_str(),
        "--next",
        "-sS",
        "-w",
        " %{num_connects}",
        url.as_str(),
    ];
    let output = text(&curl(&arguments).await);
    assert!(
        output.contains("content-length: 200") && output.ends_with("x 0"),
        "{output}"
    );
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let proxy = start(|_| {}).await;
    let fields = ["-H", "TE: trailers", "-D", "-"];
    let seen = get(&proxy, "/trailers", &fields).await;
    assert!(
        seen.contains("hello") && seen.contains("x-checksum: abc\r\n"),
        "{seen}"
    );

    let answer = proxy
        .exchange(
            "POST /count HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n",
        )
        .await;
    assert!(
        answer.contains("x-sum") && answer.contains("5 "),
        "{answer}"
    );
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let proxy = start(|_| {}).await;
    let mut curl = Command::new("curl")
        .args(["-sSN", &format!("{}/events", proxy.url)])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    for wanted in ["id: 0", "data: event 0", "", "id: 1", "data: event 1"] {
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .expect("an event in time");
        assert_eq!(line.unwrap().as_deref(), Some(wanted));
    }
    curl.kill().await.unwrap();
    proxy
        .until("the dead client is noticed", |now| {
            now.open_connections == 0
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_dies_mid_body_is_a_failed_transfer() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome bytes",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\n\r\nsome bytes of an unknown number",
    ] {
        let die = Arc::new(Notify::new());
        let told = Arc::clone(&die);
        let agent = scripted_agent(move |_, _, mut stream| {
            let told = Arc::clone(&told);
            async move {
                stream.write_all(head.as_bytes()).await.unwrap();
                told.notified().await;
                stream.set_zero_linger().unwrap();
            }
        })
        .await;
        let proxy = start_before(agent, |_| {}).await;
        let mut command = Command::new("curl");
        command
            .args(["-sSN", &proxy.url])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        // The agent dies when the client has seen the first bytes.
        let mut seen = [0; 5];
        timeout(PATIENCE, out.read_exact(&mut seen))
            .await
            .expect("bytes in time")
            .unwrap();
        die.notify_one();
        let status = timeout(PATIENCE, child.wait())
            .await
            .expect("curl ends")
            .unwrap();
        assert!(
            matches!(status.code(), Some(18 | 56)),
            "{status:?} for {head}"
        );
        assert_eq!(proxy.counters().cut_responses, 1);
    }
}

#[tokio::test]
async fn a_response_without_a_length_is_whole_when_the_agent_ends_it() {
    let agent = scripted_agent(|_, _, mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it")
            .await
            .unwrap();
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    assert_eq!(get(&proxy, "/", &[]).await, "all of it");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let proxy = start(|_| {}).await;
    let file = big_file(&proxy.dir.path().join("big"), 50 * 1024 * 1024);
    let arguments = ["-H", "Expect:", "--data-binary", &format!("@{file}")];
    let shown = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(
        get(&proxy, "/early", &[&arguments[..], &shown].concat()).await,
        "413"
    );
}

#[tokio::test]
async fn http_1_0_is_served_without_keep_alive() {
    let proxy = start_before(hyper_agent().await, |_| {}).await;
    assert_eq!(get(&proxy, "/small", &["-0"]).await.len(), 200);
    let answer = proxy
        .exchange("GET /small HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n")
        .await;
    assert!(
        answer.starts_with("HTTP/1.0 200") && answer.ends_with("xxx"),
        "{answer}"
    );
}
