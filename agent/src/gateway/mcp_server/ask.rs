//! The tool `ask_agent`: a turn of the agent in a session of the asking device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use homing_certs::NodeId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::audit::{Decision, Kind};
use crate::gateway::Principal;
use crate::gateway::auth::CallerContext;
use crate::gateway::error::ApiError;
use crate::gateway::routes::Need;
use crate::providers::ToolSpec;
use crate::sessions::{Attachment, Message, Sessions, Tail};
use crate::state::AgentState;
use crate::store::LoggedEvent;

pub(super) const NAME: &str = "ask_agent";
pub(super) const SCOPE: &str = "chat";
/// Longest wait for an answer. The turn itself goes on; its session has the rest.
const LIMIT: Duration = Duration::from_secs(600);

/// How others see it.
pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: NAME.to_owned(),
        description:
            "Asks the agent and waits for its answer. It remembers what this device asked \
                      before."
                .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {"text": {"type": "string", "description": "What to ask."}},
            "required": ["text"]
        }),
    }
}

/// The session of a device that asks here.
pub(super) fn session(device: &NodeId) -> String {
    format!("mcp:{device}")
}

/// Events of a session that matter here.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Seen {
    Message {
        client_msg_id: Option<String>,
    },
    Status {
        text: String,
    },
    Response {
        text: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
    },
    Error {
        text: String,
    },
    TurnComplete {
        reason: String,
    },
    #[serde(other)]
    Other,
}

/// Stops the turn when nobody waits for it any more.
struct Abandon<'a> {
    sessions: &'a Sessions,
    principal: &'a Principal,
    session: &'a str,
    /// Whether it runs. While it waits, the turn that would be stopped is another.
    running: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if self.running {
            self.sessions
                .interrupt(self.principal.user_id, self.session);
        }
    }
}

/// Asks and waits. Dropping the future stops the turn.
pub(super) async fn run(
    state: &AgentState,
    principal: &Principal,
    caller: &CallerContext,
    arguments: Map<String, Value>,
) -> Result<Value, String> {
    let text = arguments.get("text").and_then(Value::as_str);
    let text = text.ok_or("the argument text is missing")?.to_owned();
    gate(state, principal, caller)
        .await
        .map_err(|error| error.message)?;
    let session = session(&principal.node_id);
    let answer = ask(state, principal, &session, text);
    let answer = tokio::time::timeout(LIMIT, answer).await;
    answer.map_err(|_| "the agent did not answer in time".to_owned())?
}

/// What `/ws` does for a message.
async fn gate(
    state: &AgentState,
    principal: &Principal,
    caller: &CallerContext,
) -> Result<(), ApiError> {
    let entry = |kind| principal.entry(kind).call("mcp", NAME).capability(SCOPE);
    if let Err(error) = caller.check(principal, Need::Scope(SCOPE)) {
        let refused = entry(Kind::Refused).decision(Decision::Refused);
        state
            .audit
            .note(refused.detail("code", error.code.as_ref()));
        return Err(error);
    }
    state
        .limits
        .run(principal.node_id, principal.user_id, Instant::now())?;
    let allowed = entry(Kind::Call).decision(Decision::Allowed);
    state.audit.record(allowed).await.map_err(|error| {
        tracing::error!(%error, "a call was refused because it could not be audited");
        ApiError::audit_unavailable()
    })
}

async fn ask(
    state: &AgentState,
    principal: &Principal,
    session: &str,
    text: String,
) -> Result<Value, String> {
    let mut moved = state.feeds.of(principal.user_id).subscribe();
    // Before the message is taken, so that none of its events can be missed.
    let follow = state
        .sessions
        .follow(principal.user_id, session, None)
        .await
        .map_err(|error| error.to_string())?;
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| "the system gave no randomness")?;
    let id = HEXLOWER.encode(&bytes);
    let message = Message {
        text,
        attachments: vec![],
        client_msg_id: Some(id.clone()),
    };
    state
        .sessions
        .say(Arc::new(principal.speaker()), session, message)
        .await
        .map_err(|error| error.to_string())?;
    let mut abandon = Abandon {
        sessions: &state.sessions,
        principal,
        session,
        running: false,
    };
    let mut heard = Heard {
        id,
        turn: None,
        answer: Err("the agent gave no answer".to_owned()),
    };
    let mut cursor = follow.cursor;
    loop {
        moved.mark_unchanged();
        let tail = follow.log.after(cursor).await;
        let events = match tail.map_err(|error| error.to_string())? {
            Tail::Events(events) => events,
            Tail::Gone(after) => {
                cursor = after;
                continue;
            }
        };
        for event in &events {
            cursor = event.seq;
            match heard.heed(event) {
                Step::Runs => abandon.running = true,
                Step::Over => {
                    abandon.running = false;
                    return heard.answer;
                }
                Step::Other => {}
            }
        }
        if events.is_empty() && moved.changed().await.is_err() {
            return Err("the agent is shutting down".to_owned());
        }
    }
}

/// The answer of a tool is text, so its files are lines of it.
fn with_files(mut text: String, files: &[Attachment]) -> String {
    for file in files {
        text.push_str(&format!("\n[{}: {}]", file.filename, file.path));
    }
    text
}

/// What was heard of the turn that answers our message.
struct Heard {
    /// Of the message.
    id: String,
    turn: Option<i64>,
    answer: Result<Value, String>,
}

/// What an event says about our turn.
enum Step {
    Runs,
    Over,
    Other,
}

impl Heard {
    fn heed(&mut self, event: &LoggedEvent) -> Step {
        let Ok(seen) = serde_json::from_str(&event.body) else {
            return Step::Other;
        };
        if let Seen::Message {
            client_msg_id: Some(id),
        } = &seen
            && *id == self.id
        {
            self.turn = event.turn_id;
        }
        if self.turn.is_none() || self.turn != event.turn_id {
            return Step::Other;
        }
        match seen {
            Seen::Status { text } if text == "running" => return Step::Runs,
            Seen::Response { text, attachments } => {
                self.answer = Ok(Value::String(with_files(text, &attachments)));
            }
            Seen::Error { text } => self.answer = Err(text),
            Seen::TurnComplete { reason } => {
                if reason == "no_reply" {
                    self.answer = Ok(Value::String(String::new()));
                } else if reason != "done" && self.answer.is_ok() {
                    self.answer = Err(format!("the agent's turn ended: {reason}"));
                }
                return Step::Over;
            }
            Seen::Message { .. } | Seen::Status { .. } | Seen::Other => {}
        }
        Step::Other
    }
}
