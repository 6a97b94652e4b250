//! The contract of the interface, line by line, against the real program: every route with real curl
//! and every frame on a real WebSocket, through the loopback proxy.
//!
//! What there is stands in the agent's `contract.json`; `contract/examples.json` has an example for
//! each: what is sent, the answer's status, its fields and their types. A route or a frame without an
//! example fails here, and an example of none too. Answers in JSON are held against the schemas of
//! `GET /api/openapi.json` as well. An example with `token` needs the proxy's token: without it, it is
//! refused, and one without does without.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use self::shape::{fits, has_fields};
use crate::approvals::{configure, message};
use crate::kit::{Dir, Running, curl};
use crate::story::{Socket, open_socket, say, until};

/// The exit code of a process that is to be started anew.
pub(crate) const RESTART: i32 = 75;
/// curl's exit code for a transfer that was still going on when its time was over.
const TIMED_OUT: i32 = 28;

fn contract() -> Value {
    serde_json::from_str(include_str!("../../../agent/tests/it/contract.json")).unwrap()
}

fn examples() -> Value {
    serde_json::from_str(include_str!("contract/examples.json")).unwrap()
}

/// What the contract says is here, its additions included.
fn listed(what: &str) -> BTreeSet<String> {
    let contract = contract();
    let specified = contract[what].as_array().unwrap().iter();
    let here = specified.filter_map(|entry| entry["here"].as_str());
    let more = contract[format!("additional_{what}")].as_array().unwrap();
    let all = here.chain(more.iter().map(|more| more.as_str().unwrap()));
    all.map(str::to_owned).collect()
}

fn compare(what: &str, examples: &BTreeSet<String>) {
    let listed = listed(what);
    let without: Vec<_> = listed.difference(examples).collect();
    assert!(without.is_empty(), "{what} without an example: {without:?}");
    let of_none: Vec<_> = examples.difference(&listed).collect();
    assert!(of_none.is_empty(), "examples of no {what}: {of_none:?}");
}

/// Puts values in for `$name`; a whole string that is a name becomes the value itself.
fn fill(template: &Value, known: &BTreeMap<String, Value>) -> Value {
    match template {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => known[name].clone(),
            None => Value::String(text.clone()),
        },
        Value::Array(all) => all.iter().map(|one| fill(one, known)).collect(),
        Value::Object(all) => {
            let filled = all.iter().map(|(key, one)| (key.clone(), fill(one, known)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

struct Walk {
    up: Running,
    token: String,
    document: Value,
    known: BTreeMap<String, Value>,
}

struct Answer {
    status: u16,
    content: String,
    body: Vec<u8>,
}

impl Walk {
    /// Asks with real curl.
    fn ask(&self, example: &Value, token: bool) -> Answer {
        let route = example["route"].as_str().unwrap();
        let (method, path) = route.split_once(' ').unwrap();
        let mut url = example["url"].as_str().unwrap_or(path).to_owned();
        for (name, value) in &self.known {
            let text = value.as_str().map_or(value.to_string(), str::to_owned);
            url = url.replace(&format!("${name}"), &text);
        }
        let folder = tempfile::tempdir().unwrap();
        let head = folder.path().join("head");
        let mut args = vec!["--request".to_owned(), method.to_owned()];
        let mut header = |line: String| args.extend(["--header".to_owned(), line]);
        if token {
            header(format!("Authorization: Bearer {}", self.token));
        }
        for line in example["headers"].as_array().into_iter().flatten() {
            header(line.as_str().unwrap().to_owned());
        }
        if let Some(body) = example.get("body") {
            header("Content-Type: application/json".to_owned());
            let body = fill(body, &self.known).to_string();
            args.extend(["--data-binary".to_owned(), body]);
        } else if let Some(raw) = example["raw"].as_str() {
            header("Content-Type: application/octet-stream".to_owned());
            args.extend(["--data-binary".to_owned(), raw.to_owned()]);
        }
        let endless = example["endless"] == true;
        if endless {
            // It is the head that is looked at.
            args.extend(["--max-time".to_owned(), "1".to_owned()]);
        }
        args.extend(["--dump-header".to_owned(), head.display().to_string()]);
        let curled = curl(args.into_iter().chain([self.up.url(&url)]));
        let expected = if endless { TIMED_OUT } else { 0 };
        assert_eq!(curled.exit, Some(expected), "{route}: {curled:?}");
        let head = std::fs::read_to_string(head).unwrap();
        let content = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let found = name.eq_ignore_ascii_case("content-type");
            found.then(|| value.trim().to_owned())
        });
        Answer {
            status: curled.status,
            content: content.unwrap_or_default(),
            body: curled.body,
        }
    }

    fn example(&mut self, example: &Value) {
        let route = example["route"].as_str().unwrap();
        let token = example["token"] == true;
        if token {
            let refused = self.ask(example, false);
            assert_eq!(refused.status, 403, "{route} without the token");
            let error: Value = serde_json::from_slice(&refused.body).unwrap();
            assert_eq!(error["error"]["code"], "forbidden", "{route}: {error}");
            let schema = json!({ "$ref": "#/components/schemas/Error" });
            fits(&error, &schema, &self.document).unwrap();
        }
        let answer = self.ask(example, token);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, example["status"], "{route}: {text}");
        let content = example["content"].as_str().unwrap_or("application/json");
        assert!(
            answer.content.starts_with(content),
            "{route}: {}",
            answer.content
        );
        let Some(fields) = example.get("fields") else {
            let empty = answer.body.is_empty() && example["endless"] != true;
            assert!(!empty, "{route} answered nothing");
            return;
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{route}: {text}"));
        has_fields(&body, fields).unwrap_or_else(|fault| panic!("{route}: {fault}"));
        let schema = self.schema(route, answer.status);
        fits(&body, &schema, &self.document).unwrap_or_else(|fault| panic!("{route}: {fault}"));
        for (name, pointer) in example["keep"].as_object().into_iter().flatten() {
            let found = body.pointer(pointer.as_str().unwrap()).unwrap();
            self.known.insert(name.clone(), found.clone());
        }
    }

    /// What the document says of this answer.
    fn schema(&self, route: &str, status: u16) -> Value {
        let (method, path) = route.split_once(' ').unwrap();
        let operation = &self.document["paths"][path.replace("{*", "{")][method.to_lowercase()];
        let answer = &operation["responses"][status.to_string()]["content"];
        let schema = &answer["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{route}: {status} is not documented: {operation}"
        );
        schema.clone()
    }
}

fn token_of(host: &Dir) -> String {
    let token = std::fs::read_to_string(host.path().join("run/proxy.token")).unwrap();
    token.trim().to_owned()
}

/// A turn that waits for a person, in a session of this name; the id of its approval.
async fn waiting(socket: &mut Socket, session: &str) -> Value {
    let mut asking = message(&json!({ "argv": ["true"] }));
    asking["session_id"] = session.into();
    say(socket, asking).await;
    let frames = until(socket, "approval_required").await;
    frames.last().unwrap()["id"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_real_curl_as_its_example_and_the_document_say() {
    let examples = examples();
    let routes = examples["routes"].as_array().unwrap();
    let named: BTreeSet<String> = routes
        .iter()
        .map(|example| example["route"].as_str().unwrap().to_owned())
        .collect();
    compare("routes", &named);

    let host = Dir::new();
    host.configure("[proxy]\nport = 0\n[limits]\nruns_per_minute = 1000\n");
    let up = host.up();
    let model = configure(&host);
    let mut socket = open_socket(&up.text("proxy_url")).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let server = root.join("agent/tests/it/mcp/server.py");
    let known = [
        ("one", waiting(&mut socket, "one").await),
        ("two", waiting(&mut socket, "two").await),
        ("model", model.into()),
        ("server", server.to_str().unwrap().into()),
    ];
    let mut walk = Walk {
        document: curl([up.url("/api/openapi.json")]).ok(),
        up,
        token: token_of(&host),
        known: known.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    for example in routes {
        walk.example(example);
    }
    // The last one has it started anew.
    assert_eq!(walk.up.exit_code(), Some(RESTART), "{}", walk.up.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_goes_over_a_real_websocket_as_its_example_says() {
    let examples = examples();
    let host = Dir::new();
    let up = host.up();
    configure(&host);
    let mut socket = open_with_token(&host, &up).await;
    let (mut sent, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let bearer = format!("Authorization: Bearer {}", token_of(&host));
    let upload = || {
        let url = up.url("/api/upload?filename=a");
        curl(["--header", &bearer, "--data", "x", &url]).ok()
    };
    let mut known = BTreeMap::from([("file".to_owned(), upload()["path"].clone())]);
    let mut look = |frames: Vec<Value>, known: &mut BTreeMap<String, Value>| {
        for frame in frames {
            let kind = frame["type"].as_str().unwrap();
            let fields = &examples["server_frames"][kind];
            assert!(fields.is_object(), "a frame without an example: {frame}");
            has_fields(&frame, fields).unwrap_or_else(|fault| panic!("{kind}: {fault}"));
            if kind == "message" && frame["session_id"] == "t" {
                known.insert("attached".to_owned(), frame["attachments"].clone());
            }
            if kind == "approval_required" {
                known.insert("approval".to_owned(), frame["id"].clone());
            }
            seen.insert(kind.to_owned());
        }
    };
    for step in examples["client_frames"].as_array().unwrap() {
        if let Some(frame) = step.get("send") {
            sent.insert(frame["type"].as_str().unwrap().to_owned());
            say(&mut socket, fill(frame, &known)).await;
        }
        if let Some(kind) = step["until"].as_str() {
            look(until(&mut socket, kind).await, &mut known);
        }
    }
    let attached = known["attached"].as_array().unwrap();
    let paths: Vec<&Value> = attached.iter().map(|file| &file["path"]).collect();
    assert_eq!(paths, [&known["file"]]);
    // The end of the replay, and what another program changes.
    look(until(&mut socket, "cleared").await, &mut known);
    upload();
    look(until(&mut socket, "resource_event").await, &mut known);

    // A frame that nobody knows is sent to see what comes back.
    assert!(sent.remove("nonsense"));
    compare("client_frames", &sent);
    compare("server_frames", &seen);
    let shapes = examples["server_frames"].as_object().unwrap();
    compare("server_frames", &shapes.keys().cloned().collect());
    drop(socket);
    up.stop();
}

/// A socket with the rights of a person.
async fn open_with_token(host: &Dir, up: &Running) -> Socket {
    let address = up.url("").trim_start_matches("http://").to_owned();
    let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let bearer = format!("Bearer {}", token_of(host));
    request
        .headers_mut()
        .insert("authorization", bearer.parse().unwrap());
    let opened = tokio_tungstenite::client_async(request, stream).await;
    opened.unwrap().0
}
