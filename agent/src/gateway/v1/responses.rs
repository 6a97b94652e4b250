//! `POST /v1/responses`.

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
use super::super::asking::{Done, Heard};
use super::super::error::{ApiError, RequestId};
use super::stream::{self, Wire};
use super::{Common, Conversation, add_files, content, parse, take};
use crate::state::AgentState;
use crate::turn::Usage;

/// Fields that are not known are ignored.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(flatten)]
    common: Common,
    input: Input,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    previous_response_id: Option<String>,
    #[serde(default)]
    background: Option<bool>,
    #[serde(default)]
    text: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<content::Message>),
}

pub(in super::super) async fn post(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let request: Request = parse(&body)?;
    request.refuse_what_is_not_there()?;
    let mut conversation = Conversation::default();
    conversation
        .instructions
        .extend(request.instructions.clone());
    match request.input {
        Input::Text(text) => conversation.said.push((false, text)),
        Input::Items(items) => {
            for item in items {
                conversation.add(item, "input")?;
            }
        }
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
    let object = Object {
        request_id: taken.id,
        model: taken.model,
        created: taken.created,
        instructions: request.instructions,
        metadata: common.metadata.clone().unwrap_or_default().into(),
    };
    if common.stream == Some(true) {
        let events = Events {
            object,
            number: 0,
            text: String::new(),
        };
        return Ok(stream::respond(taken.asked, events));
    }
    let done = taken.asked.done().await?;
    Ok(axum::Json(object.completed(&done)).into_response())
}

impl Request {
    fn refuse_what_is_not_there(&self) -> Result<(), ApiError> {
        let refuse =
            |param, message| Err(ApiError::bad_param("unsupported_parameter", param, message));
        if self.previous_response_id.is_some() {
            let message = "responses are not kept; send the messages, or name a session in metadata.session_id";
            return refuse("previous_response_id", message);
        }
        if self.background == Some(true) {
            return refuse("background", "the answer comes in this request only");
        }
        let format = self.text.as_ref().map(|text| &text["format"]["type"]);
        if format.is_some_and(|kind| !kind.is_null() && kind != "text") {
            return refuse("text", "answers are text; no other format can be promised");
        }
        Ok(())
    }
}

struct Object {
    request_id: String,
    model: String,
    created: i64,
    instructions: Option<String>,
    metadata: Value,
}

impl Object {
    fn json(&self, status: &str, output: Vec<Value>) -> Value {
        json!({
            "id": format!("resp_{}", self.request_id),
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": self.instructions,
            "max_output_tokens": null,
            "metadata": self.metadata,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null },
            "store": false,
            "temperature": 1.0,
            "text": { "format": { "type": "text" } },
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": null,
        })
    }

    fn completed(&self, done: &Done) -> Value {
        let mut response = self.json("completed", vec![self.completed_item(done)]);
        response["usage"] = usage(done.usage);
        response
    }

    fn completed_item(&self, done: &Done) -> Value {
        let mut item = self.item("completed", vec![part(&done.text)]);
        add_files(&mut item, &done.attachments);
        item
    }

    fn item(&self, status: &str, content: Vec<Value>) -> Value {
        json!({
            "type": "message",
            "id": self.item_id(),
            "status": status,
            "role": "assistant",
            "content": content,
        })
    }

    fn item_id(&self) -> String {
        format!("msg_{}", self.request_id)
    }
}

struct Events {
    object: Object,
    number: u64,
    text: String,
}

impl Events {
    fn event(&mut self, kind: &str, mut fields: Value) -> String {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.number.into();
        self.number += 1;
        format!("event: {kind}\ndata: {fields}\n\n")
    }

    fn of_part(&mut self, kind: &str, name: &str, value: Value) -> String {
        let mut fields = json!({
            "item_id": self.object.item_id(), "output_index": 0, "content_index": 0
        });
        fields[name] = value;
        if kind.starts_with("response.output_text.") {
            fields["logprobs"] = json!([]);
        }
        self.event(kind, fields)
    }

    fn of_item(&mut self, kind: &str, item: Value) -> String {
        self.event(kind, json!({ "output_index": 0, "item": item }))
    }
}

impl Wire for Events {
    fn begin(&mut self) -> String {
        let response = self.object.json("in_progress", vec![]);
        let item = self.object.item("in_progress", vec![]);
        [
            self.event("response.created", json!({ "response": response })),
            self.event("response.in_progress", json!({ "response": response })),
            self.of_item("response.output_item.added", item),
            self.of_part("response.content_part.added", "part", part("")),
        ]
        .concat()
    }

    fn heard(&mut self, heard: Heard) -> String {
        match heard {
            Heard::Text(text) => {
                self.text.push_str(&text);
                self.of_part("response.output_text.delta", "delta", text.into())
            }
            Heard::Called { .. } | Heard::Answered { .. } => String::new(),
            Heard::Done(done) => {
                let text = done.text.clone().into();
                let item = self.object.completed_item(&done);
                let response = self.object.completed(&done);
                [
                    self.of_part("response.output_text.done", "text", text),
                    self.of_part("response.content_part.done", "part", part(&done.text)),
                    self.of_item("response.output_item.done", item),
                    self.event("response.completed", json!({ "response": response })),
                ]
                .concat()
            }
        }
    }

    fn failed(&mut self, error: &ApiError) -> String {
        let item = self.object.item("incomplete", vec![part(&self.text)]);
        let mut response = self.object.json("failed", vec![item]);
        let shown = error.open_ai(&self.object.request_id);
        response["error"] =
            json!({ "code": error.code, "message": shown["error"]["message"].clone() });
        self.event("response.failed", json!({ "response": response }))
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
    })
}
