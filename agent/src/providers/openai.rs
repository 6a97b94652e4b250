//! OpenAI's Chat Completions, as the many servers speak it that say they do: what is sent.
//!
//! What comes back is read in `decode`, with structures that forgive what a server leaves out.

mod decode;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

pub(super) use decode::Decoder;

use super::{ModelRequest, Profile};
use crate::attachments::{Image, Images};
use crate::turn::Said;

/// The body of a request.
pub(super) fn body(request: &ModelRequest, profile: Profile) -> Value {
    let mut messages = Vec::with_capacity(request.said.len() + 1);
    if !request.system.is_empty() {
        messages.push(json!({ "role": "system", "content": request.system }));
    }
    messages.extend(
        request
            .said
            .iter()
            .filter_map(|said| message(said, &request.images)),
    );
    let mut body = json!({
        "model": request.model,
        "messages": messages,
        "stream": true,
    });
    if profile.takes_stream_options() {
        body["stream_options"] = json!({ "include_usage": true });
    }
    if request.max_output_tokens > 0 {
        body[profile.max_tokens_field()] = json!(request.max_output_tokens);
    }
    // Some refuse an empty list.
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            })
        });
        body["tools"] = tools.collect();
    }
    body
}

fn message(said: &Said, images: &Images) -> Option<Value> {
    Some(match said {
        Said::User(text) => json!({ "role": "user", "content": text }),
        Said::Pictured {
            text,
            images: named,
        } => {
            let parts: Vec<Value> = images.of(named).map(image).collect();
            let content = match parts.is_empty() {
                // A model that takes no pictures may not take a list either.
                true => json!(text),
                false => std::iter::once(json!({ "type": "text", "text": text }))
                    .chain(parts)
                    .collect(),
            };
            json!({ "role": "user", "content": content })
        }
        Said::Summary(text) => json!({ "role": "user", "content": Said::labelled(text) }),
        Said::Assistant { text, calls } if calls.is_empty() => {
            if text.is_empty() {
                return None;
            }
            json!({ "role": "assistant", "content": text })
        }
        Said::Assistant { text, calls } => {
            let calls = calls.iter().map(|call| {
                json!({
                    "id": call.id,
                    "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments.to_string() },
                })
            });
            json!({
                "role": "assistant",
                "content": if text.is_empty() { Value::Null } else { json!(text) },
                "tool_calls": calls.collect::<Vec<_>>(),
            })
        }
        Said::Tool(outcome) => json!({
            "role": "tool",
            "tool_call_id": outcome.id,
            "content": outcome.text(),
        }),
    })
}

fn image(image: &Image) -> Value {
    let url = format!("data:{};base64,{}", image.media_type, image.base64);
    json!({ "type": "image_url", "image_url": { "url": url } })
}

/// Takes `null` for a field that is not there.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::ToolSpec;
    use crate::turn::{ToolCall, ToolOutcome};

    fn request() -> ModelRequest {
        let call = ToolCall {
            id: "c1".into(),
            name: "disk".into(),
            arguments: json!({ "path": "/" }),
        };
        ModelRequest {
            model: "m".into(),
            system: "You are at home.".into(),
            said: vec![
                Said::User("how full?".into()),
                Said::Assistant {
                    text: String::new(),
                    calls: vec![call],
                },
                Said::Tool(ToolOutcome {
                    id: "c1".into(),
                    name: "disk".into(),
                    result: Ok(json!({ "free": 1 })),
                }),
                Said::Assistant {
                    text: String::new(),
                    calls: vec![],
                },
            ],
            tools: vec![ToolSpec {
                name: "disk".into(),
                description: "d".into(),
                parameters: json!({ "type": "object" }),
            }],
            max_output_tokens: 100,
            ..ModelRequest::default()
        }
    }

    #[test]
    fn a_conversation_with_tools_is_written_as_the_api_wants_it() {
        let body = body(&request(), Profile::OpenAi);
        assert_eq!(
            body,
            json!({
                "model": "m",
                "stream": true,
                "stream_options": { "include_usage": true },
                "max_completion_tokens": 100,
                "messages": [
                    { "role": "system", "content": "You are at home." },
                    { "role": "user", "content": "how full?" },
                    { "role": "assistant", "content": null, "tool_calls": [
                        { "id": "c1", "type": "function",
                          "function": { "name": "disk", "arguments": "{\"path\":\"/\"}" } },
                    ] },
                    { "role": "tool", "tool_call_id": "c1", "content": "{\"free\":1}" },
                ],
                "tools": [
                    { "type": "function", "function":
                        { "name": "disk", "description": "d", "parameters": { "type": "object" } } },
                ],
            })
        );
    }

    #[test]
    fn pictures_are_data_urls_and_a_message_without_any_is_plain_text() {
        let mut request = ModelRequest {
            said: vec![Said::Pictured {
                text: "look".into(),
                images: vec!["a.gif".into(), "gone".into()],
            }],
            ..ModelRequest::default()
        };
        let content = |request: &ModelRequest| {
            body(request, Profile::OpenAi)["messages"][0]["content"].clone()
        };
        assert_eq!(content(&request), "look");
        request.images.add("a.gif".into(), Image::new(b"GIF89a"));
        request.images.add("gone".into(), None);
        assert_eq!(
            content(&request),
            json!([
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "data:image/gif;base64,R0lGODlh" } },
            ])
        );
    }

    #[test]
    fn each_server_gets_the_fields_that_it_knows() {
        let ollama = body(&request(), Profile::Ollama);
        assert_eq!(ollama["max_tokens"], 100);
        assert!(ollama.get("max_completion_tokens").is_none());
        let mistral = body(&request(), Profile::Mistral);
        assert!(mistral.get("stream_options").is_none());
        let bare = body(&ModelRequest::default(), Profile::Custom);
        for field in ["tools", "max_tokens", "max_completion_tokens"] {
            assert!(bare.get(field).is_none(), "{field}");
        }
    }
}
