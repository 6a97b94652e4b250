//! Hooks, as real programs: what they are told, what their answers come to, and what holds when they
//! fail.

mod around;
mod calls;
mod faults;
mod results;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homing_agent::AgentSettings;
use homing_agent::hooks::{HookSettings, Point};
use homing_agent::policy::Action;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{LIMIT, Rig, Ws};
use crate::scripted::Script;

/// Where hooks lie: beside the agent, where its tools have no business.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A script for `/bin/sh`. `$dir` in it is the folder in which it lies.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let dir = self.0.path().display();
        std::fs::write(&path, format!("#!/bin/sh\ndir={dir}\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn hook(&self, on: Point, name: &str, body: &str) -> HookSettings {
        let path = self.script(name, body);
        HookSettings::new(on, vec![path.display().to_string()])
    }

    /// One that notes what it is told in the file `seen`, and passes.
    fn noting(&self, on: Point) -> HookSettings {
        let body = "document=$(cat); printf '%s\\n' \"$document\" >> $dir/seen";
        self.hook(on, &format!("note-{}", on.as_str()), body)
    }

    /// What was noted, when there are so many.
    async fn seen(&self, count: usize) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let text = std::fs::read_to_string(self.path("seen")).unwrap_or_default();
            let lines: Vec<Value> = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(tokio::time::Instant::now() < deadline, "{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// An agent with this model and these hooks, whose policy lets `shell` run without a person.
async fn agent(script: &Arc<Script>, hooks: Vec<HookSettings>) -> Rig {
    agent_with(script, hooks, |_| {}).await
}

async fn agent_with(
    script: &Arc<Script>,
    hooks: Vec<HookSettings>,
    change: impl FnOnce(&mut AgentSettings),
) -> Rig {
    let models = script.models();
    Rig::start_with(|settings| {
        settings.models = Some(models);
        settings.hooks = hooks;
        settings.policy.tools = [("shell".to_owned(), Action::Allow)].into();
        change(settings);
    })
    .await
}

fn touch(name: &str) -> (&'static str, Value) {
    ("shell", json!({"argv": ["touch", name]}))
}

fn made(rig: &Rig, name: &str) -> bool {
    rig.state.settings.workspace().join(name).exists()
}

async fn ask(ws: &mut Ws, text: &str) -> Vec<Value> {
    ws.say("s", text).await;
    ws.until("turn_complete").await
}

/// The frames of one turn of a fresh socket of the owner.
async fn turn(rig: &Rig) -> Vec<Value> {
    let mut ws = rig.ws(&rig.network.owner()).await;
    ask(&mut ws, "go on").await
}

fn reason(frames: &[Value]) -> &str {
    frames.last().unwrap()["reason"].as_str().unwrap()
}

/// Whether all that have noted themselves in this file are gone.
async fn gone(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(!pids.is_empty());
    crate::mcp::bench::dead(&pids).await;
}
