//! Frames of `/ws` as far as a person or a script is told of them. Fields and frames that are not known
//! are ignored: the agent may be newer.

use serde::Deserialize;
use serde_json::{Value, json};

/// From the agent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame {
    /// Of which session; empty when of none.
    pub(super) session_id: String,
    /// Number in the session's log.
    pub(super) seq: Option<u64>,
    /// The turn that it belongs to.
    pub(super) turn_id: Option<i64>,
    #[serde(flatten)]
    pub(super) what: What,
}

/// What a frame says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum What {
    Message {
        text: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
        #[serde(default)]
        client_msg_id: Option<String>,
        #[serde(default)]
        device: String,
    },
    Queued {
        position: usize,
    },
    Status {
        text: String,
    },
    Delta {
        text: String,
    },
    ToolCall {
        name: String,
        #[serde(default)]
        arguments: Value,
    },
    ToolResult {
        name: String,
        ok: bool,
        #[serde(default)]
        error: Option<String>,
    },
    Response {
        text: String,
        #[serde(default)]
        model: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
    },
    Error {
        /// Empty for the failure of a turn, which `turn_complete` follows.
        #[serde(default)]
        code: String,
        text: String,
        #[serde(default)]
        hint: String,
        #[serde(default)]
        client_msg_id: Option<String>,
    },
    TurnComplete {
        reason: String,
    },
    ApprovalRequired(Approval),
    ApprovalResolved {
        id: i64,
        decision: String,
        #[serde(default)]
        by: Option<By>,
    },
    CommandResult {
        text: String,
    },
    Cleared {},
    HistoryTruncated {
        seq: u64,
    },
    #[default]
    #[serde(other)]
    Other,
}

/// A file of a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(super) struct Attachment {
    pub(super) path: String,
    #[serde(default)]
    pub(super) filename: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

/// A tool call that a person must approve.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Approval {
    pub(super) id: i64,
    pub(super) tool: String,
    #[serde(default)]
    pub(super) arguments: Value,
    /// What it is bound to beside them, such as the file of a program.
    #[serde(default)]
    pub(super) bound: Value,
    #[serde(default)]
    pub(super) summary: String,
    /// Unix seconds.
    #[serde(default)]
    pub(super) expires_at: i64,
}

/// Who answered an approval.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct By {
    #[serde(default)]
    pub(super) device: String,
}

/// A message of ours on its way.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) text: String,
    pub(super) attachments: Vec<Attachment>,
    /// Makes it the same message when it is sent again.
    pub(super) client_msg_id: String,
}

impl Frame {
    pub(super) fn of(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }
}

impl Outgoing {
    pub(super) fn new(text: String, attachments: Vec<Attachment>) -> anyhow::Result<Self> {
        Ok(Self {
            text,
            attachments,
            client_msg_id: random_id()?,
        })
    }

    pub(super) fn frame(&self, session: &str) -> Value {
        json!({
            "type": "text_final", "session_id": session, "text": self.text,
            "attachments": self.attachments, "client_msg_id": self.client_msg_id,
        })
    }
}

/// Follows from `from_seq` on; without it from the beginning of the running turn.
pub(super) fn session_open(session: &str, from_seq: Option<u64>) -> Value {
    let mut frame = json!({ "type": "session_open", "session_id": session });
    if let Some(seq) = from_seq {
        frame["from_seq"] = seq.into();
    }
    frame
}

pub(super) fn interrupt(session: &str) -> Value {
    json!({ "type": "interrupt", "session_id": session })
}

pub(super) fn command(session: &str, name: &str) -> Value {
    json!({ "type": "command", "session_id": session, "name": name })
}

pub(super) fn approval_answer(id: i64, approve: bool) -> Value {
    let decision = if approve { "approve" } else { "deny" };
    json!({ "type": "approval_answer", "id": id, "decision": decision })
}

/// 64 random bits as hex: ids of one user's messages and files do not meet.
pub(super) fn random_id() -> anyhow::Result<String> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits)
        .map_err(|error| anyhow::anyhow!("the operating system gave no randomness: {error}"))?;
    Ok(data_encoding::HEXLOWER.encode(&bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_unknown_ones_ignored() {
        let frame = Frame::of(&json!({
            "type": "delta", "text": "hi", "session_id": "s", "seq": 4, "turn_id": 2, "new": {}
        }));
        assert_eq!((frame.seq, frame.turn_id), (Some(4), Some(2)));
        assert!(matches!(frame.what, What::Delta { text } if text == "hi"));
        let frame = Frame::of(&json!({"type": "from the future", "seq": 9}));
        assert_eq!(frame.seq, Some(9));
        assert!(matches!(frame.what, What::Other));
        // A known frame without its fields is as good as unknown.
        assert!(matches!(
            Frame::of(&json!({"type": "delta"})).what,
            What::Other
        ));
        let frame = Frame::of(&json!({
            "type": "approval_required", "id": 7, "tool": "shell", "arguments": {"a": 1},
            "bound": null, "summary": "run it", "expires_at": 5, "session_id": "s"
        }));
        assert!(matches!(
            frame.what,
            What::ApprovalRequired(Approval { id: 7, .. })
        ));
    }
}
