//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderMap, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Principal;
use super::super::asking::Heard;
use super::super::error::{ApiError, RequestId};
use super::stream::{self, Wire};
use super::{Common, Conversation, Taken, add_files, content, parse, take};
use crate::state::AgentState;
use crate::turn::Usage;

/// Fields that are not known are ignored.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(flatten)]
    common: Common,
    messages: Vec<content::Message>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    response_format: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

pub(in super::super) async fn post(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let request: Request = parse(&body)?;
    if request.n.is_some_and(|n| n != 1) {
        return Err(ApiError::bad_param("unsupported_parameter", "n", "n is 1"));
    }
    let format = request.response_format.as_ref();
    if format.is_some_and(|format| format["type"] != "text") {
        let message = "answers are text; no other format can be promised";
        return Err(ApiError::bad_param(
            "unsupported_parameter",
            "response_format",
            message,
        ));
    }
    let mut conversation = Conversation::default();
    for message in request.messages {
        conversation.add(message, "messages")?;
    }
    let common = &request.common;
    let taken = take(
        &state,
        &principal,
        &request_id,
        &headers,
        common,
        conversation,
    )
    .await?;
    let object = Object::of(&taken);
    if common.stream == Some(true) {
        let options = request.stream_options.as_ref();
        let chunks = Chunks {
            include_usage: options.and_then(|options| options.include_usage) == Some(true),
            object,
        };
        return Ok(stream::respond(taken.asked, chunks));
    }
    let done = taken.asked.done().await?;
    let mut message = json!({ "role": "assistant", "content": done.text, "refusal": null });
    add_files(&mut message, &done.attachments);
    let choice = json!({
        "index": 0,
        "message": message,
        "logprobs": null,
        "finish_reason": "stop",
    });
    let mut whole = object.json("chat.completion", vec![choice]);
    whole["usage"] = usage(done.usage);
    Ok(axum::Json(whole).into_response())
}

struct Object {
    request_id: String,
    model: String,
    created: i64,
}

impl Object {
    fn of(taken: &Taken) -> Self {
        Self {
            request_id: taken.id.clone(),
            model: taken.model.clone(),
            created: taken.created,
        }
    }

    fn json(&self, kind: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.request_id),
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

struct Chunks {
    object: Object,
    include_usage: bool,
}

impl Chunks {
    fn chunk(&self, delta: Value, finish_reason: Option<&str>) -> String {
        let choice = json!({
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason
        });
        let mut chunk = self.object.json("chat.completion.chunk", vec![choice]);
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }
}

impl Wire for Chunks {
    fn begin(&mut self) -> String {
        self.chunk(json!({ "role": "assistant", "content": "" }), None)
    }

    fn heard(&mut self, heard: Heard) -> String {
        match heard {
            Heard::Text(text) => self.chunk(json!({ "content": text }), None),
            Heard::Called { .. } | Heard::Answered { .. } => String::new(),
            Heard::Done(done) => {
                let mut delta = json!({});
                add_files(&mut delta, &done.attachments);
                let mut text = self.chunk(delta, Some("stop"));
                if self.include_usage {
                    let mut last = self.object.json("chat.completion.chunk", vec![]);
                    last["usage"] = usage(done.usage);
                    text.push_str(&data(&last));
                }
                text.push_str("data: [DONE]\n\n");
                text
            }
        }
    }

    fn failed(&mut self, error: &ApiError) -> String {
        data(&error.open_ai(&self.object.request_id))
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
    })
}
