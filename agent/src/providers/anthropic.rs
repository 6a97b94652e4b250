//! Anthropic's Messages API: what is sent. What comes back is read in `decode`.

mod decode;

use serde_json::{Value, json};

pub(super) use decode::Decoder;

use super::ModelRequest;
use crate::attachments::{Image, Images};
use crate::turn::Said;

/// Tokens of an answer when nobody has set a limit; the API wants one, and every model has this many.
const DEFAULT_MAX_TOKENS: u32 = 4_096;

/// The body of a request.
pub(super) fn body(request: &ModelRequest) -> Value {
    let max_tokens = match request.max_output_tokens {
        0 => DEFAULT_MAX_TOKENS,
        tokens => tokens,
    };
    let mut body = json!({
        "model": request.model,
        "max_tokens": max_tokens,
        "messages": messages(&request.said, &request.images),
        "stream": true,
    });
    // What is the same in every round and turn is read from the cache at a tenth of the price.
    if !request.system.is_empty() {
        body["system"] = json!([{
            "type": "text",
            "text": request.system,
            "cache_control": { "type": "ephemeral" },
        }]);
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.parameters,
            })
        });
        let mut tools: Vec<Value> = tools.collect();
        if let Some(last) = tools.last_mut() {
            last["cache_control"] = json!({ "type": "ephemeral" });
        }
        body["tools"] = tools.into();
    }
    body
}

/// A conversation begins with a person, and the outcomes of one round's tools are one message.
fn messages(said: &[Said], images: &Images) -> Vec<Value> {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::with_capacity(said.len());
    for one in said {
        let (role, content) = match one {
            Said::User(text) => ("user", vec![json!({ "type": "text", "text": text })]),
            Said::Pictured {
                text,
                images: named,
            } => {
                let parts = images.of(named).map(image);
                let text = json!({ "type": "text", "text": text });
                ("user", parts.chain([text]).collect())
            }
            Said::Summary(text) => {
                let text = Said::labelled(text);
                ("user", vec![json!({ "type": "text", "text": text })])
            }
            Said::Assistant { text, calls } => {
                let text = (!text.is_empty()).then(|| json!({ "type": "text", "text": text }));
                let calls = calls.iter().map(|call| {
                    json!({
                        "type": "tool_use",
                        "id": call.id,
                        "name": call.name,
                        "input": call.arguments,
                    })
                });
                ("assistant", text.into_iter().chain(calls).collect())
            }
            Said::Tool(outcome) => {
                let result = json!({
                    "type": "tool_result",
                    "tool_use_id": outcome.id,
                    "content": outcome.text(),
                    "is_error": outcome.result.is_err(),
                });
                ("user", vec![result])
            }
        };
        if content.is_empty() || (messages.is_empty() && role != "user") {
            continue;
        }
        match messages.last_mut() {
            Some((last, before)) if *last == role => before.extend(content),
            _ => messages.push((role, content)),
        }
    }
    let message = |(role, content)| json!({ "role": role, "content": content });
    messages.into_iter().map(message).collect()
}

fn image(image: &Image) -> Value {
    let source = json!({
        "type": "base64",
        "media_type": image.media_type,
        "data": &*image.base64,
    });
    json!({ "type": "image", "source": source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::ToolSpec;
    use crate::turn::{ToolCall, ToolOutcome};

    #[test]
    fn pictures_are_blocks_before_the_words() {
        let mut request = ModelRequest {
            said: vec![Said::Pictured {
                text: "look".into(),
                images: vec!["a.gif".into()],
            }],
            ..ModelRequest::default()
        };
        request.images.add("a.gif".into(), Image::new(b"GIF89a"));
        assert_eq!(
            body(&request)["messages"][0]["content"],
            json!([
                { "type": "image", "source":
                    { "type": "base64", "media_type": "image/gif", "data": "R0lGODlh" } },
                { "type": "text", "text": "look" },
            ])
        );
    }

    #[test]
    fn a_conversation_with_tools_is_written_as_the_api_wants_it() {
        let call = |id: &str| ToolCall {
            id: id.into(),
            name: "disk".into(),
            arguments: json!({}),
        };
        let outcome = |id: &str, result| {
            Said::Tool(ToolOutcome {
                id: id.into(),
                name: "disk".into(),
                result,
            })
        };
        let request = ModelRequest {
            model: "claude".into(),
            system: "You are at home.".into(),
            said: vec![
                Said::Assistant {
                    text: "left over from a longer history".into(),
                    calls: vec![],
                },
                Said::User("how full?".into()),
                Said::Assistant {
                    text: "I look.".into(),
                    calls: vec![call("t1"), call("t2")],
                },
                outcome("t1", Ok(json!("half"))),
                outcome("t2", Err("gone".into())),
            ],
            tools: vec![ToolSpec {
                name: "disk".into(),
                description: "d".into(),
                parameters: json!({ "type": "object" }),
            }],
            max_output_tokens: 0,
            ..ModelRequest::default()
        };
        let cached = json!({ "type": "ephemeral" });
        assert_eq!(
            body(&request),
            json!({
                "model": "claude",
                "max_tokens": DEFAULT_MAX_TOKENS,
                "stream": true,
                "system": [{ "type": "text", "text": "You are at home.", "cache_control": cached }],
                "messages": [
                    { "role": "user", "content": [{ "type": "text", "text": "how full?" }] },
                    { "role": "assistant", "content": [
                        { "type": "text", "text": "I look." },
                        { "type": "tool_use", "id": "t1", "name": "disk", "input": {} },
                        { "type": "tool_use", "id": "t2", "name": "disk", "input": {} },
                    ] },
                    { "role": "user", "content": [
                        { "type": "tool_result", "tool_use_id": "t1", "content": "half", "is_error": false },
                        { "type": "tool_result", "tool_use_id": "t2", "content": "error: gone", "is_error": true },
                    ] },
                ],
                "tools": [{ "name": "disk", "description": "d", "input_schema": { "type": "object" },
                            "cache_control": cached }],
            })
        );
    }
}
