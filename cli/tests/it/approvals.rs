//! Approvals with the real binary: through the death of the process, from the command line, and what
//! a program that the agent starts can reach.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::kit::{Dir, LIMIT};
use crate::story::{open_socket, say, until};

const FAILED: i32 = 1;

/// A server that speaks like api.openai.com. Its model starts the program that a message names, as the
/// JSON arguments of the tool `shell`, and then says what the tool said.
fn obedient_model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

/// Whatever happens to the connection is the other side's doing.
fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let body = body(&mut stream)?;
    if body.is_empty() {
        return list_models(stream);
    }
    let asked: Value = serde_json::from_str(&body).ok()?;
    let last = asked["messages"].as_array()?.last()?.clone();
    let said = last["content"].as_str()?;
    let (delta, reason) = match last["role"].as_str()? {
        "tool" => (json!({ "content": said }), "stop"),
        _ => {
            let function = json!({ "name": "shell", "arguments": said });
            let call = json!({ "index": 0, "id": "c", "type": "function", "function": function });
            (json!({ "tool_calls": [call] }), "tool_calls")
        }
    };
    let mut answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            .to_owned();
    for (delta, reason) in [(delta, None), (json!({}), Some(reason))] {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        answer.push_str(&format!("data: {}\n\n", json!({ "choices": [choice] })));
    }
    answer.push_str("data: [DONE]\n\n");
    stream.write_all(answer.as_bytes()).ok()
}

/// To a request without a body.
fn list_models(mut stream: TcpStream) -> Option<()> {
    let list = json!({ "object": "list", "data": [{ "id": "m1" }, { "id": "m2" }] }).to_string();
    let length = list.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{list}").as_bytes()).ok()
}

fn body(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(body.to_owned());
        }
    }
}

/// Makes it the agent's model; its address.
pub(crate) fn configure(host: &Dir) -> String {
    let url = obedient_model();
    let add = [
        "providers",
        "add",
        "custom",
        "--name",
        "fake",
        "--base-url",
        &url,
    ];
    let key = ["--key-file", "-"];
    host.run_with_stdin(add.into_iter().chain(key), "sk-0123456789abcd\n")
        .ok();
    host.run(["models", "add", "fake", "m1"]).ok();
    url
}

pub(crate) fn message(arguments: &Value) -> Value {
    json!({"type": "text_final", "session_id": "s", "text": arguments.to_string()})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_approval_survives_kill_9_and_runs_once_when_it_is_approved() {
    let host = Dir::new();
    let up = host.up();
    configure(&host);
    let mut socket = open_socket(&up.text("proxy_url")).await;
    let touch = json!({"argv": ["touch", "mark"]});
    say(&mut socket, message(&touch)).await;
    let asked = until(&mut socket, "approval_required").await;
    let id = asked.last().unwrap()["id"].clone();
    // This socket has not shown the proxy's token: a program of the same user is not a person.
    let answer = json!({"type": "approval_answer", "id": id, "decision": "approve"});
    say(&mut socket, answer).await;
    let refused = until(&mut socket, "error").await;
    assert_eq!(refused.last().unwrap()["code"], "forbidden");
    // Its device is free for other sessions only once the turn lies on the disk.
    let other = json!({"type": "text_final", "session_id": "t", "text": "{}"});
    say(&mut socket, other).await;
    until(&mut socket, "turn_complete").await;
    up.kill();

    let up = host.up();
    let mark = host.path().join("agent/workspace/mark");
    assert!(!mark.exists());
    let listed = host.run(["approvals"]).ok();
    assert_eq!(listed["approvals"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["approvals"][0]["id"], id);
    let number = id.to_string();
    let shown = host.run(["approvals", "show", &number]).ok();
    assert_eq!(
        (&shown["state"], &shown["arguments"]),
        (&json!("pending"), &touch)
    );
    let approved = host.run(["approvals", "approve", &number]).ok();
    assert_eq!(approved["state"], "approved");
    let mut socket = open_socket(&up.text("proxy_url")).await;
    say(
        &mut socket,
        json!({"type": "session_open", "session_id": "s", "from_seq": 1}),
    )
    .await;
    let frames = until(&mut socket, "turn_complete").await;
    assert_eq!(frames.last().unwrap()["reason"], "done", "{frames:?}");
    assert!(mark.exists());
    for command in ["approve", "deny"] {
        host.run(["approvals", command, &number])
            .refused(FAILED, "already_answered");
    }
    assert_eq!(
        host.run(["approvals", "show", &number]).ok()["state"],
        "used"
    );
    assert_eq!(host.run(["approvals"]).ok()["approvals"], json!([]));
    let all = host.run(["approvals", "list", "--all"]).ok();
    assert_eq!(all["approvals"].as_array().unwrap().len(), 1);
    host.run(["approvals", "show", "99"])
        .refused(FAILED, "not_found");
    up.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_the_agent_starts_reaches_neither_the_proxy_nor_the_control_socket_nor_a_key()
 {
    let host = Dir::new();
    host.configure("[proxy]\nport = 0\n[policy.tools]\nshell = \"allow\"\n");
    let up = host.up();
    configure(&host);
    let dir = host.path();
    let dir = dir.to_str().unwrap();
    let proxy = up.text("proxy_url");
    let health = format!("{proxy}/api/health");
    let key = format!("{dir}/device/key");
    let socket_of = |name: &str| format!("{dir}/run/{name}.sock");
    let (proxy_socket, control) = (socket_of("proxy"), socket_of("control"));
    let through = "http://localhost/api/health";
    let homing = env!("CARGO_BIN_EXE_homing");
    let attempts: [(&[&str], &str); 5] = [
        (&["curl", "-sS", "-m", "10", &health], "\"exit_code\":7"),
        (
            &[
                "curl",
                "-sS",
                "-m",
                "10",
                "--unix-socket",
                &proxy_socket,
                through,
            ],
            "token_required",
        ),
        (
            &[
                "curl",
                "-sS",
                "-m",
                "10",
                "--unix-socket",
                &control,
                through,
            ],
            "\"stdout\":\"\"",
        ),
        (&["cat", &key], "Permission denied"),
        (
            &[homing, "--dir", dir, "--json", "devices"],
            "Permission denied",
        ),
    ];
    let mut socket = open_socket(&proxy).await;
    for (argv, expected) in attempts {
        say(&mut socket, message(&json!({ "argv": argv }))).await;
        let frames = until(&mut socket, "turn_complete").await;
        let response = frames.iter().find(|frame| frame["type"] == "response");
        let told = response.unwrap()["text"].as_str().unwrap();
        assert!(told.contains(expected), "{argv:?}: {told}");
    }
    up.stop();
}
