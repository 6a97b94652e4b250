//! Clients that take nothing: what they cost, and whom they hold up.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::curl::{curl, text};
use crate::harness::{PATIENCE, Running, start};

async fn ask(proxy: &Running, path: &str, fields: &str) -> TcpStream {
    let mut stream = proxy.connect().await;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
        proxy.authority()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn an_upgraded_stream_that_stays_full_is_reset_and_the_others_live() {
    let proxy = start(|config| {
        config.limits.slow_reader_grace = Duration::from_millis(300);
    })
    .await;
    let mut stalled = ask(&proxy, "/flood", UPGRADE).await;
    let waiting = ask(&proxy, "/zeros?size=20000000", "Connection: close\r\n").await;
    proxy
        .until("the stalled stream is reset", |now| {
            now.slow_readers_reset == 1
        })
        .await;
    assert_eq!(
        text(&curl(&[&format!("{}/small", proxy.url)]).await).len(),
        200
    );

    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stalled.read_to_end(&mut rest))
        .await
        .expect("an end");
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );

    // A plain body waits for its reader instead.
    let mut body = Vec::new();
    let mut waiting = waiting;
    timeout(PATIENCE, waiting.read_to_end(&mut body))
        .await
        .expect("an end")
        .unwrap();
    assert!(body.len() > 20_000_000);
    assert_eq!(proxy.counters().slow_readers_reset, 1);
}

#[tokio::test]
async fn a_slow_download_is_whole() {
    let proxy = start(|_| {}).await;
    let url = format!("{}/zeros?size=3000000", proxy.url);
    let arguments = [
        "--limit-rate",
        "1500k",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        &url,
    ];
    assert_eq!(text(&curl(&arguments).await), "3000000");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// The agent of this test is in the same process, so what is measured is more than the proxy.
#[tokio::test]
async fn sixty_four_stalled_bodies_cost_at_most_64_mib() {
    const BODIES: usize = 64;
    let proxy = start(|_| {}).await;
    assert_eq!(
        text(&curl(&[&format!("{}/small", proxy.url)]).await).len(),
        200
    );
    let before = peak_kib();
    let mut streams = Vec::new();
    for _ in 0..BODIES {
        streams.push(ask(&proxy, "/zeros?size=20000000", "Connection: close\r\n").await);
    }
    proxy
        .until("all are served", |now| {
            now.open_connections == BODIES as u64
        })
        .await;
    for stream in &mut streams {
        stream.read_u8().await.unwrap();
    }
    let mut room = vec![0; 256 * 1024];
    for mut stream in streams {
        let mut total = 1;
        while let Ok(count @ 1..) = stream.read(&mut room).await {
            total += count;
        }
        assert!(total > 20_000_000, "{total}");
    }
    let grown = peak_kib() - before;
    assert!(grown < 64 * 1024, "{grown} KiB more");
    // Half of it was in use: the bodies did fill their buffers.
    assert!(grown > 8 * 1024, "{grown} KiB more: nothing stalled");
}
