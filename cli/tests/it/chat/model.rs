//! A model's server that speaks like api.openai.com: the same answer every time, of which only the first
//! piece comes before the test says so.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;

use crate::kit::{Dir, LIMIT};
use crate::models::read_request;

pub(super) struct FakeModel {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl FakeModel {
    pub(super) fn start(pieces: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let pieces: Arc<[String]> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let shared = gate.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (gate, pieces) = (shared.clone(), pieces.clone());
                std::thread::spawn(move || serve(stream, &gate, &pieces));
            }
        });
        Self { address, gate }
    }

    /// Makes it the agent's model.
    pub(super) fn configure(&self, host: &Dir) {
        let url = format!("http://{}/v1", self.address);
        let provider = [
            "providers",
            "add",
            "custom",
            "--name",
            "fake",
            "--base-url",
            &url,
        ];
        let provider = provider.into_iter().chain(["--key-file", "-"]);
        host.run_with_stdin(provider, "sk-0123456789abcd\n").ok();
        host.run(["models", "add", "fake", "m1"]).ok();
    }

    /// Lets all answers go on to their ends.
    pub(super) fn go_on(&self) {
        *self.gate.open.lock().unwrap() = true;
        self.gate.opened.notify_all();
    }
}

/// Whatever happens to the connection is the other side's doing.
fn serve(mut stream: TcpStream, gate: &Gate, pieces: &[String]) -> Option<()> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    read_request(&mut stream)?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    for (number, piece) in pieces.iter().enumerate() {
        if number == 1 {
            let open = gate.open.lock().unwrap();
            let wait = gate.opened.wait_timeout_while(open, LIMIT, |open| !*open);
            drop(wait);
        }
        let choice = json!({ "index": 0, "delta": { "content": piece }, "finish_reason": null });
        let chunk = json!({ "choices": [choice] });
        stream
            .write_all(format!("data: {chunk}\n\n").as_bytes())
            .ok()?;
        stream.flush().ok()?;
    }
    let stop = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 5 } });
    let end = format!("data: {stop}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
    stream.write_all(end.as_bytes()).ok()
}
