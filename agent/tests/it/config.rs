//! The configuration over the network: what takes effect at once, and who may change it.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use homing_agent::AgentSettings;
use homing_agent::config::LiveSettings;
use homing_agent::configuration::{Change, ConfigError, ConfigFile, Configured};
use homing_agent::policy::Action;
use homing_certs::Role;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::network::EVERY_SCOPE;
use crate::rig::{LIMIT, Rig, post};
use crate::scripted::{Script, calls, says};

/// What of these settings takes effect at once.
pub(crate) fn live(settings: &AgentSettings) -> LiveSettings {
    LiveSettings {
        rates: settings.rates,
        upload: settings.sizes.upload,
        caps: settings.caps,
        tools: settings.tools.clone(),
        policy: settings.policy.clone(),
        context: settings.context,
        hooks: settings.hooks.clone(),
        shell_roots: settings.shell_roots.clone(),
    }
}

/// A file whose changes are patches of what follows from it, not of text.
#[derive(Debug)]
struct Memory(Mutex<(u64, LiveSettings)>);

impl Memory {
    fn new(settings: &AgentSettings) -> Arc<Self> {
        Arc::new(Self(Mutex::new((0, live(settings)))))
    }

    fn configured(&self) -> Configured {
        let (revision, live) = self.0.lock().unwrap().clone();
        Configured {
            text: "# mine".into(),
            revision: revision.to_string(),
            sections: Map::new(),
            restart_required: vec![],
            live,
        }
    }
}

impl ConfigFile for Memory {
    fn read(&self) -> Result<Configured, ConfigError> {
        Ok(self.configured())
    }

    fn change(&self, change: Change, revision: Option<&str>) -> Result<Configured, ConfigError> {
        {
            let mut state = self.0.lock().unwrap();
            if revision.is_some_and(|revision| revision != state.0.to_string()) {
                return Err(ConfigError::Changed);
            }
            let Change::Section { name, patch } = change else {
                return Err(ConfigError::Invalid("line 1".into()));
            };
            let live = &mut state.1;
            match name.as_str() {
                "policy" => live.policy = serde_json::from_value(patch).unwrap(),
                "budgets" => live.caps = serde_json::from_value(patch).unwrap(),
                "limits" => live.rates.writes_per_second = 1,
                "agent" => live.upload = patch["upload_limit"].as_u64().unwrap(),
                "shell" => return Err(ConfigError::HostOnly(name)),
                _ => return Err(ConfigError::UnknownSection(name, "policy".into())),
            }
            state.0 += 1;
        }
        Ok(self.configured())
    }

    fn in_effect(&self, _: &Configured) {}
}

fn with(method: &str, path: &str, body: &Value) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.body(Body::from(body.to_string())).unwrap()
}

fn patch(section: &str, body: &Value) -> Request<Body> {
    with("PATCH", &format!("/api/config/{section}"), body)
}

async fn agent(change: impl FnOnce(&mut AgentSettings)) -> Rig {
    Rig::start_with(|settings| {
        change(settings);
        settings.config_file = Some(Memory::new(settings));
    })
    .await
}

#[tokio::test]
async fn a_changed_policy_holds_for_the_next_tool_call_of_a_turn_that_runs() {
    let shell = || calls(&[("shell", json!({ "argv": ["true"] }))]);
    let script = Script::new(vec![shell(), shell(), says("done")]);
    let models = script.models();
    let rig = agent(|settings| settings.models = Some(models)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("s", "run it").await;
    let question = ws.wait_for("approval_required").await;
    let denied = json!({ "tools": { "shell": "deny" } });
    let answer = rig.call(&device, patch("policy", &denied)).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    assert_eq!(answer.header("etag"), "\"1\"");
    let event = loop {
        let event = ws.wait_for("resource_event").await;
        if event["resource"] == "config" {
            break event;
        }
    };
    assert_eq!(event["id"], "policy");
    // What was asked before is judged again, and nobody is asked about the next one.
    let path = format!("/api/approvals/{}/approve", question["id"]);
    rig.call(&device, post(&path, "")).await;
    let frames = ws.until("turn_complete").await;
    assert!(
        frames
            .iter()
            .all(|frame| frame["type"] != "approval_required")
    );
    let told = script.told();
    assert!(
        told.iter().all(|text| text.contains("policy denies")),
        "{told:?}"
    );
    // A tool that can never run is not offered.
    ws.say("s", "again").await;
    assert!(!script.tools().contains(&"shell".to_owned()));
}

#[tokio::test]
async fn caps_rates_and_sizes_hold_at_once() {
    let rig = agent(|_| ()).await;
    let device = rig.network.owner();
    let call = |request| rig.call(&device, request);
    assert_eq!(
        call(patch("budgets", &json!({ "day": 7 }))).await.status,
        StatusCode::OK
    );
    assert_eq!(rig.state.budgets.caps().day, Some(7));
    call(patch("agent", &json!({ "upload_limit": 3 }))).await;
    let upload = call(post("/api/upload?filename=a", "four")).await;
    assert_eq!(upload.status, StatusCode::PAYLOAD_TOO_LARGE);
    call(patch("policy", &json!({ "read_only": true }))).await;
    assert!(rig.state.tools.read_only());
    // Last: it leaves nothing to write with.
    call(patch("limits", &json!({}))).await;
    call(post("/api/upload?filename=b", "b")).await;
    let limited = call(post("/api/upload?filename=c", "c")).await;
    assert_eq!(limited.code(), "rate_limited");
}

#[tokio::test]
async fn a_change_that_is_refused_says_why_and_changes_nothing() {
    let rig = agent(|_| ()).await;
    let device = rig.network.owner();
    for (request, status, code) in [
        (
            with("PUT", "/api/config", &json!({ "toml": "x" })),
            400,
            "config_invalid",
        ),
        (
            with("PUT", "/api/config", &json!({ "text": "x" })),
            400,
            "bad_body",
        ),
        (patch("nothing", &json!({})), 404, "unknown_section"),
        (patch("shell", &json!({})), 403, "host_only"),
    ] {
        let answer = rig.call(&device, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code)
        );
    }
    for (tag, status) in [("\"9\"", 409), ("9", 400), ("\"0\"", 200), ("*", 200)] {
        let mut request = patch("budgets", &json!({}));
        request
            .headers_mut()
            .insert("if-match", tag.parse().unwrap());
        assert_eq!(
            rig.call(&device, request).await.status.as_u16(),
            status,
            "{tag}"
        );
    }
}

#[tokio::test]
async fn only_who_may_reads_or_changes_it_or_starts_the_process_anew() {
    let restart = CancellationToken::new();
    let token = restart.clone();
    let rig = agent(|settings| settings.restart = Some(token)).await;
    let client = rig.network.device("ann", Role::Client, EVERY_SCOPE);
    let answer = rig.call(&client, patch("policy", &json!({}))).await;
    assert_eq!(answer.code(), "forbidden");
    assert_eq!(
        rig.call(&client, post("/api/restart", "")).await.code(),
        "forbidden"
    );
    let mut ws = rig.ws(&client).await;
    ws.send(json!({ "type": "command", "name": "restart", "session_id": "s" }))
        .await;
    assert_eq!(ws.wait_for("error").await["code"], "forbidden");
    assert!(!restart.is_cancelled());
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.send(json!({ "type": "command", "name": "restart", "session_id": "s" }))
        .await;
    ws.wait_for("command_result").await;
    tokio::time::timeout(LIMIT, restart.cancelled())
        .await
        .unwrap();
    let names = rig.audit_lines().await;
    let restarts = names.iter().filter(|line| line["target"] == "restart");
    assert_eq!(restarts.count(), 2, "the refused one and the other");
}

#[tokio::test]
async fn an_agent_that_was_started_without_a_file_says_so() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    for request in [
        with("GET", "/api/config", &Value::Null),
        with("PUT", "/api/config", &json!({ "toml": "" })),
        post("/api/restart", ""),
    ] {
        let answer = rig.call(&owner, request).await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
        assert_eq!(answer.code(), "not_available");
    }
}

#[tokio::test]
async fn the_audit_log_names_what_was_changed_and_no_value() {
    let rig = agent(|_| ()).await;
    let owner = rig.network.owner();
    let secret = json!({ "tools": { "shell": Action::Deny }, "approval_minutes": 77 });
    rig.call(&owner, patch("policy", &secret)).await;
    let lines = rig.audit_lines().await;
    let line = lines
        .iter()
        .find(|line| line["method"] == "config")
        .unwrap();
    assert_eq!(line["target"], "policy");
    assert_eq!(line["detail"]["keys"], json!(["approval_minutes", "tools"]));
    assert!(!line["detail"].to_string().contains("77"));
}
