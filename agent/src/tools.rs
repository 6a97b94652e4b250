//! Tools: what a model may ask for while it answers, each with the scope that the asking device needs.
//!
//! All tools of this version only read. A tool runs with the rights of the device in whose name the
//! turn runs, never with the agent's own.

mod devices;
mod system;
mod whoami;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

pub use devices::DevicesTool;
pub use system::SystemTool;
pub use whoami::WhoAmITool;

use crate::audit::{Audit, Decision, Entry, Kind};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::turn::{MAX_RESULT, ToolCall, ToolOutcome};

/// Longest run of one tool: a turn must not hang on one.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a tool gave no result; the text is told to the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// There is no such tool.
    #[error("there is no tool {0}")]
    Unknown(String),
    /// The device may not.
    #[error("the scope {0} is missing")]
    Forbidden(&'static str),
    /// It took too long.
    #[error("it took longer than {} seconds", TIMEOUT.as_secs())]
    TimedOut,
    /// Its result is too long for a model.
    #[error("its result is longer than {MAX_RESULT} bytes")]
    TooLong,
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// One tool.
pub trait Tool: Send + Sync {
    /// How a model sees it.
    fn spec(&self) -> ToolSpec;

    /// The scope that the asking device needs; none when every admitted device may.
    fn scope(&self) -> Option<&'static str>;

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
    by_name: Arc<BTreeMap<String, Arc<dyn Tool>>>,
    audit: Audit,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Tools {
    /// The given tools.
    #[must_use]
    pub fn new(tools: Vec<Arc<dyn Tool>>, audit: Audit) -> Self {
        let by_name = tools
            .into_iter()
            .map(|tool| (tool.spec().name, tool))
            .collect();
        Self {
            by_name: Arc::new(by_name),
            audit,
        }
    }

    /// What a model may choose from, for a device with these rights.
    #[must_use]
    pub fn specs(&self, speaker: &Speaker) -> Vec<ToolSpec> {
        self.by_name
            .values()
            .filter(|tool| allowed(tool.as_ref(), speaker))
            .map(|tool| tool.spec())
            .collect()
    }

    /// Whether the device in whose name the turn runs may call this; the decision is in the audit log.
    ///
    /// # Errors
    /// [`ToolError::Unknown`], [`ToolError::Forbidden`].
    pub fn permit(&self, speaker: &Speaker, call: &ToolCall) -> Result<(), ToolError> {
        let tool = self.find(&call.name)?;
        let permitted = allowed(tool.as_ref(), speaker);
        let scope = tool.scope().unwrap_or_default();
        let entry = Entry::new(Kind::ToolCall)
            .by(speaker.node_id, &speaker.handle, &speaker.path)
            .call("tool", &call.name)
            .capability(scope)
            .decision(if permitted {
                Decision::Allowed
            } else {
                Decision::Refused
            });
        // These tools change nothing, so a line that is lost does not stop them.
        self.audit.note(entry);
        if permitted {
            Ok(())
        } else {
            Err(ToolError::Forbidden(scope))
        }
    }

    /// Runs a call that is permitted, and always has an outcome.
    pub async fn run(&self, speaker: Arc<Speaker>, call: ToolCall) -> ToolOutcome {
        let result = self
            .try_run(speaker, &call)
            .await
            .map_err(|error| error.to_string());
        ToolOutcome {
            id: call.id,
            name: call.name,
            result,
        }
    }

    fn find(&self, name: &str) -> Result<&Arc<dyn Tool>, ToolError> {
        self.by_name
            .get(name)
            .ok_or_else(|| ToolError::Unknown(name.to_owned()))
    }

    async fn try_run(&self, speaker: Arc<Speaker>, call: &ToolCall) -> Result<Value, ToolError> {
        let tool = self.find(&call.name)?;
        let run = tool.run(speaker, call.arguments.clone());
        let value = tokio::time::timeout(TIMEOUT, run)
            .await
            .map_err(|_| ToolError::TimedOut)??;
        if value.to_string().len() > MAX_RESULT {
            return Err(ToolError::TooLong);
        }
        Ok(value)
    }
}

fn allowed(tool: &dyn Tool, speaker: &Speaker) -> bool {
    tool.scope()
        .is_none_or(|scope| speaker.scopes().contains(scope))
}
