//! The main job: up, invite, join, dial, curl, revoke; and everything again after a restart.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::kit::{Dir, LIMIT, curl, eventually};

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Opens `/ws` through a loopback proxy, as any WebSocket program would.
pub(crate) async fn open_socket(proxy_url: &str) -> Socket {
    let address = proxy_url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let stream = TcpStream::connect(&address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(format!("ws://{address}/ws"), stream)
        .await
        .unwrap();
    assert_eq!(response.status(), 101);
    socket
}

pub(crate) async fn say(socket: &mut Socket, message: Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

/// Frames until one of this type, which comes last.
pub(crate) async fn until(socket: &mut Socket, kind: &str) -> Vec<Value> {
    let mut frames: Vec<Value> = Vec::new();
    let read = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    let found = frame["type"] == kind;
                    frames.push(frame);
                    if found {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                other => panic!("no {kind} came, but {other:?} after {frames:?}"),
            }
        }
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .unwrap_or_else(|_| panic!("no {kind} came"));
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_invited_joins_dials_curls_and_is_cut_off_when_it_is_revoked() {
    let host = Dir::new();
    let up = host.up();
    let node_id = up.text("node_id");
    assert_eq!(node_id.len(), 64);

    // The owner's own machine reaches its agent by curl as it is.
    let health = curl([up.url("/api/health")]).ok();
    assert_eq!(health["status"], "ok");

    // A ticket for a phone, redeemed in a second data directory.
    let invited = host.run(["invite", "--name", "phone"]).ok();
    let ticket = invited["ticket"].as_str().unwrap();
    let phone = Dir::new();
    let joined = phone.run_with_stdin(["join", "-"], ticket).ok();
    assert_eq!(
        (&joined["device"], &joined["role"]),
        (&json!("phone"), &json!("client"))
    );

    // The second use of the ticket is refused, with exit code 3.
    Dir::new()
        .run_with_stdin(["join", "-"], ticket)
        .refused(3, "ticket_invalid");

    // Dial by NodeId, and by name.
    let dialed = phone.run(["dial", &node_id]).ok();
    assert_eq!(dialed["certificate"], "ok");
    assert_eq!(dialed["path"], "direct");
    assert_eq!(dialed["node_id"], node_id.as_str());
    assert!(dialed["rtt_ms"].as_f64().is_some_and(|rtt| rtt < 1_000.0));

    // Unmodified curl through the second device's proxy.
    let proxy = phone.proxy();
    assert_eq!(curl([proxy.url("/api/health")]).ok()["status"], "ok");
    let me = curl([proxy.url("/api/whoami")]).ok();
    assert_eq!(me["node_id"], joined["node_id"]);
    assert_eq!(me["role"], "client");

    // An unmodified WebSocket program talks to the built-in assistant.
    let mut socket = open_socket(&proxy.text("proxy_url")).await;
    say(&mut socket, json!({"type": "ping"})).await;
    until(&mut socket, "pong").await;
    say(
        &mut socket,
        json!({"type": "session_open", "session_id": "first"}),
    )
    .await;
    say(
        &mut socket,
        json!({"type": "text_final", "session_id": "first", "text": "who am I?"}),
    )
    .await;
    let frames = until(&mut socket, "turn_complete").await;
    let answer = frames
        .iter()
        .find(|frame| frame["type"] == "response")
        .expect("a response");
    let text = answer["text"].as_str().unwrap();
    assert!(
        text.contains(joined["node_id"].as_str().unwrap().get(..8).unwrap()),
        "{answer}"
    );
    assert!(
        frames
            .iter()
            .filter(|frame| frame["type"] == "delta")
            .count()
            > 1,
        "{frames:?}"
    );

    // Revoke: the open WebSocket ends within a second of the commit.
    let clock = Instant::now();
    let revoking = tokio::task::spawn_blocking({
        let command = host.command(["revoke", "phone"]);
        move || {
            let mut command = command;
            let output = command.output().unwrap();
            (output.status, String::from_utf8(output.stdout).unwrap())
        }
    });
    let mut closed_with = None;
    let last_byte = loop {
        match tokio::time::timeout(LIMIT, socket.next())
            .await
            .expect("the socket is cut")
        {
            Some(Ok(Message::Close(frame))) => {
                closed_with = frame.map(|frame| u16::from(frame.code))
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break clock.elapsed(),
        }
    };
    let (status, stdout) = revoking.await.unwrap();
    assert!(status.success(), "{stdout}");
    let revoked: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(revoked["device"], "phone");
    assert_eq!(revoked["agents"][0]["confirmed"], true, "{revoked}");
    // From the start of the command, which comes before the commit.
    assert!(
        last_byte < Duration::from_secs(1),
        "the socket lived for {last_byte:?}"
    );
    assert_eq!(closed_with, Some(4003));
    assert!(
        socket.send(Message::text("{}")).await.is_err(),
        "the next byte was taken"
    );

    // New dials end with `revoked` and exit code 3; the proxy says so too.
    let refusal = eventually("the proxy's refusal", || {
        let curled = curl([proxy.url("/api/whoami")]);
        (curled.status == 403).then(|| curled.json())
    });
    assert_eq!(refusal["error"]["code"], "revoked");
    proxy.stop();
    phone.run(["dial", &node_id]).refused(3, "revoked");

    // The first device is untouched.
    assert_eq!(curl([up.url("/api/whoami")]).ok()["capped"], true);

    // Restart everything: still revoked.
    up.stop();
    let up = host.up();
    assert_eq!(up.text("node_id"), node_id);
    phone.run(["dial", &node_id]).refused(3, "revoked");
    let devices = host.run(["devices"]).ok();
    let listed = devices["devices"].as_array().unwrap();
    let phone_row = listed
        .iter()
        .find(|device| device["device"] == "phone")
        .unwrap();
    assert_eq!(phone_row["status"], "revoked");
    assert_eq!(curl([up.url("/api/health")]).ok()["status"], "ok");
    up.stop();
}
