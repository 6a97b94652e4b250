//! Only the user who started the proxy is served, whatever another one sends.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use homing_loopback_proxy::CountersSnapshot;
use tokio::process::Command;
use tokio::time::timeout;

use crate::curl::{curl, text};
use crate::harness::{PATIENCE, Running, start};

/// Set on machines where the tests cannot become another user.
const UNPRIVILEGED: &str = "HOMING_TESTS_UNPRIVILEGED";

/// Some user that is not the tests', and the one that stands for unknown users.
const OTHERS: [&str; 2] = ["33", "65534"];

/// False, with the reason printed, if another user cannot be had and that was said beforehand.
fn others_can_be_had() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let said = std::env::var_os(UNPRIVILEGED).is_some_and(|value| value == "1");
    assert!(
        said,
        "this test connects as another user, which takes root; \
         run the tests as root, or set {UNPRIVILEGED}=1 to go without it"
    );
    eprintln!("NOT RUN: connecting as another user takes root, and {UNPRIVILEGED}=1 is set");
    false
}

async fn as_user(uid: &str, program: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", uid, "--clear-groups", "--"])
        .args(program)
        .kill_on_drop(true);
    timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .expect("setpriv runs")
}

async fn curl_as(uid: &str, proxy: &Running, more: &[&str]) -> Output {
    let url = format!("{}/small", proxy.url);
    as_user(
        uid,
        &[&["curl", "-sS", "--max-time", "20"], more, &[url.as_str()]].concat(),
    )
    .await
}

#[tokio::test]
async fn another_user_is_refused_with_a_reason_and_passes_with_the_guard_off() {
    if !others_can_be_had() {
        return;
    }
    let on = start(|_| {}).await;
    let off = start(|config| config.guard = false).await;
    for (count, uid) in OTHERS.iter().enumerate() {
        let refused = text(&curl_as(uid, &on, &["-w", " %{http_code}"]).await);
        assert!(
            refused.contains("\"not_our_user\"") && refused.ends_with(" 403"),
            "{refused}"
        );
        assert_eq!(on.counters().refused.not_our_user, count as u64 + 1);
        assert_eq!(text(&curl_as(uid, &off, &[]).await).len(), 200);
    }
    assert_eq!(on.counters().requests_forwarded, 0);
    assert_eq!(on.counters().open_connections, 0);
    assert_eq!(off.counters().refused.total(), 0);
    assert_eq!(
        text(&curl(&[&format!("{}/small", on.url)]).await).len(),
        200
    );
}

#[tokio::test]
async fn another_user_is_refused_in_ipv6_and_with_a_large_body_too() {
    if !others_can_be_had() {
        return;
    }
    let proxy = start(|config| config.also_v6 = true).await;
    let url = format!("http://[::1]:{}/small", proxy.address.port());
    let refused = as_user("33", &["curl", "-sSg", "--max-time", "20", &url]).await;
    assert!(text(&refused).contains("\"not_our_user\""));
    assert_eq!(proxy.counters().refused.not_our_user, 1);
    let body = "x".repeat(50_000);
    curl_as("33", &proxy, &["-H", "Expect:", "--data-binary", &body]).await;
    assert_eq!(proxy.counters().refused.not_our_user, 2);
    assert_eq!(proxy.counters().requests_forwarded, 0);
}

#[tokio::test]
async fn another_user_cannot_reach_the_unix_socket() {
    if !others_can_be_had() {
        return;
    }
    let proxy = start(|_| {}).await;
    std::fs::set_permissions(proxy.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = proxy.socket().display().to_string();
    let refused = curl_as("33", &proxy, &["--unix-socket", &socket]).await;
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");

    // With the modes opened on purpose, the credentials of the connection still say who it is.
    let run = proxy.socket().parent().unwrap().to_owned();
    std::fs::set_permissions(run, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(proxy.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = curl_as("33", &proxy, &["--unix-socket", &socket]).await;
    // curl may see the end of the connection before it looks for the answer.
    let shown = String::from_utf8_lossy(&refused.stdout);
    assert!(!shown.contains("xxx"), "{refused:?}");
    assert_eq!(proxy.counters().refused.not_our_user, 1);
    assert_eq!(proxy.counters().requests_forwarded, 0);
}

/// The row of a socket that was closed at once says user 0, which is the tests' own user here: it
/// must not count as ours.
#[tokio::test]
async fn a_client_that_sends_and_closes_at_once_is_refused() {
    let proxy = start(|_| {}).await;
    if others_can_be_had() {
        // A refusal may be quicker than the request.
        let script = "trap '' PIPE; for _ in {1..50}; do \
                      exec 3<>/dev/tcp/127.0.0.1/$0; printf %s \"$1\" >&3; exec 3>&-; done; true";
        let port = proxy.address.port().to_string();
        let sent = as_user("33", &["bash", "-c", script, &port, &request(&proxy)]).await;
        assert!(sent.status.success(), "{sent:?}");
        let all = |now: &CountersSnapshot| now.refused.not_our_user == 50;
        proxy.until("all are refused", all).await;
        assert_eq!(proxy.counters().requests_forwarded, 0);
    }
    let before = proxy.counters().refused.not_our_user;
    send_and_close(&proxy, 10);
    let all = |now: &CountersSnapshot| now.refused.not_our_user == before + 10;
    proxy.until("all are refused", all).await;
    assert_eq!(proxy.counters().requests_forwarded, 0);

    let off = start(|config| config.guard = false).await;
    send_and_close(&off, 10);
    let all = |now: &CountersSnapshot| now.requests_forwarded == 10;
    off.until("all are forwarded", all).await;
}

fn request(proxy: &Running) -> String {
    let host = proxy.authority();
    format!("POST /count HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")
}

/// Closed before the proxy looks: it runs on the thread of the test, which does not wait here.
fn send_and_close(proxy: &Running, times: usize) {
    let request = request(proxy);
    for _ in 0..times {
        let mut stream = std::net::TcpStream::connect(proxy.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_flood_of_another_user_leaves_room_for_ours() {
    if !others_can_be_had() {
        return;
    }
    let proxy = start(|config| {
        config.limits.accept_burst = 3;
        config.limits.accepts_per_second = 1;
        config.limits.max_connections = 2;
    })
    .await;
    let script = "for _ in {1..400}; do exec {held}<>/dev/tcp/127.0.0.1/$0; done";
    let port = proxy.address.port().to_string();
    let sent = as_user("33", &["bash", "-c", script, &port]).await;
    assert!(sent.status.success(), "{sent:?}");
    let all = |now: &CountersSnapshot| now.refused.not_our_user == 400;
    proxy.until("all are refused", all).await;
    let url = format!("{}/small", proxy.url);
    assert_eq!(text(&curl(&[&url]).await).len(), 200);
}
