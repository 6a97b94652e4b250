//! `POST /chat`: one message, one whole answer, for programs that want nothing else.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Principal;
use super::asking::{self, Heard, Question};
use super::body::JsonBody;
use super::error::{ApiError, RequestId};
use crate::sessions::Attachment;
use crate::state::AgentState;

/// Fields that are not known are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    message: String,
    #[serde(default)]
    conversation_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    message: String,
    /// The session; the next message goes on in it.
    conversation_id: String,
    tool_calls_made: Vec<Call>,
    /// Files of the answer.
    attachments: Vec<Attachment>,
    model: String,
}

#[derive(Debug, Serialize)]
struct Call {
    #[serde(skip)]
    id: String,
    name: String,
    arguments: Value,
    ok: bool,
}

pub(super) async fn post(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Extension(request_id): Extension<RequestId>,
    JsonBody(request): JsonBody<Request>,
) -> Result<Json<Answer>, ApiError> {
    let conversation_id = request
        .conversation_id
        .unwrap_or_else(|| format!("chat:{}", request_id.0));
    let question = Question {
        id: request_id.0,
        session: Some(conversation_id.clone()),
        history: vec![],
        text: request.message,
        model: None,
    };
    let mut asked = asking::ask(&state, &principal, question).await?;
    let mut calls: Vec<Call> = Vec::new();
    loop {
        match asked.next().await? {
            Heard::Text(_) => {}
            Heard::Called {
                id,
                name,
                arguments,
            } => calls.push(Call {
                id,
                name,
                arguments,
                ok: false,
            }),
            Heard::Answered { id, ok } => {
                // Ids are unique within a round only, so the newest of this id is meant.
                if let Some(call) = calls.iter_mut().rfind(|call| call.id == id) {
                    call.ok = ok;
                }
            }
            Heard::Done(done) => {
                return Ok(Json(Answer {
                    message: done.text,
                    conversation_id,
                    tool_calls_made: calls,
                    attachments: done.attachments,
                    model: done.model,
                }));
            }
        }
    }
}
