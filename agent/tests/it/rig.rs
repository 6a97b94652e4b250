//! An agent in a temporary directory, requests to it, and WebSockets over an in-memory stream.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::{SinkExt, StreamExt};
use homing_agent::gateway::ConnectionService;
use homing_agent::{AgentSettings, AgentState, Gateway};
use homing_certs::NodeId;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tower::ServiceExt;

use crate::network::{Device, Network};

/// No step of a test takes this long on a machine that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) network: Arc<Network>,
    pub(crate) state: Arc<AgentState>,
    pub(crate) gateway: Gateway,
    /// Removed with the last owner; a restarted agent shares it.
    dir: Arc<TempDir>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut AgentSettings)) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        Self::start_in(dir, Network::new(), change).await
    }

    async fn start_in(
        dir: Arc<TempDir>,
        network: Arc<Network>,
        change: impl FnOnce(&mut AgentSettings),
    ) -> Self {
        let folder = dir.path().join("agent");
        let node_id = NodeId::from([9; 32]);
        let mut settings = AgentSettings::new(folder, "attic".into(), node_id, network.id());
        settings.pace = Duration::ZERO;
        settings.provider_times.backoff = Duration::from_millis(1);
        install_tls();
        change(&mut settings);
        let state = AgentState::open(settings).await.unwrap();
        Self {
            network,
            gateway: Gateway::new(state.clone()),
            state,
            dir,
        }
    }

    /// Stops this agent and starts another on its files.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut AgentSettings)) -> Self {
        self.state.shutdown().await;
        Self::start_in(self.dir.clone(), self.network.clone(), change).await
    }

    /// Starts another agent on a copy of the files as they are now, as if the process had died.
    pub(crate) async fn die_and_restart(&self) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        copy_tree(&self.folder(), &dir.path().join("agent"));
        Self::start_in(dir, self.network.clone(), |_| {}).await
    }

    /// Starts another agent on the files as they are now, in their place, as if the process had died.
    pub(crate) async fn die_in_place_with(self, change: impl FnOnce(&mut AgentSettings)) -> Self {
        let copy = TempDir::new().unwrap();
        copy_tree(&self.folder(), copy.path());
        self.state.shutdown().await;
        std::fs::remove_dir_all(self.folder()).unwrap();
        copy_tree(copy.path(), &self.folder());
        Self::start_in(self.dir.clone(), self.network.clone(), change).await
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    pub(crate) async fn connect(&self, device: &Arc<Device>) -> ConnectionService {
        self.gateway.connect(device.clone()).await
    }

    pub(crate) async fn call(&self, device: &Arc<Device>, request: Request<Body>) -> Answer {
        let service = self.connect(device).await;
        Answer::read(service.oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn get(&self, device: &Arc<Device>, path: &str) -> Answer {
        self.call(device, get(path)).await
    }

    /// A WebSocket of a device, with the rights of a caller that has the proxy's token.
    pub(crate) async fn ws(&self, device: &Arc<Device>) -> Ws {
        self.ws_with(device, 64 << 10).await
    }

    /// `buffer` is what the stream holds when nobody reads.
    pub(crate) async fn ws_with(&self, device: &Arc<Device>, buffer: usize) -> Ws {
        self.socket(device, "/ws", buffer).await
    }

    /// A WebSocket at `path`.
    pub(crate) async fn socket(&self, device: &Arc<Device>, path: &str, buffer: usize) -> Ws {
        let service = self.connect(device).await;
        let (client, server) = tokio::io::duplex(buffer);
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .half_close(true)
                .serve_connection(TokioIo::new(server), service)
                .with_upgrades()
                .await;
        });
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://agent{path}"), client)
            .await
            .unwrap();
        Ws { socket }
    }

    /// The kinds and targets of the audit lines so far.
    pub(crate) async fn audit_lines(&self) -> Vec<Value> {
        // The answer to a question about the head comes after all lines before it.
        self.state.audit.head().await.unwrap();
        let text = std::fs::read_to_string(self.folder().join("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].clone())
            .collect()
    }
}

/// As the program does at its start; whoever is first installs it.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn user_of(device: &Device) -> homing_certs::UserId {
    use homing_agent::Caller as _;
    device.authorize().unwrap().certificate().user_id
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        if head
            .headers
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream")
        {
            // Has no end.
            return Self {
                status: head.status,
                headers: head.headers,
                body: vec![],
            };
        }
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Self {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) struct Ws {
    socket: WebSocketStream<DuplexStream>,
}

impl Ws {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_raw(Message::Text(frame.to_string().into())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        tokio::time::timeout(LIMIT, self.socket.send(message))
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn say(&mut self, session: &str, text: &str) {
        self.send(json!({"type": "text_final", "session_id": session, "text": text}))
            .await;
    }

    pub(crate) async fn open(&mut self, session: &str, from_seq: u64) {
        self.send(json!({"type": "session_open", "session_id": session, "from_seq": from_seq}))
            .await;
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(frame) => frame,
            Err(close) => panic!("closed: {close:?}"),
        }
    }

    pub(crate) async fn next_or_close(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message = tokio::time::timeout(LIMIT, self.socket.next())
                .await
                .unwrap();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Frames up to the first of this type, that one included.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = vec![];
        loop {
            let frame = self.next().await;
            let done = frame["type"] == kind;
            frames.push(frame);
            if done {
                return frames;
            }
        }
    }

    /// The next frame of this type.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> Value {
        self.until(kind).await.pop().unwrap()
    }

    /// How the agent closes the socket, whatever it sends before.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            if let Err(close) = self.next_or_close().await {
                return close;
            }
        }
    }

    /// Sends while it reads, as a browser does: whether all was sent, and the code of the close.
    pub(crate) async fn send_while_reading(&mut self, message: Message) -> (bool, u16) {
        let (mut sink, mut stream) = (&mut self.socket).split();
        let closed = async {
            loop {
                match stream.next().await {
                    Some(Ok(Message::Close(frame))) => {
                        return frame.map_or(0, |frame| frame.code.into());
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return 0,
                }
            }
        };
        let both = async { tokio::join!(sink.send(message), closed) };
        let (sent, code) = tokio::time::timeout(LIMIT, both).await.unwrap();
        (sent.is_ok(), code)
    }

    /// The code of the close.
    pub(crate) async fn close_code(&mut self) -> u16 {
        self.closed().await.map_or(0, |frame| frame.code.into())
    }
}

/// The frames that belong to a session, by number, and that they rise by one.
pub(crate) fn numbers(frames: &[Value]) -> Vec<u64> {
    frames
        .iter()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect()
}

pub(crate) fn text_of(frames: &[Value]) -> String {
    let deltas = frames.iter().filter(|frame| frame["type"] == "delta");
    deltas
        .map(|frame| frame["text"].as_str().unwrap())
        .collect()
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_tree(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}
