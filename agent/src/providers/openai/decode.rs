//! Chat Completions, as they come back: deltas of text and of tool calls, usage at the end.
//!
//! Servers leave out indices, ids and reasons, send null for nothing, or whole objects where OpenAI
//! sends text; all of that is understood. What contradicts the format is refused.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::or_default;
use crate::providers::decode::{Decode, Flow, MAX_ARGUMENTS, arguments};
use crate::providers::sse::SseEvent;
use crate::providers::{ApiKey, ModelEvent, ProviderError, failure};
use crate::turn::{MAX_CALLS, Tokens, ToolCall};

/// What a stream ends with.
const DONE: &str = "[DONE]";

/// Reads one answer.
#[derive(Debug)]
pub(in crate::providers) struct Decoder {
    calls: Vec<Partial>,
    /// Bytes of all their arguments.
    arguments: usize,
    tokens: Tokens,
    /// Whether there was a reason to end.
    finished: bool,
    /// Whether there was anything at all.
    spoken: bool,
    filtered: bool,
    done: bool,
    secret: Option<ApiKey>,
}

/// A call that is coming.
#[derive(Debug, Default)]
struct Partial {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Chunk {
    #[serde(deserialize_with = "or_default")]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice {
    index: Option<u64>,
    #[serde(alias = "message", deserialize_with = "or_default")]
    delta: Delta,
    finish_reason: Option<String>,
}

/// Other fields, such as `reasoning_content`, are not for people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta {
    content: Value,
    refusal: Option<String>,
    #[serde(deserialize_with = "or_default")]
    tool_calls: Vec<CallDelta>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CallDelta {
    index: Option<u64>,
    id: Option<String>,
    #[serde(deserialize_with = "or_default")]
    function: FunctionDelta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Usage {
    #[serde(deserialize_with = "or_default")]
    prompt_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    completion_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    prompt_tokens_details: PromptDetails,
    /// DeepSeek's name for cached tokens.
    #[serde(deserialize_with = "or_default")]
    prompt_cache_hit_tokens: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    #[serde(deserialize_with = "or_default")]
    cached_tokens: u64,
}

impl Decoder {
    pub(in crate::providers) fn new(secret: Option<ApiKey>) -> Self {
        Self {
            calls: Vec::new(),
            arguments: 0,
            tokens: Tokens::default(),
            finished: false,
            spoken: false,
            filtered: false,
            done: false,
            secret,
        }
    }

    fn choice(
        &mut self,
        choice: Choice,
        out: &mut VecDeque<ModelEvent>,
    ) -> Result<(), ProviderError> {
        // One answer was asked for; others would be mixed into it.
        if choice.index.unwrap_or(0) != 0 {
            return Ok(());
        }
        let mut text = text_of(choice.delta.content)?;
        text.push_str(&choice.delta.refusal.unwrap_or_default());
        if !text.is_empty() {
            self.spoken = true;
            out.push_back(ModelEvent::Text(text));
        }
        for delta in choice.delta.tool_calls {
            self.call(delta)?;
        }
        match choice.finish_reason.as_deref() {
            // Some send an empty reason with every piece.
            None | Some("") => {}
            Some("error") => return Err(ProviderError::BrokenOff),
            Some(reason) => {
                self.filtered = reason == "content_filter";
                self.finished = true;
            }
        }
        Ok(())
    }

    fn call(&mut self, delta: CallDelta) -> Result<(), ProviderError> {
        let id = delta.id.unwrap_or_default();
        let name = delta.function.name.unwrap_or_default();
        let at = match self.find(delta.index, &id, &name) {
            Some(at) => at,
            None if self.calls.len() > MAX_CALLS => {
                return Err(ProviderError::TooLong("it asks for too many tools"));
            }
            None => {
                self.calls.push(Partial {
                    index: delta.index,
                    ..Partial::default()
                });
                self.calls.len() - 1
            }
        };
        let more = match delta.function.arguments {
            Value::Null => String::new(),
            Value::String(text) => text,
            object @ Value::Object(_) => object.to_string(),
            _ => {
                return Err(ProviderError::Malformed(
                    "the arguments of a tool are neither text nor an object",
                ));
            }
        };
        self.arguments += more.len();
        if self.arguments > MAX_ARGUMENTS {
            return Err(ProviderError::TooLong("the arguments of a tool"));
        }
        let Some(call) = self.calls.get_mut(at) else {
            return Ok(());
        };
        // Some repeat both with every piece.
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.arguments.push_str(&more);
        Ok(())
    }

    /// The call that a piece belongs to; `None` for the first piece of a new one.
    fn find(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        if !id.is_empty()
            && let Some(at) = self.calls.iter().position(|call| call.id == id)
        {
            return Some(at);
        }
        // Gemini gives every call of a round the same index, each with its own id and name.
        let fresh = |call: &Partial| !id.is_empty() && !call.id.is_empty() && !name.is_empty();
        match index {
            Some(_) => {
                let of_index = |call: &Partial| call.index == index;
                let at = self.calls.iter().rposition(of_index)?;
                (!fresh(&self.calls[at])).then_some(at)
            }
            None if name.is_empty() => self.calls.len().checked_sub(1),
            // Without an index a name begins a call.
            None => None,
        }
    }

    fn take_calls(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), ProviderError> {
        let calls = std::mem::take(&mut self.calls);
        for (at, call) in calls.into_iter().enumerate() {
            if call.name.is_empty() {
                return Err(ProviderError::Malformed(
                    "it asks for a tool without a name",
                ));
            }
            let id = match call.id.is_empty() {
                true => new_id(at),
                false => call.id,
            };
            out.push_back(ModelEvent::Call(ToolCall {
                id,
                name: call.name,
                arguments: arguments(&call.arguments)?,
            }));
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
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(Flow::More);
        }
        if data == DONE {
            self.done = true;
            return Ok(Flow::Over);
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| {
            ProviderError::Malformed("a piece of its stream is not what it should be")
        })?;
        if !chunk.error.is_null() {
            return Err(failure::of_stream(&chunk.error, self.secret.as_ref()));
        }
        if let Some(usage) = chunk.usage {
            self.tokens = Tokens {
                input: usage.prompt_tokens,
                cached: usage
                    .prompt_tokens_details
                    .cached_tokens
                    .max(usage.prompt_cache_hit_tokens),
                output: usage.completion_tokens,
            };
        }
        for choice in chunk.choices {
            self.choice(choice, out)?;
        }
        Ok(Flow::More)
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), ProviderError> {
        let said = self.spoken || !self.calls.is_empty();
        // An end is either said in so many words, or it is none.
        let over = self.finished || (self.done && said);
        if !over {
            return Err(ProviderError::BrokenOff);
        }
        if self.filtered && !said {
            return Err(ProviderError::Rejected {
                status: 200,
                text: "its filter let nothing of the answer through".to_owned(),
            });
        }
        self.take_calls(out)?;
        out.push_back(ModelEvent::Finished(self.tokens));
        Ok(())
    }
}

/// Text, or a list of parts of which those with text count.
fn text_of(content: Value) -> Result<String, ProviderError> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Array(parts) => Ok(parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect()),
        _ => Err(ProviderError::Malformed("its text is not text")),
    }
}

/// For a call that its server gave no id: ids are unique in a session's history.
fn new_id(at: usize) -> String {
    let mut random = [0; 8];
    // Without randomness the place in the round still tells the calls of a round apart.
    let _ = getrandom::fill(&mut random);
    format!("call_{}_{at}", data_encoding::HEXLOWER.encode(&random))
}

#[cfg(test)]
mod tests;
