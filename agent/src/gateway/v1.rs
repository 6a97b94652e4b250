//! `/v1`: the agent as programs for OpenAI's interface know it. What they send is a turn of the agent:
//! its tools run here, and the program sees the text.
//!
//! Nothing is kept between two requests, unless a request names a session. Who asks is the
//! certificate's device; an `Authorization` header, which these programs cannot leave out, says nothing.

pub(super) mod chat;
mod content;
pub(super) mod models;
pub(super) mod responses;
mod stream;

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Principal;
use super::asking::{self, Asked, Question};
use super::error::{ApiError, RequestId};
use crate::clock;
use crate::sessions::Attachment;
use crate::state::AgentState;

/// Names a session, for programs that can set headers only.
const SESSION_HEADER: &str = "x-homing-session";
/// The model that stands for the agent's own choice.
const AGENT_MODEL: &str = "homing";
/// Largest request: a long conversation as JSON. Two of them fit into a small machine's spare memory
/// for each of the connections that a device may have.
pub(super) const MAX_BODY: usize = 2 << 20;
/// Bytes of what was said before. More than a model would be shown.
const MAX_CONTEXT: usize = 1 << 20;
/// Messages of what was said before that are kept; older ones are not shown to models in any session.
const MAX_HISTORY: usize = 40;

/// What both interfaces have in common.
#[derive(Debug, Default, Deserialize)]
struct Common {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    functions: Option<Vec<Value>>,
}

/// What was said, in order; the last of it is asked now.
#[derive(Debug, Default)]
struct Conversation {
    instructions: Vec<String>,
    /// Whether the assistant said it, and the text.
    said: Vec<(bool, String)>,
}

/// A request that was taken.
struct Taken {
    asked: Asked,
    /// The part that the ids of its objects have in common.
    id: String,
    /// Who answers, as far as it is known before.
    model: String,
    created: i64,
}

/// Adds the files of an answer to its message: more than OpenAI's interface has, and only when there
/// are any.
fn add_files(message: &mut Value, files: &[Attachment]) {
    if !files.is_empty() {
        message["attachments"] = serde_json::json!(files);
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        // By its place only: what is there may be anything.
        let (line, column) = (error.line(), error.column());
        let message = format!("the request is not well-formed (line {line}, column {column})");
        ApiError::bad_request("bad_request", message)
    })
}

async fn take(
    state: &Arc<AgentState>,
    principal: &Principal,
    request_id: &RequestId,
    headers: &HeaderMap,
    common: &Common,
    conversation: Conversation,
) -> Result<Taken, ApiError> {
    refuse_tools(common)?;
    let session = session(headers, common)?;
    let in_session = session.as_deref().unwrap_or(AGENT_MODEL);
    let known = models::known(state, principal, in_session).await?;
    let named = common.model.as_deref().filter(|name| *name != AGENT_MODEL);
    let answering = match named {
        None => known.first(),
        Some(name) => {
            let found = known.iter().find(|model| model.label == name);
            Some(found.ok_or_else(|| no_such_model(name, &known))?)
        }
    };
    let label = answering
        .map_or(AGENT_MODEL, |model| &model.label)
        .to_owned();
    let model = answering
        .filter(|_| named.is_some())
        .and_then(|model| model.id.clone());
    let (history, text) = conversation.split(session.is_some())?;
    let question = Question {
        id: request_id.0.clone(),
        session,
        history,
        text,
        model,
    };
    let asked = asking::ask(state, principal, question).await?;
    Ok(Taken {
        asked,
        id: request_id.0.clone(),
        model: label,
        created: clock::unix_ms() / 1000,
    })
}

impl Conversation {
    /// What was said before, and what is asked now.
    fn split(mut self, in_session: bool) -> Result<(Vec<(bool, String)>, String), ApiError> {
        let last = self.said.pop();
        let Some((false, text)) = last else {
            let message = "the last message must be the user's";
            return Err(ApiError::bad_param("bad_messages", "messages", message));
        };
        if in_session {
            // The agent has the rest itself.
            return Ok((vec![], text));
        }
        let room = MAX_HISTORY - usize::from(!self.instructions.is_empty());
        let skip = self.said.len().saturating_sub(room);
        let mut history: Vec<_> = self.said.into_iter().skip(skip).collect();
        if !self.instructions.is_empty() {
            let instructions = self.instructions.join("\n\n");
            let text = format!("[instructions of the program that asks]\n{instructions}");
            history.insert(0, (false, text));
        }
        if history.iter().map(|(_, text)| text.len()).sum::<usize>() > MAX_CONTEXT {
            let message = format!("the messages are longer than {MAX_CONTEXT} bytes");
            return Err(ApiError::bad_param(
                "context_length_exceeded",
                "messages",
                message,
            ));
        }
        Ok((history, text))
    }
}

fn refuse_tools(common: &Common) -> Result<(), ApiError> {
    for (param, tools) in [("tools", &common.tools), ("functions", &common.functions)] {
        if tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
            return Err(ApiError::bad_param(
                "tools_not_supported",
                param,
                "the agent uses its own tools and calls none of the program that asks",
            ));
        }
    }
    Ok(())
}

fn session(headers: &HeaderMap, common: &Common) -> Result<Option<String>, ApiError> {
    if let Some(value) = headers.get(SESSION_HEADER) {
        let bad = |_| ApiError::bad_request("bad_session_id", "a session id is visible ASCII here");
        return Ok(Some(value.to_str().map_err(bad)?.to_owned()));
    }
    let metadata = common.metadata.as_ref();
    if let Some(id) = metadata.and_then(|metadata| metadata.get("session_id")) {
        let bad = || ApiError::bad_param("bad_session_id", "metadata", "session_id is a string");
        return Ok(Some(id.as_str().ok_or_else(bad)?.to_owned()));
    }
    let user = common.user.as_deref().filter(|user| !user.is_empty());
    // A prefix as for every other platform, so that its users do not meet sessions of people.
    Ok(user.map(|user| format!("api:{user}")))
}

fn no_such_model(name: &str, known: &[models::Known]) -> ApiError {
    // A name is shown shortened: it may be anything.
    let name: String = name.chars().take(80).collect();
    let labels: Vec<&str> = known.iter().map(|model| model.label.as_str()).collect();
    let message = format!(
        "there is no model {name:?}; there are {AGENT_MODEL}, {}",
        labels.join(", ")
    );
    ApiError {
        param: Some("model"),
        ..ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_and_the_newest_messages_stay_when_a_conversation_is_long() {
        let mut said: Vec<_> = (0..100)
            .map(|at| (at % 2 == 1, format!("word {at}")))
            .collect();
        said.push((false, "now".to_owned()));
        let conversation = Conversation {
            instructions: vec!["be brief".to_owned()],
            said,
        };
        let (history, text) = conversation.split(false).unwrap();
        assert_eq!(text, "now");
        assert_eq!(history.len(), MAX_HISTORY);
        assert!(history[0].1.ends_with("be brief"));
        assert_eq!(history.last(), Some(&(true, "word 99".to_owned())));
    }

    #[test]
    fn a_session_is_named_by_header_then_metadata_then_user() {
        let mut headers = HeaderMap::new();
        let mut common = Common {
            user: Some("ann".into()),
            ..Common::default()
        };
        assert_eq!(session(&headers, &common).unwrap().unwrap(), "api:ann");
        common.metadata = serde_json::from_str(r#"{"session_id": "s1"}"#).unwrap();
        assert_eq!(session(&headers, &common).unwrap().unwrap(), "s1");
        headers.insert(SESSION_HEADER, "s2".parse().unwrap());
        assert_eq!(session(&headers, &common).unwrap().unwrap(), "s2");
        assert_eq!(
            session(&HeaderMap::new(), &Common::default()).unwrap(),
            None
        );
    }
}
