//! A hook that is a program: one JSON document on its standard input, its answer on its standard
//! output. Started like every program of the agent, confined and in a process group that dies with it.

mod reply;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use reply::Reply;

use super::{
    AgentEnd, AgentStart, Answering, CompactionBegins, CompactionDone, Hook, HookError,
    HookSettings, Keeping, OnFailure, Point, Ruling, Start, ToolCalling, ToolEnded,
};
use crate::clock;
use crate::confine::{Confinement, Finished, Launch};
use crate::policy::matches;
use crate::turn::MAX_RESULT;

/// Version of the document.
const VERSION: u32 = 1;
/// Longest document, in bytes: the longest arguments of a call, also when much in them is escaped.
const MAX_DOCUMENT: usize = 4 << 20;
/// Kept of each stream, in bytes: a whole result in which every character is escaped.
const MAX_OUTPUT: usize = 8 * MAX_RESULT;

/// A program of the configuration.
#[derive(Debug)]
pub struct CommandHook {
    settings: HookSettings,
    name: String,
    confinement: Confinement,
    home: PathBuf,
}

/// What the program reads.
#[derive(Debug, Serialize)]
struct Document<'a, T> {
    version: u32,
    on: Point,
    at_ms: i64,
    #[serde(flatten)]
    event: &'a T,
}

impl CommandHook {
    /// Starts this program in `home`, the agent's workspace.
    #[must_use]
    pub fn new(settings: HookSettings, confinement: Confinement, home: PathBuf) -> Self {
        let program = settings.command.first().map(Path::new);
        let name = program.and_then(Path::file_name).unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            settings,
            confinement,
            home,
        }
    }

    async fn ask(&self, event: &(impl Serialize + Sync)) -> Result<Reply, HookError> {
        let document = Document {
            version: VERSION,
            on: self.settings.on,
            at_ms: clock::unix_ms(),
            event,
        };
        let document = serde_json::to_vec(&document)
            .map_err(|error| HookError::Malformed(error.to_string()))?;
        if document.len() > MAX_DOCUMENT {
            return Err(HookError::TooMuch(MAX_DOCUMENT));
        }
        reply::of(self.settings.on, self.run(document).await?)
    }

    async fn run(&self, document: Vec<u8>) -> Result<Finished, HookError> {
        self.not_in_the_workspace()?;
        let mut words = self.settings.command.iter();
        let launch = Launch {
            program: words.next().map(PathBuf::from).unwrap_or_default(),
            arguments: words.map(Into::into).collect(),
            cwd: self.home.clone(),
            environment: vec![],
            stdin: true,
        };
        let spawned = self.confinement.spawn(launch).await;
        let mut running = spawned.map_err(HookError::Launch)?;
        let stdin = running.stdin();
        let write = async move {
            if let Some(mut stdin) = stdin {
                // A program that does not want to read all may still answer.
                let _ = stdin.write_all(&document).await;
            }
        };
        let finish = running.finish(MAX_OUTPUT);
        tokio::pin!(write, finish);
        let mut written = false;
        loop {
            tokio::select! {
                () = &mut write, if !written => written = true,
                finished = &mut finish => return finished.map_err(HookError::Unknown),
            }
        }
    }

    /// What a model can write must not decide what a model may do.
    fn not_in_the_workspace(&self) -> Result<(), HookError> {
        let home = self.home.canonicalize();
        let home = home.map_err(HookError::Unknown)?;
        let words = self.settings.command.iter();
        for word in words.filter(|word| Path::new(word).is_absolute()) {
            let inside = Path::new(word).starts_with(&home)
                || Path::new(word)
                    .canonicalize()
                    .is_ok_and(|path| path.starts_with(&home));
            if inside {
                return Err(HookError::InWorkspace(word.clone()));
            }
        }
        Ok(())
    }

    fn shown(&self, text: Option<&String>) -> Option<String> {
        text.filter(|_| self.settings.text).cloned()
    }
}

impl Hook for CommandHook {
    fn name(&self) -> &str {
        &self.name
    }

    fn listens(&self, point: Point, tool: Option<&str>) -> bool {
        let patterns = &self.settings.tools;
        let wanted =
            |tool| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, tool));
        point == self.settings.on && tool.is_none_or(wanted)
    }

    fn time(&self) -> Duration {
        self.settings.time()
    }

    fn on_failure(&self) -> OnFailure {
        self.settings.on_failure.unwrap_or(OnFailure::Deny)
    }

    fn before_agent_start<'a>(&'a self, event: &'a AgentStart) -> Answering<'a, Start> {
        async move {
            let message = self.shown(event.message.as_ref());
            let event = AgentStart {
                message,
                ..event.clone()
            };
            Ok(self.ask(&event).await?.start())
        }
        .boxed()
    }

    fn before_tool_call<'a>(&'a self, event: &'a ToolCalling) -> Answering<'a, Ruling> {
        async move { Ok(self.ask(event).await?.ruling()) }.boxed()
    }

    fn after_tool_call<'a>(&'a self, event: &'a ToolEnded) -> Answering<'a, ()> {
        async move {
            let result = self.shown(event.result.as_ref());
            let event = ToolEnded {
                result,
                ..event.clone()
            };
            self.ask(&event).await.map(drop)
        }
        .boxed()
    }

    fn tool_result_persist<'a>(&'a self, event: &'a ToolEnded) -> Answering<'a, Keeping> {
        async move { Ok(self.ask(event).await?.keeping()) }.boxed()
    }

    fn agent_end<'a>(&'a self, event: &'a AgentEnd) -> Answering<'a, ()> {
        async move {
            let (message, answer) = (event.message.as_ref(), event.answer.as_ref());
            let event = AgentEnd {
                message: self.shown(message),
                answer: self.shown(answer),
                ..event.clone()
            };
            self.ask(&event).await.map(drop)
        }
        .boxed()
    }

    fn before_compaction<'a>(
        &'a self,
        event: &'a CompactionBegins,
    ) -> Answering<'a, Option<String>> {
        async move { Ok(self.ask(event).await?.wish()) }.boxed()
    }

    fn after_compaction<'a>(&'a self, event: &'a CompactionDone) -> Answering<'a, ()> {
        async move {
            let summary = self.shown(event.summary.as_ref());
            let event = CompactionDone {
                summary,
                ..event.clone()
            };
            self.ask(&event).await.map(drop)
        }
        .boxed()
    }
}
