//! Containers of Docker or Podman on the agent's machine: the list, one of them, and its log. Only
//! reads, whatever a model asks.

mod engine;
mod logs;
mod shape;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

pub use engine::EngineError;
use engine::{ContainerName, Engine, Question};

use super::bounds::{ROOM, clip_start, fit};
use super::settings::ContainerSettings;
use super::{Tool, ToolError, arguments};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;

/// Longest wait for the engine: counting what a container uses takes it two seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a log that may be asked for.
const MAX_LINES: usize = 500;
/// Lines when no number is asked for.
const USUAL_LINES: usize = 100;
/// Bytes of a log that are read; the newest come last, so this is more than a model is told.
const MAX_LOG: usize = 1 << 20;

/// Lists containers or tells one.
#[derive(Debug)]
pub struct ContainersTool {
    engine: Engine,
}

/// Tells the end of a container's log.
#[derive(Debug)]
pub struct ContainerLogsTool {
    engine: Engine,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Which {
    container: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    container: String,
    #[serde(default = "usual_lines")]
    lines: usize,
}

impl ContainersTool {
    /// Through the engine's socket.
    #[must_use]
    pub fn new(settings: &ContainerSettings) -> Self {
        Self::with_patience(settings, PATIENCE)
    }

    /// With another longest wait.
    #[must_use]
    pub fn with_patience(settings: &ContainerSettings, patience: Duration) -> Self {
        Self {
            engine: Engine::new(sockets(settings), patience),
        }
    }
}

impl ContainerLogsTool {
    /// Through the engine's socket.
    #[must_use]
    pub fn new(settings: &ContainerSettings) -> Self {
        Self {
            engine: Engine::new(sockets(settings), PATIENCE),
        }
    }
}

impl Tool for ContainersTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "containers".to_owned(),
            description: "Docker or Podman containers on the machine that the agent runs on, \
                stopped ones too. With `container`, everything about that one and what it uses \
                now. Values of variables, arguments and labels are never told. Only reads."
                .to_owned(),
            parameters: arguments::schema(
                json!({"container": {"type": "string", "description": "name or id"}}),
                &[],
            ),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        Some("status.read")
    }

    fn run(&self, _: Arc<Speaker>, given: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let engine = self.engine.clone();
        async move {
            let Which { container } = arguments::read(given)?;
            match container {
                None => list(&engine).await,
                Some(name) => one(&engine, &name).await,
            }
            .map_err(ToolError::failed)
        }
        .boxed()
    }
}

impl Tool for ContainerLogsTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "container_logs".to_owned(),
            description: "The newest lines of a container's log, both streams, with their times."
                .to_owned(),
            parameters: arguments::schema(
                json!({
                    "container": {"type": "string", "description": "name or id"},
                    "lines": {"type": "integer", "minimum": 1, "maximum": MAX_LINES, "default": USUAL_LINES},
                }),
                &["container"],
            ),
        }
    }

    /// What programs wrote for their owner may say more than how they are.
    fn scope(&self) -> Option<&'static str> {
        Some("audit.read")
    }

    fn run(&self, _: Arc<Speaker>, given: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let engine = self.engine.clone();
        async move {
            let Lines { container, lines } = arguments::read(given)?;
            log(&engine, &container, lines.clamp(1, MAX_LINES))
                .await
                .map_err(ToolError::failed)
        }
        .boxed()
    }
}

async fn list(engine: &Engine) -> Result<Value, EngineError> {
    let answer = engine.ask(&Question::List).await?;
    let all = answer.as_array().ok_or(EngineError::Malformed)?;
    let version = engine.ask(&Question::Version).await?;
    let running = all.iter().filter(|one| one["State"] == "running").count();
    let mut lines: Vec<Value> = all.iter().map(shape::line).collect();
    // What is not well is what a person asks about.
    lines.sort_by_cached_key(|line| {
        let state = line["state"].as_str().unwrap_or_default();
        (state == "running", line["name"].to_string())
    });
    let (lines, truncated) = fit(lines, ROOM);
    let mut told = json!({
        "engine": shape::version(&version),
        "total": all.len(),
        "running": running,
        "containers": lines,
        "truncated": truncated,
    });
    if truncated {
        told["hint"] = "ask for one of them by name".into();
    }
    Ok(told)
}

async fn one(engine: &Engine, name: &str) -> Result<Value, EngineError> {
    let name = ContainerName::parse(name)?;
    let inspected = engine.ask(&Question::Inspect(name.clone())).await?;
    let mut told = shape::details(&inspected);
    if told["running"] == true {
        // It may have stopped meanwhile; what is known of it is told all the same.
        if let Ok(stats) = engine.ask(&Question::Stats(name)).await {
            told["usage"] = shape::usage(&stats);
        }
    }
    Ok(told)
}

async fn log(engine: &Engine, name: &str, lines: usize) -> Result<Value, EngineError> {
    let of = ContainerName::parse(name)?;
    let (bytes, cut) = engine.bytes(&Question::Logs { of, lines }, MAX_LOG).await?;
    let text = logs::text(&bytes);
    let (text, clipped) = clip_start(&text, ROOM);
    let mut told = json!({"log": text, "truncated": cut || clipped});
    if cut {
        told["hint"] =
            "the lines are long and the newest ones are missing; ask for fewer lines".into();
    } else if clipped {
        told["hint"] = "older lines are left out; ask for fewer lines".into();
    }
    Ok(told)
}

fn usual_lines() -> usize {
    USUAL_LINES
}

fn sockets(settings: &ContainerSettings) -> Vec<PathBuf> {
    if let Some(socket) = &settings.socket {
        return vec![socket.clone()];
    }
    let mut sockets: Vec<PathBuf> = vec![
        "/var/run/docker.sock".into(),
        "/run/podman/podman.sock".into(),
    ];
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR") {
        sockets.push(PathBuf::from(runtime).join("podman/podman.sock"));
    }
    sockets
}
