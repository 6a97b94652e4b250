//! A provider is configured from the command line and answers; the process dies in mid-answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::kit::{Dir, LIMIT, curl, set_mode};
use crate::story::{open_socket, say, until};

const KEY: &str = "sk-0123456789abcd";
const USAGE: i32 = 2;
const FAILED: i32 = 1;

/// A server that speaks like api.openai.com. The first answer never ends; later ones do.
struct FakeOpenAi {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl FakeOpenAi {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            heads: Arc::default(),
        };
        let (asked, heads) = (fake.asked.clone(), fake.heads.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, heads) = (asked.clone(), heads.clone());
                std::thread::spawn(move || serve(stream, &asked, &heads));
            }
        });
        fake
    }

    fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Whatever happens to the connection is the other side's doing.
fn serve(mut stream: TcpStream, asked: &AtomicUsize, heads: &Mutex<Vec<String>>) -> Option<()> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let head = read_request(&mut stream)?;
    heads.lock().unwrap().push(head.clone());
    if head.starts_with("GET /v1/models ") {
        let body =
            json!({ "object": "list", "data": [{ "id": "m1" }, { "id": "m2" }] }).to_string();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        return stream.write_all(format!("{head}{body}").as_bytes()).ok();
    }
    let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
    let text = |text: &str| {
        let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
        format!("data: {chunk}\n\n")
    };
    let mut answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            .to_owned();
    answer.push_str(&text("one "));
    if first {
        stream.write_all(answer.as_bytes()).ok()?;
        // Until the agent has gone.
        let _ = stream.read(&mut [0; 1]);
        return None;
    }
    answer.push_str(&text("two"));
    let stop = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let usage =
        json!({ "choices": [], "usage": { "prompt_tokens": 1_000, "completion_tokens": 100 } });
    answer.push_str(&format!(
        "data: {stop}\n\ndata: {usage}\n\ndata: [DONE]\n\n"
    ));
    stream.write_all(answer.as_bytes()).ok()
}

/// The head of a request; its body is read and passed over.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<String> {
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
            return Some(head.to_owned());
        }
    }
}

/// Adds the server as a provider, and a model of it.
fn configure(host: &Dir, fake: &FakeOpenAi) {
    let url = fake.base_url();
    let add = [
        "providers",
        "add",
        "custom",
        "--name",
        "fake",
        "--base-url",
        &url,
        "--key-file",
        "-",
    ];
    let added = host.run_with_stdin(add, &format!("{KEY}\n")).ok();
    assert_eq!(added["api_key_display"], "****abcd");
    let tested = host.run(["providers", "test", "fake"]).ok();
    assert_eq!(tested["models"], 2);
    let available = host.run(["models", "available"]).ok();
    assert_eq!(available["providers"][0]["models"], json!(["m1", "m2"]));
    let price = ["--price-input", "3", "--price-output", "15"];
    let model = ["models", "add", "fake", "m1"].into_iter().chain(price);
    let added = host.run(model).ok();
    assert_eq!(
        (&added["label"], &added["is_default"]),
        (&json!("fake/m1"), &json!(true))
    );
}

fn of_session(frames: &[Value]) -> Vec<Value> {
    let own = frames.iter().filter(|frame| frame["session_id"] == "s");
    own.cloned().collect()
}

fn text_of(frames: &[Value]) -> String {
    let deltas = frames.iter().filter(|frame| frame["type"] == "delta");
    deltas
        .map(|frame| frame["text"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_agents_death_cut_is_marked_and_the_next_one_is_whole() {
    let host = Dir::new();
    let fake = FakeOpenAi::start();
    let up = host.up();
    configure(&host, &fake);

    let mut socket = open_socket(&up.text("proxy_url")).await;
    let first =
        json!({"type": "text_final", "session_id": "s", "text": "count", "client_msg_id": "m1"});
    say(&mut socket, first.clone()).await;
    let begun = of_session(&until(&mut socket, "delta").await);
    assert_eq!(begun[0]["client_msg_id"], "m1");
    assert_eq!(text_of(&begun), "one ");
    up.kill();

    let up = host.up();
    let mut socket = open_socket(&up.text("proxy_url")).await;
    say(
        &mut socket,
        json!({"type": "session_open", "session_id": "s", "from_seq": 1}),
    )
    .await;
    let replayed = of_session(&until(&mut socket, "turn_complete").await);
    assert_eq!(replayed[..begun.len()], begun[..]);
    assert_eq!(text_of(&replayed), "one ");
    assert_eq!(replayed.last().unwrap()["reason"], "restarted");

    // What was acknowledged is not taken twice, and a new question is answered whole.
    say(&mut socket, first).await;
    let second =
        json!({"type": "text_final", "session_id": "s", "text": "again", "client_msg_id": "m2"});
    say(&mut socket, second).await;
    let answered = of_session(&until(&mut socket, "turn_complete").await);
    assert_eq!(text_of(&answered), "one two");
    let complete = answered.last().unwrap();
    assert_eq!(complete["reason"], "done");
    assert_eq!(complete["usage"]["cost_micro_usd"], 3_000 + 1_500);
    let response = answered.iter().find(|frame| frame["type"] == "response");
    assert_eq!(response.unwrap()["model"], "fake/m1");
    assert_eq!(fake.asked(), 2);

    let mut later = open_socket(&up.text("proxy_url")).await;
    say(
        &mut later,
        json!({"type": "session_open", "session_id": "s", "from_seq": 1}),
    )
    .await;
    let mut all = of_session(&until(&mut later, "turn_complete").await);
    all.extend(of_session(&until(&mut later, "turn_complete").await));
    let numbers: Vec<u64> = all
        .iter()
        .map(|frame| frame["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    let asked = all.iter().filter(|frame| frame["type"] == "message");
    let asked: Vec<&Value> = asked.map(|frame| &frame["client_msg_id"]).collect();
    assert_eq!(asked, ["m1", "m2"]);
    let sessions = curl([up.url("/api/sessions")]).ok();
    assert_eq!(sessions["sessions"][0]["messages"], 3);

    let heads = fake.heads.lock().unwrap().clone();
    let sent = format!("authorization: bearer {KEY}");
    assert!(
        heads
            .iter()
            .all(|head| head.to_lowercase().contains(&sent.to_lowercase()))
    );
    assert!(!up.log().contains("0123456789"), "the key is in the log");
    up.stop();
}

#[test]
fn providers_and_models_are_configured_from_the_command_line() {
    let host = Dir::new();
    let fake = FakeOpenAi::start();
    let up = host.up();
    assert_eq!(host.run(["providers"]).ok()["providers"], json!([]));
    configure(&host, &fake);
    let doctor = host.run(["doctor"]).ok();
    let contacted = format!("{} (provider fake)", fake.base_url());
    assert_eq!(doctor["contacts"], json!([contacted]));
    host.run(["models", "add", "fake", "m2", "--fallback", "1"])
        .ok();
    assert_eq!(
        host.run(["models", "default", "fake/m2"]).ok()["is_default"],
        true
    );
    assert_eq!(host.run(["models", "disable", "m1"]).ok()["active"], false);
    let listed = host.run(["models"]).ok();
    let defaults: Vec<&Value> = listed["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| &model["is_default"])
        .collect();
    assert_eq!(defaults, [false, true]);
    host.run(["models", "remove", "m1"]).ok();

    let other = host.run_with_stdin(["providers", "key", "fake"], "sk-another-key-9999");
    assert_eq!(other.ok()["api_key_display"], "****9999");
    host.run(["providers", "test", "fake"]).ok();
    let last = fake.heads.lock().unwrap().last().unwrap().to_lowercase();
    assert!(last.contains("bearer sk-another-key-9999"), "{last}");

    host.run(["models", "enable", "m9"])
        .refused(USAGE, "unknown_model");
    host.run(["models", "add", "nobody", "m"])
        .refused(USAGE, "unknown_provider");
    host.run(["providers", "add", "ollama", "--name", "fake"])
        .refused(FAILED, "exists");
    let far = [
        "providers",
        "add",
        "custom",
        "--base-url",
        "http://example.org/v1",
    ];
    host.run(far).refused(USAGE, "bad_base_url");
    let broken = host.run_with_stdin(["providers", "add", "openai"], "sk-1\nhost: x\n");
    broken.refused(USAGE, "bad_key");
    let file = host.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    set_mode(&file, 0o644);
    let exposed = [
        "providers",
        "add",
        "openai",
        "--key-file",
        file.to_str().unwrap(),
    ];
    host.run(exposed).refused(FAILED, "key_exposed");
    set_mode(&file, 0o600);
    host.run(exposed).ok();

    // A program without the proxy's token has no such rights, whoever's certificate it uses.
    curl([up.url("/api/providers")]).refused(403, "forbidden");
    host.run(["providers", "remove", "fake"]).ok();
    assert_eq!(host.run(["models"]).ok()["models"], json!([]));
    up.stop();
}

#[test]
fn a_joined_device_asks_the_agent_over_its_own_connection_when_nothing_runs_there() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    assert_eq!(phone.run(["models"]).ok()["models"], json!([]));
    // Its role may see models and not change them.
    const REFUSED: i32 = 3;
    phone.run(["providers"]).refused(REFUSED, "forbidden");
    let proxy = phone.proxy();
    assert_eq!(phone.run(["models"]).ok()["models"], json!([]));
    phone
        .run(["models", "--agent", "nobody"])
        .refused(FAILED, "other_agent");
    proxy.stop();
    up.stop();
}
