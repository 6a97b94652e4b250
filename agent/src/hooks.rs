//! Hooks: what the owner wants done at seven points of a turn, as programs of the configuration or as
//! Rust code in the process.
//!
//! Owns the order and what several answers come to: the strictest wins, a hook never loosens what the
//! policy said, and one that fails counts as a no where a no is possible. Each has a limit of time;
//! dropping the future that waits for one ends it. Those that only observe run beside the turn.
//! Decides nothing itself, and knows neither the machine of a turn nor how its effects are done.

mod answer;
mod command;
mod event;
mod observers;
mod settings;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use answer::{Asks, HookError, Keeping, Refused, Ruling, Start};
pub use command::CommandHook;
pub use event::{
    AgentEnd, AgentStart, CompactionBegins, CompactionDone, Place, ToolCalling, ToolEnded,
};
pub use settings::{HookSettings, MAX_HOOKS, OnFailure, Point, check};

use observers::Observers;

use crate::approvals::Origin;
use crate::audit::{Audit, Decision, Entry, Kind};
use crate::confine::Confinement;
use crate::turn::{MAX_RESULT, ToolCall, shorten};

/// Time that a hook has of which nothing else is said: a person waits for its answer.
pub const TIME: Duration = Duration::from_secs(5);
/// Longest time that one may be given.
pub const MAX_TIME: Duration = Duration::from_secs(60);
/// Bytes that all hooks may wish for one summary.
pub const MAX_WISHES: usize = 2 << 10;

/// What people and models are told of a hook that failed; the cause is in the log.
const FAILED: &str = "it gave no answer that counts, so the answer is no";
/// What stands in place of a result that a hook should have seen and did not.
const WITHHELD: &str = "the call has run, but its result is withheld";

/// What waits for a hook.
pub type Answering<'a, T> = BoxFuture<'a, Result<T, HookError>>;

/// Something that is asked or told at points of a turn. Every method does nothing unless it is
/// written; dropping a future ends what it began.
pub trait Hook: Debug + Send + Sync {
    /// Names it in the log, to people and to models.
    fn name(&self) -> &str;

    /// Whether it wants to know of this. `tool` is there at the points about tools.
    fn listens(&self, _point: Point, _tool: Option<&str>) -> bool {
        true
    }

    /// Its time at each point.
    fn time(&self) -> Duration {
        TIME
    }

    /// What its failure counts as before an agent starts and before a tool call.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Deny
    }

    /// A turn is about to begin: it may refuse it, or add to what models are told.
    fn before_agent_start<'a>(&'a self, _: &'a AgentStart) -> Answering<'a, Start> {
        async { Ok(Start::default()) }.boxed()
    }

    /// The policy lets a call run, or lets a person decide: it may make that stricter. It is asked once
    /// more before a call runs that a person has approved.
    fn before_tool_call<'a>(&'a self, _: &'a ToolCalling) -> Answering<'a, Ruling> {
        async { Ok(Ruling::Pass) }.boxed()
    }

    /// A tool has ended; the result is what was kept of it.
    fn after_tool_call<'a>(&'a self, _: &'a ToolEnded) -> Answering<'a, ()> {
        async { Ok(()) }.boxed()
    }

    /// A tool has ended and nobody has seen its result yet: it may replace or withhold it.
    fn tool_result_persist<'a>(&'a self, _: &'a ToolEnded) -> Answering<'a, Keeping> {
        async { Ok(Keeping::AsIs) }.boxed()
    }

    /// A turn has ended.
    fn agent_end<'a>(&'a self, _: &'a AgentEnd) -> Answering<'a, ()> {
        async { Ok(()) }.boxed()
    }

    /// A conversation is about to be told shorter: it may say what must not be lost.
    fn before_compaction<'a>(&'a self, _: &'a CompactionBegins) -> Answering<'a, Option<String>> {
        async { Ok(None) }.boxed()
    }

    /// A conversation was told shorter.
    fn after_compaction<'a>(&'a self, _: &'a CompactionDone) -> Answering<'a, ()> {
        async { Ok(()) }.boxed()
    }
}

/// What hooks work with.
#[derive(Debug)]
pub struct HookParts {
    /// Hooks of the process itself; asked before those of the configuration.
    pub own: Vec<Arc<dyn Hook>>,
    /// Where refusals are written down.
    pub audit: Audit,
    /// How programs are started.
    pub confinement: Confinement,
    /// Where they start: the agent's workspace.
    pub home: PathBuf,
    /// Where observers run.
    pub tasks: TaskTracker,
    /// Raised when the agent goes.
    pub stopping: CancellationToken,
}

/// All hooks of an agent, in order. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hooks {
    inner: Arc<Inner>,
}

type List = Vec<Arc<dyn Hook>>;

#[derive(Debug)]
struct Inner {
    parts: HookParts,
    hooks: ArcSwap<List>,
    observers: Observers,
}

impl Hooks {
    /// These hooks of the process, and those of the configuration.
    #[must_use]
    pub fn new(parts: HookParts, configured: &[HookSettings]) -> Self {
        let hooks = ArcSwap::from_pointee(parts.list(configured));
        let observers = Observers::new(parts.tasks.clone(), parts.stopping.clone());
        Self {
            inner: Arc::new(Inner {
                parts,
                hooks,
                observers,
            }),
        }
    }

    /// From now on these of the configuration. A hook that runs goes on.
    pub fn change(&self, configured: &[HookSettings]) {
        let list = self.inner.parts.list(configured);
        self.inner.hooks.store(Arc::new(list));
    }

    fn listening(&self, point: Point, tool: Option<&str>) -> List {
        let hooks = self.inner.hooks.load();
        let listening = hooks.iter().filter(|hook| hook.listens(point, tool));
        listening.cloned().collect()
    }

    /// What hooks add to what models are told in a turn that is about to begin: name and text.
    ///
    /// # Errors
    /// When one refuses the turn, or failed.
    pub async fn before_agent_start(
        &self,
        origin: &Origin,
        model: Option<&str>,
        message: Option<&str>,
        resumed: bool,
    ) -> Result<Vec<(String, String)>, Refused> {
        let hooks = self.listening(Point::BeforeAgentStart, None);
        let mut added = Vec::new();
        if hooks.is_empty() {
            return Ok(added);
        }
        let event = AgentStart {
            place: Place::of(origin),
            model: model.map(str::to_owned),
            resumed,
            message: message.map(str::to_owned),
        };
        for hook in &hooks {
            let answer = within(hook, hook.before_agent_start(&event)).await;
            let start = answer.unwrap_or_else(|error| match failed(hook, &error) {
                OnFailure::Deny => Start::Refuse(FAILED.to_owned()),
                OnFailure::Pass => Start::default(),
            });
            match start {
                Start::Go { context: None } => {}
                Start::Go {
                    context: Some(text),
                } => added.push((hook.name().to_owned(), text)),
                Start::Refuse(reason) => {
                    let entry = by(origin, Kind::Turn, "hook", hook.name());
                    self.inner.parts.audit.note(
                        entry
                            .decision(Decision::Refused)
                            .detail("turn", origin.turn_id),
                    );
                    return Err(Refused::new(hook.name(), &reason));
                }
            }
        }
        Ok(added)
    }

    /// Whether a person must be asked about a call that the policy does not refuse. All that listen are
    /// asked, in order, until one denies.
    ///
    /// # Errors
    /// When one denies it, or failed.
    pub async fn before_tool_call(
        &self,
        origin: &Origin,
        call: &ToolCall,
    ) -> Result<Option<Asks>, Refused> {
        let hooks = self.listening(Point::BeforeToolCall, Some(&call.name));
        let mut asks = None;
        if hooks.is_empty() {
            return Ok(asks);
        }
        let event = ToolCalling::new(origin, call);
        for hook in &hooks {
            let answer = within(hook, hook.before_tool_call(&event)).await;
            let ruling = answer.unwrap_or_else(|error| match failed(hook, &error) {
                OnFailure::Deny => Ruling::Deny(FAILED.to_owned()),
                OnFailure::Pass => Ruling::Pass,
            });
            match ruling {
                Ruling::Pass => {}
                Ruling::Ask(reason) => {
                    asks.get_or_insert_with(|| Asks {
                        hook: hook.name().to_owned(),
                        reason,
                    });
                }
                Ruling::Deny(reason) => return Err(Refused::new(hook.name(), &reason)),
            }
        }
        Ok(asks)
    }

    /// What is kept of a tool's result: what the model, people and the disk see. Each hook sees what
    /// the one before it kept.
    pub async fn tool_result_persist(
        &self,
        origin: &Origin,
        call: &ToolCall,
        mut result: Result<Value, String>,
    ) -> Result<Value, String> {
        for hook in &self.listening(Point::ToolResultPersist, Some(&call.name)) {
            let event = ToolEnded::new(origin, call, &result);
            let answer = within(hook, hook.tool_result_persist(&event)).await;
            let keeping = answer.unwrap_or_else(|error| {
                failed(hook, &error);
                Keeping::Withhold(FAILED.to_owned())
            });
            let (kept, how) = match keeping {
                Keeping::AsIs => continue,
                Keeping::Replace(text) => {
                    let text = shorten(&text, MAX_RESULT);
                    let kept = match result {
                        Ok(_) => Ok(Value::String(text)),
                        Err(_) => Err(text),
                    };
                    (kept, "replaced")
                }
                Keeping::Withhold(reason) => {
                    let refused = Refused::new(hook.name(), &reason);
                    (Err(format!("{WITHHELD}: {refused}")), "withheld")
                }
            };
            let entry = by(origin, Kind::ToolCall, "hook", &call.name);
            let entry = entry.detail("hook", hook.name()).detail("result", how);
            self.inner.parts.audit.note(entry);
            result = kept;
            if how == "withheld" {
                break;
            }
        }
        result
    }

    /// Tells that a tool has ended, and what was kept of its result.
    pub fn after_tool_call(
        &self,
        origin: &Origin,
        call: &ToolCall,
        result: &Result<Value, String>,
    ) {
        let hooks = self.listening(Point::AfterToolCall, Some(&call.name));
        if !hooks.is_empty() {
            let event = Arc::new(ToolEnded::new(origin, call, result));
            self.observe(hooks, move |hook| {
                let event = event.clone();
                async move { hook.after_tool_call(&event).await }.boxed()
            });
        }
    }

    /// Tells that a turn has ended.
    pub fn agent_end(&self, event: impl FnOnce() -> AgentEnd) {
        let hooks = self.listening(Point::AgentEnd, None);
        if !hooks.is_empty() {
            let event = Arc::new(event());
            self.observe(hooks, move |hook| {
                let event = event.clone();
                async move { hook.agent_end(&event).await }.boxed()
            });
        }
    }

    /// What hooks wish for a summary, at most [`MAX_WISHES`] bytes; empty when they wish nothing.
    pub async fn before_compaction(&self, event: impl FnOnce() -> CompactionBegins) -> String {
        let hooks = self.listening(Point::BeforeCompaction, None);
        let mut wishes = Vec::new();
        if hooks.is_empty() {
            return String::new();
        }
        let event = event();
        for hook in &hooks {
            match within(hook, hook.before_compaction(&event)).await {
                Ok(wish) => wishes.extend(wish),
                Err(error) => {
                    failed(hook, &error);
                }
            }
        }
        shorten(&wishes.join("\n"), MAX_WISHES)
    }

    /// Tells that a conversation was told shorter.
    pub fn after_compaction(&self, event: impl FnOnce() -> CompactionDone) {
        let hooks = self.listening(Point::AfterCompaction, None);
        if !hooks.is_empty() {
            let event = Arc::new(event());
            self.observe(hooks, move |hook| {
                let event = event.clone();
                async move { hook.after_compaction(&event).await }.boxed()
            });
        }
    }

    fn observe(
        &self,
        hooks: List,
        tell: impl Fn(Arc<dyn Hook>) -> BoxFuture<'static, Result<(), HookError>> + Send + 'static,
    ) {
        self.inner.observers.run(async move {
            for hook in hooks {
                if let Err(error) = within(&hook, tell(hook.clone())).await {
                    failed(&hook, &error);
                }
            }
        });
    }
}

impl HookParts {
    fn list(&self, configured: &[HookSettings]) -> List {
        let command = |settings: &HookSettings| -> Arc<dyn Hook> {
            let (confinement, home) = (self.confinement.clone(), self.home.clone());
            Arc::new(CommandHook::new(settings.clone(), confinement, home))
        };
        let configured = configured.iter().map(command);
        self.own.iter().cloned().chain(configured).collect()
    }
}

async fn within<T>(hook: &Arc<dyn Hook>, answer: Answering<'_, T>) -> Result<T, HookError> {
    let time = hook.time().min(MAX_TIME);
    tokio::time::timeout(time, answer)
        .await
        .unwrap_or(Err(HookError::TimedOut(time)))
}

fn failed(hook: &Arc<dyn Hook>, error: &HookError) -> OnFailure {
    tracing::warn!(
        hook = hook.name(),
        error = error as &dyn std::error::Error,
        "a hook failed"
    );
    hook.on_failure()
}

fn by(origin: &Origin, kind: Kind, method: &str, target: &str) -> Entry {
    let speaker = &origin.speaker;
    Entry::new(kind)
        .by(speaker.node_id, &speaker.handle, &speaker.path)
        .call(method, target)
}
