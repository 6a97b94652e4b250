//! Tools: what a model may ask for while it answers, each with the scope that the asking device needs.
//!
//! Some are built in; more come from a [`ToolSource`], which may change what it has at any time and has
//! other tools for every user.
//! A tool runs with the rights of the device in whose name the turn runs, never with the agent's own.
//! Whether a call may run is in `permission`, by the scopes and the policy.

mod arguments;
mod bounds;
mod builtin;
mod containers;
mod devices;
mod fetch;
#[cfg(target_os = "linux")]
mod files;
mod journal;
mod network;
mod permission;
mod processes;
mod program;
mod sensors;
mod services;
pub mod settings;
mod shell;
mod system;
mod time;
mod whoami;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

pub use crate::policy::{Action, ToolEffect};
pub use builtin::builtin;
pub use containers::{ContainerLogsTool, ContainersTool, EngineError};
pub use devices::DevicesTool;
pub use fetch::{FetchError, FetchTool, Lookup, SystemLookup};
#[cfg(target_os = "linux")]
pub use files::{
    FileFolders, FilesError, ListFilesTool, ReadFileTool, SearchFilesTool, WriteFileTool,
};
pub use journal::JournalTool;
pub use network::NetworkTool;
pub use permission::Permission;
pub(crate) use permission::readable;
pub use processes::ProcessesTool;
pub use program::ProgramError;
pub use sensors::SensorsTool;
pub use services::ServicesTool;
pub use settings::ToolSettings;
pub use shell::{ShellSettings, ShellTool};
pub use system::SystemTool;
pub use time::TimeTool;
pub use whoami::WhoAmITool;

use crate::approvals::Origin;
use crate::audit::Audit;
use crate::hooks::{Hooks, Refused};
use crate::policy::{Policy, Refusal};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::turn::{MAX_RESULT, ToolCall, ToolOutcome};

/// Longest run of one tool: a turn must not hang on one.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a tool gave no result; the text is told to the model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// There is no such tool.
    #[error("there is no tool {0}")]
    Unknown(String),
    /// The device may not.
    #[error("the scope {0} is missing")]
    Forbidden(&'static str),
    /// The policy refuses it.
    #[error("{0}")]
    Policy(#[from] Refusal),
    /// A hook refuses it.
    #[error("{0}")]
    Hook(#[from] Refused),
    /// A person would have to approve it, and nobody can be asked here.
    #[error("a person must approve this, and nobody can be asked here")]
    NeedsApproval,
    /// The line about it could not be written.
    #[error("the audit log cannot be written, so nothing may be changed")]
    Unaudited,
    /// It took longer than this many seconds.
    #[error("it took longer than {0} seconds")]
    TimedOut(u64),
    /// Its result is too long for a model.
    #[error("its result is longer than {MAX_RESULT} bytes")]
    TooLong,
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// Tools by their name.
pub type ToolMap = BTreeMap<String, Arc<dyn Tool>>;

/// Tools that come and go.
pub trait ToolSource: Send + Sync {
    /// What there is now for the user in whose name a turn runs. Called on every round: cheap.
    fn tools(&self, speaker: &Speaker) -> Arc<ToolMap>;
}

/// One tool.
pub trait Tool: Send + Sync {
    /// How a model sees it.
    fn spec(&self) -> ToolSpec;

    /// The scope that the asking device needs; none when every admitted device may.
    fn scope(&self) -> Option<&'static str>;

    /// What a call with these arguments does.
    fn effect(&self, _arguments: &Value) -> ToolEffect {
        ToolEffect::Reads
    }

    /// What the tool's own configuration says about the call, in place of the policy's default.
    fn action(&self, _arguments: &Value) -> Option<Action> {
        None
    }

    /// The least strict answer that the policy may give, whatever is configured.
    fn at_least(&self, _arguments: &Value) -> Action {
        Action::Allow
    }

    /// The call in one line, for the person who is asked to approve it.
    fn summary(&self, arguments: &Value) -> String {
        format!("{} {arguments}", self.spec().name)
    }

    /// What an approval of the call is bound to beside its arguments; looked at again before it runs.
    fn bind(
        &self,
        _speaker: &Speaker,
        _arguments: &Value,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        async { Ok(Value::Object(serde_json::Map::new())) }.boxed()
    }

    /// Longest run of a call.
    fn timeout(&self, _arguments: &Value) -> Duration {
        TIMEOUT
    }

    /// Runs. Dropping the future cancels it.
    fn run(
        &self,
        speaker: Arc<Speaker>,
        arguments: Value,
    ) -> BoxFuture<'static, Result<Value, ToolError>>;
}

/// All tools of an agent.
#[derive(Clone)]
pub struct Tools {
    rules: Arc<ArcSwap<Rules>>,
    source: Option<Arc<dyn ToolSource>>,
    hooks: Hooks,
    audit: Audit,
}

/// Changed as one: no call sees the tools of one configuration under the policy of another.
struct Rules {
    by_name: ToolMap,
    policy: Policy,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.rules.load().by_name.keys())
            .finish()
    }
}

impl Tools {
    /// The given tools, with the default policy.
    #[must_use]
    pub fn new(tools: Vec<Arc<dyn Tool>>, hooks: Hooks, audit: Audit) -> Self {
        Self::under(tools, hooks, audit, Policy::default())
    }

    /// The given tools under these rules.
    #[must_use]
    pub fn under(tools: Vec<Arc<dyn Tool>>, hooks: Hooks, audit: Audit, policy: Policy) -> Self {
        Self {
            rules: Arc::new(ArcSwap::from_pointee(Rules::new(tools, policy))),
            source: None,
            hooks,
            audit,
        }
    }

    /// From now on these built-in tools under these rules, for every handle. Calls that run go on.
    pub fn change(&self, tools: Vec<Arc<dyn Tool>>, policy: Policy) {
        self.rules.store(Arc::new(Rules::new(tools, policy)));
    }

    /// These and what a source has. A built-in tool wins over one of the source with its name.
    #[must_use]
    pub fn with_source(self, source: Arc<dyn ToolSource>) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// Whether nothing may be changed.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.rules.load().policy.read_only()
    }

    /// What a model may choose from, for a device with these rights.
    #[must_use]
    pub fn specs(&self, speaker: &Speaker) -> Vec<ToolSpec> {
        let more = self.source.as_ref().map(|source| source.tools(speaker));
        let rules = self.rules.load();
        let own = rules.by_name.values();
        let more = more.iter().flat_map(|more| more.iter());
        let more = more.filter(|(name, _)| !rules.by_name.contains_key(*name));
        own.chain(more.map(|(_, tool)| tool))
            .filter(|tool| allowed(tool.as_ref(), speaker))
            .map(|tool| tool.spec())
            .filter(|spec| !rules.policy.never(&spec.name))
            .collect()
    }

    /// Of those, the built-in ones that change nothing whatever they are called with.
    #[must_use]
    pub fn readers(&self, speaker: &Speaker) -> Vec<ToolSpec> {
        let rules = self.rules.load();
        let own = rules.by_name.values().filter(|tool| {
            allowed(tool.as_ref(), speaker) && tool.effect(&Value::Null) == ToolEffect::Reads
        });
        own.map(|tool| tool.spec())
            .filter(|spec| !rules.policy.never(&spec.name))
            .collect()
    }

    /// Runs a call that is permitted, and always has an outcome: what hooks keep of it.
    pub async fn run(&self, origin: &Origin, call: ToolCall) -> ToolOutcome {
        let result = self
            .try_run(origin.speaker.clone(), &call)
            .await
            .map_err(|error| error.to_string());
        let result = self.hooks.tool_result_persist(origin, &call, result).await;
        self.hooks.after_tool_call(origin, &call, &result);
        ToolOutcome {
            id: call.id,
            name: call.name,
            result,
        }
    }

    fn find(&self, speaker: &Speaker, name: &str) -> Result<Arc<dyn Tool>, ToolError> {
        if let Some(tool) = self.rules.load().by_name.get(name) {
            return Ok(tool.clone());
        }
        let more = self.source.as_ref().map(|source| source.tools(speaker));
        more.and_then(|more| more.get(name).cloned())
            .ok_or_else(|| ToolError::Unknown(name.to_owned()))
    }

    async fn try_run(&self, speaker: Arc<Speaker>, call: &ToolCall) -> Result<Value, ToolError> {
        let tool = self.find(&speaker, &call.name)?;
        // Whoever let it through: in read-only mode nothing is changed.
        if self.read_only() && tool.effect(&call.arguments) == ToolEffect::Changes {
            return Err(Refusal::ReadOnly.into());
        }
        let limit = tool.timeout(&call.arguments);
        let run = tool.run(speaker, call.arguments.clone());
        let value = tokio::time::timeout(limit, run)
            .await
            .map_err(|_| ToolError::TimedOut(limit.as_secs()))??;
        if value.to_string().len() > MAX_RESULT {
            return Err(ToolError::TooLong);
        }
        Ok(value)
    }
}

impl Rules {
    fn new(tools: Vec<Arc<dyn Tool>>, policy: Policy) -> Self {
        let named = tools.into_iter().map(|tool| (tool.spec().name, tool));
        Self {
            by_name: named.collect(),
            policy,
        }
    }
}

fn allowed(tool: &dyn Tool, speaker: &Speaker) -> bool {
    tool.scope()
        .is_none_or(|scope| speaker.scopes().contains(scope))
}
