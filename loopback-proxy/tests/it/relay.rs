//! The relay at the level of bytes: pipelines, half-closed clients, retries, upgrades, and the
//! proxy's own page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::agent::scripted_agent;
use crate::harness::{PATIENCE, Running, start, start_before, status, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        let byte = timeout(PATIENCE, stream.read_u8())
            .await
            .expect("bytes in time");
        seen.push(byte.expect("more bytes"));
    }
    seen
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_wherever_they_are_cut() {
    let proxy = start(|_| {}).await;
    let host = proxy.authority();
    let requests = format!(
        "POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nfirst\
         POST /echo HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n\
         6;a=b\r\nsecond\r\n0\r\nx: y\r\n\r\n\
         HEAD /small HTTP/1.1\r\nHost: {host}\r\n\r\n\
         POST /echo HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nthird"
    );
    for cut in (0..requests.len()).step_by(7) {
        let mut stream = proxy.connect().await;
        stream.set_nodelay(true).unwrap();
        stream.write_all(&requests.as_bytes()[..cut]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&requests.as_bytes()[cut..]).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .expect("an end")
            .unwrap();
        let at = |text: &str| {
            answer
                .find(text)
                .unwrap_or_else(|| panic!("{text} in {answer}"))
        };
        assert_eq!(
            answer.matches("HTTP/1.1 200 OK").count(),
            4,
            "cut at {cut}: {answer}"
        );
        assert!(at("first") < at("second") && at("second") < at("content-length: 200"));
        assert!(at("content-length: 200") < at("third"));
    }
    assert_eq!(proxy.counters().refused.total(), 0);
}

#[tokio::test]
async fn a_client_that_finished_sending_gets_the_whole_answer() {
    let proxy = start(|_| {}).await;
    let host = proxy.authority();
    let mut stream = proxy.connect().await;
    proxy
        .until("the connection is served", |now| now.open_connections == 1)
        .await;
    let requests = format!(
        "GET /slow HTTP/1.1\r\nHost: {host}\r\n\r\n\
         GET /zeros?size=3000000 HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("an end")
        .unwrap();
    assert!(
        answer.ends_with(&[b'0'; 3000]) && answer.len() > 3_000_000,
        "{}",
        answer.len()
    );
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains("\r\n\r\ndone"));
    assert_eq!(proxy.counters().requests_forwarded, 2);
}

#[tokio::test]
async fn the_end_of_the_clients_sending_is_passed_to_the_agent() {
    let finished = Arc::new(Notify::new());
    let seen = Arc::clone(&finished);
    let agent = scripted_agent(move |_, _, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            seen.notify_one();
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    let mut stream = proxy.connect().await;
    proxy
        .until("the connection is served", |now| now.open_connections == 1)
        .await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.authority());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    timeout(PATIENCE, finished.notified())
        .await
        .expect("the agent sees the end");
    read_until(&mut stream, b"ok").await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_resets_the_stream() {
    let gone = Arc::new(Notify::new());
    let seen = Arc::clone(&gone);
    let agent = scripted_agent(move |_, _, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let error = stream.read_u8().await.expect_err("no more bytes");
            if error.kind() == std::io::ErrorKind::ConnectionReset {
                seen.notify_one();
            }
        }
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    let mut stream = proxy.connect().await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.authority());
    stream.write_all(request.as_bytes()).await.unwrap();
    proxy
        .until("the request is on its way", |now| {
            now.requests_forwarded == 1
        })
        .await;
    drop(stream);
    timeout(PATIENCE, gone.notified())
        .await
        .expect("the agent sees a reset");
    proxy
        .until("the connection ends", |now| now.open_connections == 0)
        .await;
    assert_eq!(proxy.upstream.resets.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_cut_resets_the_stream() {
    let proxy = start(|_| {}).await;
    for body in [
        "Content-Length: 100\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let before = proxy.upstream.resets.lock().unwrap().len();
        let mut stream = proxy.connect().await;
        let head = format!(
            "POST /count HTTP/1.1\r\nHost: {}\r\n{body}",
            proxy.authority()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        proxy
            .until("it is open", |now| now.open_connections == 1)
            .await;
        stream.shutdown().await.unwrap();
        proxy
            .until("the connection ends", |now| now.open_connections == 0)
            .await;
        assert_eq!(proxy.upstream.resets.lock().unwrap().len(), before + 1);
    }
}

async fn dies_first(answer_later: &'static [u8]) -> (Running, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let agent = scripted_agent(move |number, _, mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            if number == 0 {
                stream.set_zero_linger().unwrap();
            } else {
                stream.write_all(answer_later).await.unwrap();
                let _ = stream.read(&mut [0; 1]).await;
            }
        }
    })
    .await;
    (start_before(agent, |_| {}).await, seen)
}

#[tokio::test]
async fn a_get_is_sent_again_once_when_its_stream_dies_before_any_byte() {
    let (proxy, seen) = dies_first(OK).await;
    let request = "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&proxy.exchange(request).await), 200);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(proxy.counters().requests_retried, 1);
    assert_eq!(proxy.counters().requests_forwarded, 1);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let (proxy, seen) = dies_first(OK).await;
    let request = "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n";
    let answer = proxy.exchange(request).await;
    assert_eq!(status(&answer), 502, "{answer}");
    assert!(answer.contains("\"no_response\""));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(proxy.counters().requests_retried, 0);
}

#[tokio::test]
async fn a_second_death_and_a_death_after_a_byte_are_502() {
    let agent = scripted_agent(|_, head, mut stream| async move {
        if head.contains("/partial") {
            stream.write_all(b"HTTP/1.1 200").await.unwrap();
        }
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    for (path, retried) in [("/", 1), ("/partial", 1)] {
        let answer = proxy
            .exchange(format!("GET {path} HTTP/1.1\r\nHost: HOST\r\n\r\n"))
            .await;
        assert_eq!(status(&answer), 502, "{answer}");
        assert_eq!(proxy.counters().requests_retried, retried, "{path}");
    }
    let answer = proxy
        .exchange("HEAD /partial HTTP/1.1\r\nHost: HOST\r\n\r\n")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 502") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stream_that_the_agent_ended_between_requests_is_opened_anew() {
    let agent = scripted_agent(|_, _, mut stream| async move {
        stream.write_all(OK).await.unwrap();
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    let mut stream = proxy.connect().await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        proxy.authority()
    );
    for round in 1..=3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, b"ok").await;
        let resets = || proxy.upstream.resets.lock().unwrap().len();
        until("the end of the stream is seen", || resets() == round).await;
    }
    assert_eq!(proxy.counters().requests_forwarded, 3);
    assert_eq!(proxy.counters().upstream_errors, 0);
}

#[tokio::test]
async fn what_an_agent_sends_unasked_is_never_taken_for_an_answer() {
    let agent = scripted_agent(|number, _, mut stream| async move {
        stream.write_all(OK).await.unwrap();
        if number == 0 {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad")
                .await
                .unwrap();
        }
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    let request = "GET / HTTP/1.1\r\nHost: HOST\r\n\r\nGET / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n";
    let answer = proxy.exchange(request).await;
    assert!(!answer.contains("bad"), "{answer}");
}

#[tokio::test]
async fn a_response_that_is_not_http_is_502() {
    for bytes in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 101 Sw\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let agent = scripted_agent(move |_, _, mut stream| async move {
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let _ = stream.read(&mut [0; 1]).await;
        })
        .await;
        let proxy = start_before(agent, |_| {}).await;
        let answer = proxy.exchange("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n").await;
        assert_eq!(status(&answer), 502, "{answer}");
    }
}

#[tokio::test]
async fn interim_responses_come_before_the_answer_and_before_a_502() {
    let agent = scripted_agent(|_, head, mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n")
            .await
            .unwrap();
        if head.contains("/good") {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    let good = proxy
        .exchange("GET /good HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        good.starts_with("HTTP/1.1 103") && good.contains("HTTP/1.1 200 OK"),
        "{good}"
    );
    let bad = proxy
        .exchange("GET /bad HTTP/1.1\r\nHost: HOST\r\n\r\n")
        .await;
    assert!(
        bad.starts_with("HTTP/1.1 103") && bad.contains("HTTP/1.1 502"),
        "{bad}"
    );
}

#[tokio::test]
async fn a_websocket_passes_with_the_token_and_without() {
    let proxy = start(|_| {}).await;
    let url = format!("ws://{}/ws", proxy.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    for size in [0, 5, 70_000, 1_000_000] {
        socket
            .send(Message::Binary(vec![9; size].into()))
            .await
            .unwrap();
        let back = timeout(PATIENCE, socket.next())
            .await
            .expect("an echo")
            .unwrap()
            .unwrap();
        assert_eq!(back.into_data().len(), size);
    }
    socket.close(None).await.unwrap();
    while timeout(PATIENCE, socket.next())
        .await
        .expect("the close")
        .is_some()
    {}
    proxy
        .until("the connection ends", |now| now.open_connections == 0)
        .await;

    let mut request = url.as_str().into_client_request().unwrap();
    let offered = format!("homing.token.{}, homing.v1", proxy.token());
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered.parse().unwrap());
    let (_socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "homing.v1");
}

#[tokio::test]
async fn a_websocket_of_another_page_is_refused() {
    let proxy = start(|_| {}).await;
    let mut request = format!("ws://{}/ws", proxy.address)
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("origin", "http://evil.example".parse().unwrap());
    let refused = tokio_tungstenite::connect_async(request)
        .await
        .expect_err("a refusal");
    let Error::Http(response) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(response.status(), 403);
    assert_eq!(proxy.counters().refused.bad_origin, 1);
}

#[tokio::test]
async fn a_websocket_ends_at_once_when_either_side_dies() {
    let died = Arc::new(Notify::new());
    let (die, gone) = (Arc::new(Notify::new()), Arc::clone(&died));
    let told = Arc::clone(&die);
    let agent = scripted_agent(move |number, _, mut stream| {
        let (told, gone) = (Arc::clone(&told), Arc::clone(&gone));
        async move {
            stream
                .write_all(b"HTTP/1.1 101 Sw\r\n\r\nhello")
                .await
                .unwrap();
            if number == 0 {
                told.notified().await;
                stream.set_zero_linger().unwrap();
            } else if stream.read_u8().await.is_err() {
                gone.notify_one();
            }
        }
    })
    .await;
    let proxy = start_before(agent, |_| {}).await;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        proxy.authority()
    );
    let mut first = proxy.connect().await;
    first.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut first, b"hello").await;
    die.notify_one();
    let read = timeout(PATIENCE, first.read_u8()).await.expect("an end");
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );

    let mut second = proxy.connect().await;
    second.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut second, b"hello").await;
    drop(second);
    timeout(PATIENCE, died.notified())
        .await
        .expect("the agent learns of it");
    proxy
        .until("all connections end", |now| now.open_connections == 0)
        .await;
}

#[tokio::test]
async fn the_proxys_own_page_is_answered_here() {
    let proxy = start(|_| {}).await;
    let answer = proxy
        .exchange("GET /.homing/proxy HTTP/1.1\r\nHost: HOST\r\n\r\n")
        .await;
    let json: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["agent"], "tests");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["counters"]["accepted_connections"], 1);
    assert_eq!(json["counters"]["refused"]["bad_host"], 0);
    assert_eq!(proxy.counters().requests_forwarded, 0);
    let foreign = "GET /.homing/proxy HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(status(&proxy.exchange(foreign).await), 421);
    let post = "POST /.homing/proxy HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(status(&proxy.exchange(post).await), 405);
}
