//! A device that is revoked through an agent: `device.revoke` on `/rpc`, behind an admin's proxy.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::kit::{Dir, LIMIT, Running, curl};
use crate::split::{coordinator, first_agent};
use crate::story::Socket;

/// `/rpc` through a loopback proxy, with its token or without.
async fn open(dir: &Dir, proxy: &Running, with_token: bool) -> Socket {
    let url = proxy.text("proxy_url");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}/rpc").into_client_request().unwrap();
    if with_token {
        let token = std::fs::read_to_string(dir.path().join("run/proxy.token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
    }
    let (socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    socket
}

/// Asks to revoke a device, and gives the answer.
async fn revoke(socket: &mut Socket, device: &str) -> Value {
    let call = json!({
        "version": "1.0", "id": device, "method": "device.revoke", "params": { "device": device },
    });
    socket.send(Message::text(call.to_string())).await.unwrap();
    let answer = async {
        loop {
            match socket.next().await.expect("an answer").unwrap() {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["id"] == device {
                        return frame;
                    }
                }
                Message::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, answer).await.unwrap()
}

fn audit_lines(path: std::path::PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_with_the_token_revokes_a_phone_through_the_agent_and_nobody_else_does() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let spare = host.invite_and_join("spare");
    phone.run(["dial"]).ok();

    // A program that cannot show the token is no person.
    let mut socket = open(&host, &up, false).await;
    let answer = revoke(&mut socket, "phone").await;
    assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
    // Nor is a client's device, token or not.
    let proxy = spare.proxy();
    let mut theirs = open(&spare, &proxy, true).await;
    let answer = revoke(&mut theirs, "phone").await;
    assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
    phone.run(["dial"]).ok();

    let mut socket = open(&host, &up, true).await;
    let answer = revoke(&mut socket, "nobody").await;
    assert_eq!(answer["error"]["code"], "NOT_FOUND", "{answer}");
    // The agent does not lock itself out.
    let own = up.text("node_id");
    let answer = revoke(&mut socket, &own).await;
    assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
    let answer = revoke(&mut socket, "phone").await;
    let result = &answer["result"];
    assert_eq!(result["device"], "phone", "{answer}");
    assert_eq!(result["agents"][0]["confirmed"], true, "{answer}");
    assert!(result["agents"][0]["ms"].is_u64(), "{answer}");
    phone.run(["dial"]).refused(3, "revoked");
    spare.run(["dial"]).ok();
    // The same answer as of the command, which finds that it was done.
    let again = host.run(["revoke", "phone"]).ok();
    let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&again), keys(result));

    let me = curl([up.url("/api/whoami")]).ok()["node_id"].clone();
    let lines = audit_lines(host.path().join("coordinator/audit.jsonl"));
    let passed_on = |line: &&Value| line["on_behalf_of"] == me && line["decision"] == "allowed";
    let line = lines.iter().find(passed_on).expect("a line");
    assert_eq!(
        (&line["actor"], &line["method"], &line["target"]),
        (&json!(own), &json!("revoke"), &json!("phone"))
    );
    let lines = audit_lines(host.path().join("agent/audit.jsonl"));
    let asked = |line: &&Value| {
        line["entry"]["target"] == "device.revoke" && line["entry"]["decision"] == "allowed"
    };
    assert_eq!(lines.iter().find(asked).unwrap()["entry"]["device"], me);
    host.run(["audit", "verify"]).ok();
    proxy.stop();
    up.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_the_scope_revokes_nobody_and_a_revoked_admin_asks_for_nothing() {
    let home = Dir::new();
    let coordinating = coordinator(&home);
    let (_agent_dir, agent) = first_agent(&home, "home");
    let invited = home
        .run([
            "invite",
            "--role",
            "admin",
            "--name",
            "laptop",
            "--no-approve",
        ])
        .ok();
    let laptop = Dir::new();
    let ticket = invited["ticket"].as_str().unwrap();
    laptop.run_with_stdin(["join", "-"], ticket).ok();
    let phone = home.invite_and_join("phone");
    let proxy = laptop.proxy();
    let mut socket = open(&laptop, &proxy, true).await;
    let answer = revoke(&mut socket, "phone").await;
    assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
    phone.run(["dial"]).ok();
    let lines = audit_lines(home.path().join("coordinator/audit.jsonl"));
    let refused = lines.iter().any(|line| {
        line["decision"] == "forbidden" && line["method"] == "revoke" && line["target"] == "phone"
    });
    assert!(refused, "{lines:?}");

    home.run(["revoke", "laptop"]).ok();
    let call = json!({ "version": "1.0", "id": 1, "method": "device.revoke", "params": { "device": "phone" } });
    // The socket is being closed; what still gets through is not answered with a revocation.
    let _ = socket.send(Message::text(call.to_string())).await;
    let rest = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                assert!(!text.contains("\"result\""), "{text}");
            }
        }
    };
    tokio::time::timeout(LIMIT, rest)
        .await
        .expect("the socket is cut");
    phone.run(["dial"]).ok();
    proxy.stop();
    agent.stop();
    coordinating.stop();
}
