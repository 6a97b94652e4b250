//! Frames as JSON: what a client may send, what is sent besides the sessions' events.

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::gateway::error::ApiError;
use crate::sessions::Attachment;
use crate::store::LoggedEvent;
use crate::system::Snapshot;

/// From a client. Fields that are not known are ignored.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientFrame {
    /// Accepted and answered; carries no authority.
    Auth {},
    Ping {},
    SessionOpen {
        session_id: String,
        /// The first event wanted.
        #[serde(default)]
        from_seq: Option<u64>,
    },
    TextFinal {
        text: String,
        session_id: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
        #[serde(default)]
        client_msg_id: Option<String>,
    },
    /// A file for the next message of the session.
    Attachment {
        session_id: String,
        path: String,
        #[serde(default)]
        filename: String,
        /// `type` of an attachment: the frame has a `type` of its own.
        #[serde(default)]
        kind: String,
    },
    Interrupt {
        session_id: String,
    },
    Command {
        name: String,
        session_id: String,
    },
    /// From now on also what these topics have to say.
    Subscribe {
        #[serde(default)]
        topics: Vec<String>,
    },
    Unsubscribe {
        #[serde(default)]
        topics: Vec<String>,
    },
    ApprovalAnswer {
        id: i64,
        decision: Answer,
    },
}

/// To an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Approve,
    Deny,
}

/// Only the name of a frame, so that an unknown one can be told from a broken one.
#[derive(Debug, Deserialize)]
pub(super) struct FrameName {
    #[serde(rename = "type")]
    pub(super) name: String,
}

/// To a client, about no event of a session.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in super::super) enum ServerFrame {
    AuthOk {
        agent_name: String,
        version: &'static str,
    },
    Pong {},
    /// The message was sent before under the same id; nothing was done.
    Duplicate {
        client_msg_id: Option<String>,
    },
    CommandResult {
        name: String,
        text: String,
    },
    /// Events up to `seq` are no longer kept.
    HistoryTruncated {
        session_id: String,
        seq: u64,
    },
    /// What the socket is subscribed to now.
    Subscribed {
        topics: Vec<&'static str>,
    },
    SystemSnapshot(Snapshot),
    ResourceEvent {
        resource: &'static str,
        action: &'static str,
        id: String,
    },
    Error {
        code: String,
        text: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        hint: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<String>,
    },
}

impl ServerFrame {
    pub(super) fn error(error: ApiError, client_msg_id: Option<String>) -> Self {
        let milliseconds = |after: std::time::Duration| u64::try_from(after.as_millis()).ok();
        Self::Error {
            code: error.code.into_owned(),
            text: error.message,
            hint: error.hint,
            retry_after_ms: error.retry_after.and_then(milliseconds),
            client_msg_id,
        }
    }

    pub(super) fn text(&self) -> Utf8Bytes {
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// The frame of an event: its body with the session, its number and its turn in front.
pub(in super::super) fn event_frame(session_json: &str, event: &LoggedEvent) -> Utf8Bytes {
    let rest = event.body.strip_prefix('{').unwrap_or("}");
    let seq = event.seq;
    match event.turn_id {
        Some(turn) => {
            format!("{{\"session_id\":{session_json},\"seq\":{seq},\"turn_id\":{turn},{rest}")
        }
        None => format!("{{\"session_id\":{session_json},\"seq\":{seq},{rest}"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sessions::SessionEvent;

    #[test]
    fn the_frame_of_an_event_is_its_body_with_session_number_and_turn() {
        let body = SessionEvent::Delta {
            text: "\"hi\"".into(),
        }
        .body();
        let mut event = LoggedEvent {
            seq: 7,
            turn_id: None,
            body,
        };
        let session = serde_json::to_string("a\"b").unwrap();
        let frame: Value = serde_json::from_str(&event_frame(&session, &event)).unwrap();
        assert_eq!(
            frame,
            json!({"type": "delta", "text": "\"hi\"", "session_id": "a\"b", "seq": 7})
        );
        event.turn_id = Some(3);
        let frame: Value = serde_json::from_str(&event_frame(&session, &event)).unwrap();
        assert_eq!((&frame["turn_id"], &frame["seq"]), (&json!(3), &json!(7)));
    }

    #[test]
    fn the_frames_of_the_table_are_the_frames_that_are_understood() {
        for frame in crate::gateway::FRAMES {
            let text = json!({
                "type": frame.name, "session_id": "s", "text": "t", "name": "help", "id": 1,
                "decision": "deny", "more": [1, 2], "path": "/api/files/a"
            });
            serde_json::from_value::<ClientFrame>(text).unwrap();
        }
    }
}
