//! What a session's log holds: the frames of `/ws` that belong to a session, without their number.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::turn::{ToolCall, ToolOutcome, Usage};

/// A file that belongs to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Where it can be read on this agent: `/api/files/<name>`.
    pub path: String,
    /// Its name for people.
    #[serde(default)]
    pub filename: String,
    /// `image`, `file`, `voice` or `video`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// Where the files of a user are served.
const FILES: &str = "/api/files/";

impl Attachment {
    /// A stored file.
    #[must_use]
    pub fn of_stored(name: &str, filename: &str, kind: &str) -> Self {
        Self {
            path: format!("{FILES}{name}"),
            filename: filename.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// The name under which it is stored; empty when the path is not one of a stored file.
    #[must_use]
    pub fn stored(&self) -> &str {
        self.path.strip_prefix(FILES).unwrap_or_default()
    }
}

/// Who answered an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct By {
    /// Handle of the user.
    pub user: String,
    /// The device.
    pub device: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionEvent {
    /// A person's message has been taken.
    Message {
        /// `user`.
        role: &'static str,
        /// What was said.
        text: String,
        /// Its files.
        attachments: Vec<Attachment>,
        /// The client's own id for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<String>,
        /// The device that sent it.
        device: String,
    },
    /// The turn of the message before waits.
    Queued {
        /// 1 is the next.
        position: usize,
    },
    /// What the turn is doing.
    Status {
        /// A state, not a text for people: `running`, `tool:<name>`, `compacting`, `fallback`.
        text: String,
    },
    /// A piece of the answer.
    Delta {
        /// Text.
        text: String,
    },
    /// A tool begins.
    ToolCall {
        /// Names the call.
        id: String,
        /// Which tool.
        name: String,
        /// Its arguments.
        arguments: Value,
    },
    /// A tool has ended.
    ToolResult {
        /// Of which call.
        id: String,
        /// Which tool.
        name: String,
        /// Whether it has a result.
        ok: bool,
        /// Why it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A person must approve a tool call.
    ApprovalRequired {
        /// Names the approval.
        id: i64,
        /// Which tool.
        tool: String,
        /// Its exact arguments.
        arguments: Value,
        /// What the approval is bound to beside them.
        bound: Value,
        /// One line for people.
        summary: String,
        /// Unix seconds; no answer until then is a no.
        expires_at: i64,
    },
    /// An approval has its end.
    ApprovalResolved {
        /// Which one.
        id: i64,
        /// `approved`, `denied` or `expired`.
        decision: &'static str,
        /// Who answered; absent when nobody did.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<By>,
        /// Why it ended without an answer.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The whole answer.
    Response {
        /// Text.
        text: String,
        /// The model that gave it.
        model: String,
        /// Files that belong to it.
        attachments: Vec<Attachment>,
    },
    /// The turn failed.
    Error {
        /// Why, for people.
        text: String,
    },
    /// The turn is over.
    TurnComplete {
        /// What it used.
        usage: Usage,
        /// `done`, `no_reply`, `interrupted`, `failed`, `over_budget`, `revoked`, `removed`, `restarted` or `shutdown`.
        reason: String,
        /// Files that were given in an answer that has no `response`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// Everything before was forgotten.
    Cleared {},
}

impl SessionEvent {
    /// The same event about this approval.
    #[must_use]
    pub(crate) fn of_approval(mut self, approval: i64) -> Self {
        if let Self::ApprovalRequired { id, .. } = &mut self {
            *id = approval;
        }
        self
    }

    /// As it is stored.
    #[must_use]
    pub fn body(&self) -> String {
        // Serialising these types cannot fail: their keys are strings and they hold no maps but JSON's.
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"type":"error","text":""}"#.to_owned())
    }
}

impl From<ToolCall> for SessionEvent {
    fn from(call: ToolCall) -> Self {
        Self::ToolCall {
            id: call.id,
            name: call.name,
            arguments: call.arguments,
        }
    }
}

impl From<ToolOutcome> for SessionEvent {
    fn from(outcome: ToolOutcome) -> Self {
        let ok = outcome.result.is_ok();
        Self::ToolResult {
            id: outcome.id,
            name: outcome.name,
            ok,
            error: outcome.result.err(),
        }
    }
}
