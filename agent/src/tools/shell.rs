//! Runs a program for the model, confined, in a folder that the configuration names.
//!
//! With `argv` no shell is in between. With `command` it is `/bin/sh -c`, and then a person is asked
//! whatever the policy allows: what a shell makes of a text cannot be told from the text.

mod program;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolError};
use crate::confine::{Confinement, Finished, Launch};
use crate::policy::{Action, ToolEffect};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;

/// Longest run that may be asked for, in seconds.
const MAX_SECONDS: u64 = 600;
/// A run of which nothing else is said, in seconds.
const SECONDS: u64 = 60;
/// Time to kill the program and read the rest, beyond its own.
const GRACE: Duration = Duration::from_secs(2);
/// Kept of each of the two streams, in bytes: both fit into a tool's result, also when escaped twice.
const MAX_OUTPUT: usize = 12 << 10;
/// Words of a command, and bytes of each: a summary must stay readable.
const MAX_WORDS: usize = 256;
const MAX_WORD: usize = 8 << 10;

/// Where and for whom programs are started.
#[derive(Debug, Clone)]
pub struct ShellSettings {
    /// Folders in which programs may be started; the first is the default. Never empty.
    pub roots: Vec<PathBuf>,
    /// Whether devices other than an admin's may start them where they cannot be confined.
    pub unconfined_for_all: bool,
}

/// The tool `shell`.
#[derive(Debug)]
pub struct ShellTool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    confinement: Confinement,
    settings: ShellSettings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    argv: Option<Vec<String>>,
    command: Option<String>,
    cwd: Option<String>,
    timeout_seconds: Option<u64>,
}

/// What a call comes to on this machine, now.
#[derive(Debug)]
struct Plan {
    argv: Vec<String>,
    program: PathBuf,
    cwd: PathBuf,
    time: Duration,
}

impl ShellTool {
    /// Starts programs under this confinement.
    #[must_use]
    pub fn new(confinement: Confinement, settings: ShellSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                confinement,
                settings,
            }),
        }
    }
}

impl Tool for ShellTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "shell".to_owned(),
            description: "Runs a program on the agent's machine. Prefer argv, which starts it without a \
                shell; command is run by /bin/sh -c and always needs a person's approval. There is no \
                standard input. Long output is cut in the middle."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "argv": {"type": "array", "items": {"type": "string"}, "description": "program and its arguments"},
                    "command": {"type": "string", "description": "a line for /bin/sh, instead of argv"},
                    "cwd": {"type": "string", "description": "folder to start in; the agent's workspace by default"},
                    "timeout_seconds": {"type": "integer", "minimum": 1, "maximum": MAX_SECONDS, "default": SECONDS}
                },
                "additionalProperties": false
            }),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        Some("exec.request")
    }

    fn effect(&self, _: &Value) -> ToolEffect {
        ToolEffect::Changes
    }

    fn at_least(&self, arguments: &Value) -> Action {
        match arguments.get("command") {
            None => Action::Allow,
            Some(_) => Action::Ask,
        }
    }

    fn summary(&self, arguments: &Value) -> String {
        let what = match (arguments["argv"].as_array(), arguments["command"].as_str()) {
            (Some(argv), None) => {
                let words = argv.iter().map(|word| quoted(word.as_str().unwrap_or("?")));
                words.collect::<Vec<_>>().join(" ")
            }
            (_, Some(command)) => format!("/bin/sh -c {}", quoted(command)),
            (None, None) => "?".to_owned(),
        };
        match arguments["cwd"].as_str() {
            Some(cwd) => format!("run {what} in {}", quoted(cwd)),
            None => format!("run {what}"),
        }
    }

    fn timeout(&self, arguments: &Value) -> Duration {
        let seconds = arguments["timeout_seconds"].as_u64().unwrap_or(SECONDS);
        Duration::from_secs(seconds.clamp(1, MAX_SECONDS)) + GRACE
    }

    fn bind(
        &self,
        speaker: &Speaker,
        arguments: &Value,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let planned = self.inner.plan(speaker, arguments);
        async move {
            let Plan {
                argv, program, cwd, ..
            } = planned?;
            let sha256 = program::hash(program.clone()).await?;
            let mut bound = json!({ "program": program, "sha256": sha256, "cwd": cwd });
            if let Some(script) = program::script(&program, &argv, &cwd) {
                let sha256 = program::hash(script.clone()).await?;
                bound["script"] = json!({ "path": script, "sha256": sha256 });
            }
            Ok(bound)
        }
        .boxed()
    }

    fn run(
        &self,
        speaker: Arc<Speaker>,
        arguments: Value,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let inner = self.inner.clone();
        async move {
            let plan = inner.plan(&speaker, &arguments)?;
            let launch = Launch {
                program: plan.program,
                arguments: plan.argv.into_iter().skip(1).map(Into::into).collect(),
                cwd: plan.cwd,
                environment: vec![],
                stdin: false,
            };
            let running = inner.confinement.spawn(launch).await.map_err(|error| {
                tracing::warn!(%error, "a program was not started");
                ToolError::Failed(error.to_string())
            })?;
            match tokio::time::timeout(plan.time, running.finish(MAX_OUTPUT)).await {
                Ok(Ok(finished)) => Ok(result(finished)),
                Ok(Err(error)) => Err(ToolError::Failed(format!("its end is not known: {error}"))),
                Err(_) => Err(ToolError::TimedOut(plan.time.as_secs())),
            }
        }
        .boxed()
    }
}

impl Inner {
    fn plan(&self, speaker: &Speaker, arguments: &Value) -> Result<Plan, ToolError> {
        let failed = |text: String| Err(ToolError::Failed(text));
        if !self.confinement.complete()
            && !self.settings.unconfined_for_all
            && speaker.role != "admin"
        {
            return failed(
                "programs cannot be confined on this machine, so only an admin's device may start them"
                    .to_owned(),
            );
        }
        let arguments: Arguments = match serde_json::from_value(arguments.clone()) {
            Ok(arguments) => arguments,
            Err(error) => return failed(format!("the arguments are not understood: {error}")),
        };
        let argv = match (arguments.argv, arguments.command) {
            (Some(argv), None) => argv,
            (None, Some(command)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), command],
            _ => return failed("give either argv or command".to_owned()),
        };
        let readable = |word: &String| word.len() <= MAX_WORD && !word.contains('\0');
        if argv.is_empty() || argv.len() > MAX_WORDS || !argv.iter().all(readable) {
            return failed(format!(
                "argv has 1 to {MAX_WORDS} words of at most {MAX_WORD} bytes"
            ));
        }
        let seconds = arguments.timeout_seconds.unwrap_or(SECONDS);
        if !(1..=MAX_SECONDS).contains(&seconds) {
            return failed(format!("timeout_seconds is 1 to {MAX_SECONDS}"));
        }
        let cwd = self.folder(arguments.cwd.as_deref())?;
        let program = program::find(&argv[0], &cwd)?;
        Ok(Plan {
            argv,
            program,
            cwd,
            time: Duration::from_secs(seconds),
        })
    }

    /// The folder without links, below one of the roots.
    fn folder(&self, wanted: Option<&str>) -> Result<PathBuf, ToolError> {
        let roots: Vec<PathBuf> = self
            .settings
            .roots
            .iter()
            .filter_map(|root| root.canonicalize().ok())
            .collect();
        let first = roots
            .first()
            .ok_or_else(|| ToolError::Failed("no folder is there to start in".to_owned()))?;
        let Some(wanted) = wanted else {
            return Ok(first.clone());
        };
        let folder = first.join(Path::new(wanted)).canonicalize();
        let folder = folder.ok().filter(|folder| folder.is_dir());
        folder
            .filter(|folder| roots.iter().any(|root| folder.starts_with(root)))
            .ok_or_else(|| {
                let named: Vec<String> = roots
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect();
                ToolError::Failed(format!(
                    "cwd must be a folder below one of: {}",
                    named.join(", ")
                ))
            })
    }
}

fn result(finished: Finished) -> Value {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&finished.status);
    #[cfg(not(unix))]
    let signal = None::<i32>;
    json!({
        "exit_code": finished.status.code(),
        "signal": signal,
        "stdout": finished.stdout.text,
        "stderr": finished.stderr.text,
        "truncated": finished.stdout.truncated || finished.stderr.truncated,
    })
}

/// As a person would type it: words stay apart.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
