//! Messages, as they come back: blocks of text and of tool use that begin, grow and end.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use crate::providers::decode::{Decode, Flow, MAX_ARGUMENTS, arguments};
use crate::providers::openai::or_default;
use crate::providers::sse::SseEvent;
use crate::providers::{ApiKey, ModelEvent, ProviderError, failure};
use crate::turn::{MAX_CALLS, Tokens, ToolCall};

/// Reads one answer.
#[derive(Debug)]
pub(in crate::providers) struct Decoder {
    calls: Vec<Partial>,
    /// Bytes of all their arguments.
    arguments: usize,
    usage: Usage,
    stop_reason: Option<String>,
    spoken: bool,
    secret: Option<ApiKey>,
}

/// A call that is coming.
#[derive(Debug)]
struct Partial {
    index: u64,
    id: String,
    name: String,
    arguments: String,
}

/// Any event; each kind has some of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    message: Option<Message>,
    #[serde(deserialize_with = "or_default")]
    index: u64,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<Usage>,
    error: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    usage: Option<Usage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta {
    text: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl Usage {
    /// Numbers are totals; what a later event leaves out has not changed.
    fn take(&mut self, newer: Self) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.cache_read_input_tokens = newer
            .cache_read_input_tokens
            .or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = newer
            .cache_creation_input_tokens
            .or(self.cache_creation_input_tokens);
    }

    /// The API counts what it read from the cache apart.
    fn tokens(&self) -> Tokens {
        let cached = self.cache_read_input_tokens.unwrap_or(0);
        let fresh = self.input_tokens.unwrap_or(0);
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        Tokens {
            input: fresh.saturating_add(written).saturating_add(cached),
            cached,
            output: self.output_tokens.unwrap_or(0),
        }
    }
}

impl Decoder {
    pub(in crate::providers) fn new(secret: Option<ApiKey>) -> Self {
        Self {
            calls: Vec::new(),
            arguments: 0,
            usage: Usage::default(),
            stop_reason: None,
            spoken: false,
            secret,
        }
    }

    fn say(&mut self, text: Option<String>, out: &mut VecDeque<ModelEvent>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.spoken = true;
            out.push_back(ModelEvent::Text(text));
        }
    }

    fn begin_call(&mut self, index: u64, block: Block) -> Result<(), ProviderError> {
        if self.calls.len() > MAX_CALLS {
            return Err(ProviderError::TooLong("it asks for too many tools"));
        }
        let (Some(id), Some(name)) = (block.id, block.name) else {
            return Err(ProviderError::Malformed(
                "it asks for a tool without an id or a name",
            ));
        };
        // Empty here, and then in pieces; servers that copy the API may give all of it at once.
        let whole = block.input.as_object().is_some_and(|map| !map.is_empty());
        let arguments = match whole {
            true => block.input.to_string(),
            false => String::new(),
        };
        self.calls.push(Partial {
            index,
            id,
            name,
            arguments,
        });
        Ok(())
    }

    fn grow_call(&mut self, index: u64, more: &str) -> Result<(), ProviderError> {
        self.arguments += more.len();
        if self.arguments > MAX_ARGUMENTS {
            return Err(ProviderError::TooLong("the arguments of a tool"));
        }
        let call = self.calls.iter_mut().rfind(|call| call.index == index);
        // Tools that the provider runs itself send arguments too; they are not ours.
        if let Some(call) = call {
            call.arguments.push_str(more);
        }
        Ok(())
    }
}

impl Decode for Decoder {
    fn event(
        &mut self,
        event: &SseEvent,
        out: &mut VecDeque<ModelEvent>,
    ) -> Result<Flow, ProviderError> {
        if event.data.trim().is_empty() {
            return Ok(Flow::More);
        }
        let event: Event = serde_json::from_str(&event.data).map_err(|_| {
            ProviderError::Malformed("a piece of its stream is not what it should be")
        })?;
        match event.kind.as_str() {
            "message_start" => {
                let usage = event.message.and_then(|message| message.usage);
                self.usage.take(usage.unwrap_or_default());
            }
            "content_block_start" => {
                let block = event.content_block.unwrap_or_default();
                match block.kind.as_str() {
                    "text" => self.say(block.text, out),
                    "tool_use" => self.begin_call(event.index, block)?,
                    _ => {}
                }
            }
            "content_block_delta" => {
                let delta = event.delta.unwrap_or_default();
                self.say(delta.text, out);
                if let Some(more) = delta.partial_json {
                    self.grow_call(event.index, &more)?;
                }
            }
            "message_delta" => {
                self.usage.take(event.usage.unwrap_or_default());
                let reason = event.delta.and_then(|delta| delta.stop_reason);
                self.stop_reason = reason.or(self.stop_reason.take());
            }
            "message_stop" => return Ok(Flow::Over),
            "error" => return Err(failure::of_stream(&event.error, self.secret.as_ref())),
            // `ping`, the ends of blocks, and what later versions add.
            _ => {}
        }
        Ok(Flow::More)
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), ProviderError> {
        let Some(reason) = self.stop_reason.as_deref() else {
            return Err(ProviderError::BrokenOff);
        };
        if reason == "refusal" && !self.spoken {
            return Err(ProviderError::Rejected {
                status: 200,
                text: "the model refuses to answer this".to_owned(),
            });
        }
        for call in std::mem::take(&mut self.calls) {
            out.push_back(ModelEvent::Call(ToolCall {
                id: call.id,
                name: call.name,
                arguments: arguments(&call.arguments)?,
            }));
        }
        out.push_back(ModelEvent::Finished(self.usage.tokens()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::decode::tests::decoded;

    const RECORDED: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"claude\",\"stop_reason\":null,\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\":40,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Gr\u{fc}\u{df} dich\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"disk\",\"input\":{}}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"path\\\": \"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"/\\\"}\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":33}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    type Answer = Vec<Result<ModelEvent, ProviderError>>;

    fn recorded() -> Answer {
        vec![
            Ok(ModelEvent::Text("Gr\u{fc}\u{df} dich".into())),
            Ok(ModelEvent::Call(ToolCall {
                id: "toolu_1".into(),
                name: "disk".into(),
                arguments: json!({ "path": "/" }),
            })),
            Ok(ModelEvent::Finished(Tokens {
                input: 145,
                cached: 40,
                output: 33,
            })),
        ]
    }

    async fn read(events: &[&str]) -> Answer {
        let stream: String = events
            .iter()
            .map(|data| format!("event: x\ndata: {data}\n\n"))
            .collect();
        decoded(Decoder::new(None), vec![stream.as_bytes()]).await
    }

    #[tokio::test]
    async fn a_recorded_stream_is_understood_wherever_it_is_cut_in_two() {
        let bytes = RECORDED.as_bytes();
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let answer = decoded(Decoder::new(None), vec![first, second]).await;
            assert_eq!(answer, recorded(), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_recorded_stream_that_ends_at_any_byte_is_whole_or_broken_off_and_never_half() {
        let bytes = RECORDED.as_bytes();
        for end in 0..bytes.len() {
            let answer = decoded(Decoder::new(None), vec![&bytes[..end]]).await;
            match answer.last().unwrap() {
                Ok(ModelEvent::Finished(_)) => assert_eq!(answer, recorded(), "at {end}"),
                Err(ProviderError::BrokenOff) => {}
                other => panic!("at {end}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn errors_inside_the_stream_are_told_as_what_they_are() {
        let overloaded =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(
            read(&[overloaded]).await,
            [Err(ProviderError::Unavailable(529))]
        );
        let long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 1 > 0"}}"#;
        assert_eq!(read(&[long]).await, [Err(ProviderError::ContextTooLong)]);
        for piece in [
            "{",
            "[1]",
            r#"{"type":7}"#,
            r#"{"type":"content_block_start","content_block":{"type":"tool_use"}}"#,
        ] {
            let answer = read(&[piece]).await;
            assert!(
                matches!(answer[..], [Err(ProviderError::Malformed(_))]),
                "{piece}: {answer:?}"
            );
        }
        let refusal = r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#;
        assert!(matches!(
            read(&[refusal]).await[..],
            [Err(ProviderError::Rejected { .. })]
        ));
    }

    #[tokio::test]
    async fn unknown_kinds_are_passed_over_and_an_end_without_a_reason_is_none() {
        let unknown = r#"{"type":"something_new","data":[1]}"#;
        let thinking = r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#;
        let stop = r#"{"type":"message_stop"}"#;
        assert_eq!(
            read(&[unknown, thinking, stop]).await,
            [Err(ProviderError::BrokenOff)]
        );
        let delta = r#"{"type":"message_delta","delta":{"stop_reason":"made_up"},"usage":null}"#;
        assert_eq!(
            read(&[unknown, thinking, delta]).await,
            [Ok(ModelEvent::Finished(Tokens::default()))]
        );
    }

    #[tokio::test]
    async fn a_recorded_stream_with_any_byte_changed_ends_without_a_panic() {
        let mut bytes = RECORDED.as_bytes().to_vec();
        for at in 0..bytes.len() {
            for change in [0x01, 0x20, 0x80] {
                bytes[at] ^= change;
                let answer = decoded(Decoder::new(None), vec![&bytes]).await;
                let ends = |event: &_| matches!(event, Err(_) | Ok(ModelEvent::Finished(_)));
                assert!(answer.last().is_some_and(ends), "byte {at}");
                bytes[at] ^= change;
            }
        }
    }
}
