//! An agent with scripted MCP servers, and the waiting for what becomes of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use homing_agent::AgentSettings;
use homing_agent::approvals::Origin;
use homing_agent::mcp::McpPace;
use homing_agent::sessions::Speaker;
use homing_agent::turn::{ToolCall, ToolOutcome};
use http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::network::Device;
use crate::rig::{Answer, LIMIT, Rig};
use crate::scripted::Script;

pub(super) struct Bench {
    pub(super) rig: Rig,
    pub(super) owner: Arc<Device>,
    /// For the files in which servers note their processes.
    pub(super) notes: TempDir,
}

/// Short pauses: what is tested is their order.
pub(super) fn pace() -> McpPace {
    McpPace {
        first_pause: Duration::from_millis(20),
        longest_pause: Duration::from_millis(100),
        most_failures: 4,
        start_limit: Duration::from_secs(20),
        probe_limit: Duration::from_millis(500),
        ..McpPace::default()
    }
}

/// The command of a scripted server.
pub(super) fn scripted(flags: &[&str]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mcp/server.py");
    let mut words = vec!["python3".to_owned(), script.display().to_string()];
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    words
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With a model that does what it was told to.
    pub(super) async fn answered_by(script: &Arc<Script>) -> Self {
        let models = script.models();
        Self::start_with(|settings| settings.models = Some(models)).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut AgentSettings)) -> Self {
        let rig = Rig::start_with(|settings| {
            settings.mcp = pace();
            change(settings);
        })
        .await;
        Self {
            owner: rig.network.owner(),
            rig,
            notes: TempDir::new().unwrap(),
        }
    }

    /// With one scripted server called `s` whose tools all run without a question.
    pub(super) async fn with(flags: &[&str]) -> Self {
        let bench = Self::start().await;
        bench.add(flags).await;
        bench
    }

    pub(super) async fn add(&self, flags: &[&str]) -> Value {
        let body = json!({"name": "s", "command": scripted(flags), "policy": "allow"});
        let answer = self.send(Method::POST, "/api/mcps", body).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send_as(&self.owner, method, path, body).await
    }

    pub(super) async fn send_as(
        &self,
        device: &Arc<Device>,
        method: Method,
        path: &str,
        body: Value,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.rig.call(device, request).await
    }

    pub(super) async fn show(&self, name: &str) -> Value {
        let path = format!("/api/mcps/{name}");
        self.rig.get(&self.owner, &path).await.json()
    }

    /// The server, as soon as it is so.
    pub(super) async fn until(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut moved = self.rig.state.feeds.of(self.owner.user()).subscribe();
        let wait = async {
            loop {
                moved.mark_unchanged();
                let shown = self.show("s").await;
                if is_so(&shown) {
                    return shown;
                }
                // Logs and counters move without a signal.
                let _ = tokio::time::timeout(Duration::from_millis(50), moved.changed()).await;
            }
        };
        match tokio::time::timeout(LIMIT + LIMIT, wait).await {
            Ok(shown) => shown,
            Err(_) => panic!(
                "{:#}\n{}",
                self.show("s").await,
                self.logs().await.join("\n")
            ),
        }
    }

    pub(super) async fn ready(&self) -> Value {
        self.until(|server| server["status"]["state"] == "ready")
            .await
    }

    pub(super) async fn logs(&self) -> Vec<String> {
        let answer = self
            .rig
            .get(&self.owner, "/api/mcps/s/logs?lines=256")
            .await;
        let lines = answer.json()["lines"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |line: &Value| format!("{}: {}", line["from"], line["text"]).replace('"', "");
        lines.iter().map(text).collect()
    }

    /// Until a line of the log holds this.
    pub(super) async fn logged(&self, part: &str) {
        self.logged_times(part, 1).await;
    }

    pub(super) async fn logged_times(&self, part: &str, times: usize) {
        let mut lines = vec![];
        let deadline = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < deadline {
            lines = self.logs().await;
            if lines.iter().filter(|line| line.contains(part)).count() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{part:?} is not in {lines:#?}");
    }

    pub(super) fn speaker(&self) -> Arc<Speaker> {
        speaker(&self.owner)
    }

    pub(super) async fn call(&self, tool: &str, arguments: Value) -> ToolOutcome {
        let call = call(tool, arguments);
        let origin = origin(self.speaker());
        self.rig.state.tools.run(&origin, call).await
    }

    pub(super) async fn text(&self, tool: &str, arguments: Value) -> String {
        let outcome = self.call(tool, arguments).await;
        outcome.result.unwrap().as_str().unwrap().to_owned()
    }

    pub(super) async fn error(&self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments).await.result.unwrap_err()
    }

    pub(super) fn note(&self, name: &str) -> PathBuf {
        self.notes.path().join(name)
    }

    /// Models' names of what the owner's turns are offered.
    pub(super) fn offered(&self) -> Vec<String> {
        let specs = self.rig.state.tools.specs(&self.speaker());
        let names = specs.into_iter().map(|spec| spec.name);
        names.filter(|name| name.starts_with("mcp_")).collect()
    }
}

pub(super) fn call(tool: &str, arguments: Value) -> ToolCall {
    ToolCall {
        id: "c1".to_owned(),
        name: format!("mcp_s_{tool}"),
        arguments,
    }
}

pub(super) fn speaker(device: &Device) -> Arc<Speaker> {
    Arc::new(Speaker {
        node_id: device.id(),
        user_id: device.user(),
        handle: "owner".into(),
        role: "admin".into(),
        scopes: vec!["chat".into()],
        path: "direct".into(),
    })
}

pub(super) fn origin(speaker: Arc<Speaker>) -> Origin {
    Origin {
        speaker,
        session: "s".into(),
        turn_id: 1,
    }
}

/// The processes that a server has noted.
pub(super) fn noted(file: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Whether a process runs; one that is only not collected yet does not.
pub(super) fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

/// Until none of them runs.
pub(crate) async fn dead(pids: &[u32]) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while pids.iter().any(|pid| lives(*pid)) {
        assert!(tokio::time::Instant::now() < deadline, "{pids:?} still run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
