//! What hooks are told. Texts of messages, answers and results are in here for hooks in the process;
//! a program sees them when its configuration says so.

use serde::Serialize;
use serde_json::Value;

use crate::approvals::Origin;
use crate::turn::{ToolCall, Usage};

/// Where something happens, and in whose name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The session.
    pub session: String,
    /// The turn; 0 for a call at `/mcp`, which belongs to none.
    pub turn_id: i64,
    /// Handle of the user.
    pub user: String,
    /// The device that asked.
    pub device: String,
}

impl Place {
    /// Where this comes from.
    #[must_use]
    pub fn of(origin: &Origin) -> Self {
        Self {
            session: origin.session.clone(),
            turn_id: origin.turn_id,
            user: origin.speaker.handle.clone(),
            device: origin.speaker.node_id.to_string(),
        }
    }
}

/// A turn is about to begin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentStart {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Label of the model that answers first; none when there is no model.
    pub model: Option<String>,
    /// Whether it goes on after a restart of the process.
    pub resumed: bool,
    /// What the person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A tool is about to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCalling {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Names the call within the turn.
    pub call_id: String,
    /// Which tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
}

impl ToolCalling {
    pub(super) fn new(origin: &Origin, call: &ToolCall) -> Self {
        Self {
            place: Place::of(origin),
            call_id: call.id.clone(),
            tool: call.name.clone(),
            arguments: call.arguments.clone(),
        }
    }
}

/// A tool has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolEnded {
    /// Which call.
    #[serde(flatten)]
    pub call: ToolCalling,
    /// Whether it has a result; else there is only why not.
    pub ok: bool,
    /// The result as a model would read it, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

impl ToolEnded {
    pub(super) fn new(origin: &Origin, call: &ToolCall, result: &Result<Value, String>) -> Self {
        let text = match result {
            Ok(Value::String(text)) | Err(text) => text.clone(),
            Ok(value) => value.to_string(),
        };
        Self {
            call: ToolCalling::new(origin, call),
            ok: result.is_ok(),
            result: Some(text),
        }
    }
}

/// A turn has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentEnd {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Label of the model that spoke last; none when none did.
    pub model: Option<String>,
    /// Why: as in `turn_complete`.
    pub reason: String,
    /// What was used.
    pub usage: Usage,
    /// What the person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was answered, as far as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A conversation is about to be told shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompactionBegins {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Label of the model that is to tell it.
    pub model: String,
    /// Messages that there are.
    pub messages: usize,
    /// About how many bytes of a model's context they take.
    pub bytes: usize,
    /// How many bytes there may be.
    pub room: usize,
}

/// A conversation was told shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompactionDone {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Label of the model that told it.
    pub model: String,
    /// Messages that there are now.
    pub messages: usize,
    /// About how many bytes of a model's context they take.
    pub bytes: usize,
    /// Whether there is a summary; else the oldest were left out.
    pub summarized: bool,
    /// The summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}
