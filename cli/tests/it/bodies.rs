//! Large and odd bodies from curl to the agent and back, through the second device's proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::kit::{Dir, LIMIT, Running, curl, eventually};
use crate::machine::{peak_memory, reset_peak_memory};
use crate::story::{open_socket, say, until};

const MIB: u64 = 1024 * 1024;
const LARGE: u64 = 100 * MIB;
/// What one body may add to the peak of a process: windows and buffers, never the body.
const ROOM_KIB: u64 = 64 * 1024;

/// A host, and the proxy of a second device.
struct Pair {
    up: Running,
    proxy: Running,
    _dirs: [Dir; 2],
}

fn pair() -> Pair {
    pair_with("")
}

/// With these settings of the host.
fn pair_with(settings: &str) -> Pair {
    let host = Dir::new();
    host.configure(settings);
    let up = host.up();
    let laptop = host.invite_and_join("laptop");
    let proxy = laptop.proxy();
    Pair {
        up,
        proxy,
        _dirs: [host, laptop],
    }
}

impl Pair {
    fn url(&self, path: &str) -> String {
        self.proxy.url(path)
    }

    /// A raw connection to the proxy, as a program of one's own would make.
    fn connect(&self) -> (TcpStream, String) {
        let address = self.proxy.text("proxy_url").replace("http://", "");
        let address = address.trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        (stream, address)
    }

    fn end(self) {
        self.proxy.stop();
        self.up.stop();
    }
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// A file of this size that does not compress and does not repeat.
fn noise(path: &Path, size: u64) {
    let mut source = std::fs::File::open("/dev/urandom").unwrap().take(size);
    let mut file = std::fs::File::create(path).unwrap();
    assert_eq!(std::io::copy(&mut source, &mut file).unwrap(), size);
}

#[test]
fn a_hundred_mebibytes_go_up_and_come_down_unchanged_in_little_memory() {
    let pair = pair();
    let folder = tempfile::tempdir().unwrap();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    noise(&sent, LARGE);
    let file = pair.url("/api/files/large.bin");
    reset_peak_memory(&pair.up);
    reset_peak_memory(&pair.proxy);
    let before = [peak_memory(&pair.up), peak_memory(&pair.proxy)];
    curl(["--upload-file", sent.to_str().unwrap(), &file]).ok();
    let status = Command::new("curl")
        .args(["-sS", "--fail", "-o", received.to_str().unwrap(), &file])
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(sha256(&received), sha256(&sent));
    for (process, before) in [&pair.up, &pair.proxy].into_iter().zip(before) {
        let grown = peak_memory(process).saturating_sub(before);
        assert!(grown < ROOM_KIB, "the peak grew by {grown} KiB");
    }
    pair.end();
}

#[test]
fn a_chunked_body_of_a_hundred_mebibytes_is_echoed_while_it_is_sent() {
    let pair = pair();
    let folder = tempfile::tempdir().unwrap();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    noise(&sent, LARGE);
    let status = Command::new("curl")
        .args(["-sS", "--fail", "-X", "POST", "-T", "-"])
        .args(["-o", received.to_str().unwrap(), &pair.url("/api/echo")])
        .stdin(std::fs::File::open(&sent).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(sha256(&received), sha256(&sent));
    pair.end();
}

#[test]
fn a_body_over_the_limit_is_refused_at_once_and_streamed_ones_end_at_the_limit() {
    let pair = pair();
    reset_peak_memory(&pair.up);
    let before = peak_memory(&pair.up);
    // Announced: refused by its length. Only the file's size is real.
    let folder = tempfile::tempdir().unwrap();
    let huge = folder.path().join("huge");
    std::fs::File::create(&huge)
        .unwrap()
        .set_len(1024 * MIB + 1)
        .unwrap();
    let huge = huge.to_str().unwrap();
    let refused = curl(["--upload-file", huge, &pair.url("/api/files/huge.bin")]);
    refused.refused(413, "too_large");
    // Not announced: cut off at 10 MB, with nothing kept.
    let upload = pair.url("/api/upload?filename=huge.bin");
    let chunked = curl([
        "-H",
        "Transfer-Encoding: chunked",
        "--data-binary",
        &format!("@{}", twenty(folder.path())),
        &upload,
    ]);
    chunked.refused(413, "too_large");
    curl([pair.url("/api/files/huge.bin")]).refused(404, "not_found");
    let grown = peak_memory(&pair.up).saturating_sub(before);
    assert!(grown < ROOM_KIB, "the peak grew by {grown} KiB");
    curl([pair.url("/api/health")]).ok();
    pair.end();
}

fn twenty(folder: &Path) -> String {
    let path = folder.join("twenty");
    noise(&path, 20 * MIB);
    path.to_str().unwrap().to_owned()
}

#[test]
fn expect_100_continue_head_and_trailers_work_as_with_a_direct_connection() {
    let pair = pair();
    let echo = pair.url("/api/echo");
    let expected = curl(["-H", "Expect: 100-continue", "--data", "body", &echo]);
    assert_eq!((expected.status, expected.body), (200, b"body".to_vec()));

    let head = Command::new("curl")
        .args(["-sS", "--head", &pair.url("/api/blob?bytes=1234")])
        .output()
        .unwrap();
    let head = String::from_utf8(head.stdout).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-length: 1234"), "{head}");

    let (mut stream, address) = pair.connect();
    write!(
        stream,
        "POST /api/echo HTTP/1.1\r\nHost: {address}\r\nTE: trailers\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("body") && answer.to_lowercase().ends_with("x-sum: 7\r\n\r\n"),
        "{answer}"
    );
    pair.end();
}

#[test]
fn a_client_that_closes_its_sending_half_gets_the_whole_answer() {
    let pair = pair();
    let (mut stream, address) = pair.connect();
    write!(
        stream,
        "GET /api/blob?bytes=5000000 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    // Once the proxy has taken the connection: one that is half-closed before is nobody's.
    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(answer.len() - end - 4, 5_000_000);
    pair.end();
}

#[test]
fn events_come_one_by_one_as_they_happen() {
    let pair = pair();
    let mut follower = Command::new("curl")
        .args([
            "-sS",
            "--no-buffer",
            "--max-time",
            "60",
            &pair.url("/api/events"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut until = |what: &str| {
        loop {
            let line = lines.next().expect("the stream goes on").unwrap();
            if line.contains(what) {
                return;
            }
        }
    };
    until(": following");
    // Each one is seen before the next one is caused: nothing waits in a buffer.
    for number in 0..3 {
        let name = format!("file-{number}.txt");
        curl([
            "-X",
            "PUT",
            "--data",
            "x",
            &pair.url(&format!("/api/files/{name}")),
        ])
        .ok();
        until(&name);
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    pair.end();
}

#[test]
fn a_slow_download_of_a_hundred_mebibytes_holds_up_nobody() {
    let pair = pair();
    let blob = pair.url(&format!("/api/blob?bytes={LARGE}"));
    let mut slow = Command::new("curl")
        .args([
            "-sS",
            "--limit-rate",
            "100k",
            "--max-time",
            "100",
            "-o",
            "/dev/null",
            &blob,
        ])
        .spawn()
        .unwrap();
    // Beside it 300 requests and a whole second download go through on the same connection.
    for _ in 0..100 {
        curl([pair.url("/api/whoami")]).ok();
    }
    let beside = curl([pair.url(&format!("/api/blob?bytes={}", 20 * MIB))]);
    assert_eq!((beside.status, beside.body.len() as u64), (200, 20 * MIB));
    assert!(
        slow.try_wait().unwrap().is_none(),
        "the slow download was cut off"
    );
    slow.kill().unwrap();
    slow.wait().unwrap();
    curl([pair.url("/api/whoami")]).ok();
    pair.end();
}

/// Clients that stall at once.
const STALLED: u64 = 16;
/// What one may cost the proxy, in KiB: a stream's window of 1.25 MB, the proxy's own buffer, and
/// several times that for the packets that noq keeps while a part of them is unread.
const STALLED_KIB: u64 = 8 * 1024;

#[test]
fn clients_that_stop_reading_cost_little_and_the_connection_lives() {
    let pair = pair();
    reset_peak_memory(&pair.proxy);
    let before = peak_memory(&pair.proxy);
    let stalled: Vec<TcpStream> = (0..STALLED)
        .map(|_| {
            let (mut stream, address) = pair.connect();
            write!(
                stream,
                "GET /api/blob?bytes={LARGE} HTTP/1.1\r\nHost: {address}\r\n\r\n"
            )
            .unwrap();
            let mut first = [0; 1];
            stream.read_exact(&mut first).unwrap();
            stream
        })
        .collect();
    for _ in 0..50 {
        curl([pair.url("/api/whoami")]).ok();
    }
    let grown = peak_memory(&pair.proxy).saturating_sub(before);
    assert!(
        grown < STALLED * STALLED_KIB,
        "the peak grew by {grown} KiB"
    );
    // One of them reads on, and finds nothing missing.
    let mut last = stalled.into_iter().next().unwrap();
    let mut read = 0;
    let mut block = vec![0; 1 << 20];
    while read < LARGE {
        read += last.read(&mut block).unwrap() as u64;
    }
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_stalls_behind_a_flood_leaves_the_connection_alive() {
    // The flood must not end at the rate limit: it is the reader that stalls.
    let pair = pair_with("[limits]\nreads_per_second = 10000000\n");
    let url = pair.proxy.text("proxy_url");
    let mut flood = open_socket(&url).await;
    // Answers to all of these are never read; sending stops where the peer stops reading.
    let sending = async {
        for _ in 0..100_000 {
            if flood
                .feed(Message::text(r#"{"type":"ping"}"#))
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = flood.flush().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), sending).await;

    let mut other = open_socket(&url).await;
    say(&mut other, json!({"type": "ping"})).await;
    until(&mut other, "pong").await;
    let health = pair.url("/api/health");
    tokio::task::spawn_blocking(move || curl([&health]).ok())
        .await
        .unwrap();
    // The same connection to the agent: nothing was dialed again.
    let connected = curl([pair.up.url("/api/health")]).ok();
    assert!(connected.is_object());
    // The flooded one is drained after all, or was reset; it does not hang.
    let drained = async { while let Some(Ok(_)) = flood.next().await {} };
    drop(tokio::time::timeout(Duration::from_millis(200), drained).await);
    tokio::task::spawn_blocking(move || pair.end())
        .await
        .unwrap();
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_and_the_next_one_works() {
    let pair = pair();
    let (mut stream, address) = pair.connect();
    write!(
        stream,
        "PUT /api/files/half.bin HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000\r\n\r\n"
    )
    .unwrap();
    stream.write_all(&[7; 500_000]).unwrap();
    drop(stream);
    eventually("the end of the upload", || {
        let open = curl([pair.url("/.homing/proxy")]).ok();
        (open["counters"]["open_connections"] == 1).then_some(())
    });
    let file = pair.url("/api/files/half.bin");
    curl([&file]).refused(404, "not_found");
    curl(["-X", "PUT", "--data", "whole", &file]).ok();
    assert_eq!(curl([&file]).body, b"whole");
    pair.end();
}
