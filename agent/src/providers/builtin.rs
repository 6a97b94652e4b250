//! The assistant that needs no model: it knows a few questions, asks read-only tools and says the
//! answer in words. Same question, same tools, same words: nothing here is random.
//!
//! Which words name which topic is in `topics`, how results become sentences in `sentences`.

mod sentences;
mod topics;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::{ModelEvent, ModelRequest, Provider, ProviderError};
use crate::turn::{Said, Tokens, ToolCall, ToolOutcome};

/// Its name, as a model and as a provider.
pub const BUILTIN: &str = "built-in";

/// The assistant.
#[derive(Debug, Clone)]
pub struct BuiltinAssistant {
    pace: Duration,
}

impl BuiltinAssistant {
    /// `pace` is the pause after each word.
    #[must_use]
    pub fn new(pace: Duration) -> Self {
        Self { pace }
    }
}

impl Provider for BuiltinAssistant {
    fn ask(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let events = answer(&request);
        let pace = self.pace;
        stream::iter(events)
            .then(move |event| async move {
                if matches!(event, ModelEvent::Text(_)) && !pace.is_zero() {
                    tokio::time::sleep(pace).await;
                }
                Ok(event)
            })
            .boxed()
    }
}

fn answer(request: &ModelRequest) -> Vec<ModelEvent> {
    let outcomes: Vec<&ToolOutcome> = request
        .said
        .iter()
        .rev()
        .map_while(|said| match said {
            Said::Tool(outcome) => Some(outcome),
            _ => None,
        })
        .collect();
    let question = request.said.iter().rev().find_map(Said::by_person);
    let question = question.unwrap_or_default();
    let topic = topics::topic_of(question);
    let mut events = Vec::new();
    let needed = topic.map_or(vec![], topics::tools_of);
    if outcomes.is_empty() && !needed.is_empty() {
        events.extend(needed.into_iter().map(|(name, arguments)| {
            ModelEvent::Call(ToolCall {
                id: format!("call-{name}"),
                name: name.to_owned(),
                arguments,
            })
        }));
    } else {
        let text = sentences::say(topic, &outcomes);
        events.extend(words(&text).map(|word| ModelEvent::Text(word.to_owned())));
    }
    let written = events.len() as u64;
    let read = question.split_whitespace().count() as u64;
    events.push(ModelEvent::Finished(Tokens {
        input: read,
        cached: 0,
        output: written,
    }));
    events
}

/// Words with the space that follows them, so that joined they are the text again.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(text: &str) -> Vec<ModelEvent> {
        answer(&ModelRequest {
            said: vec![Said::User(text.into())],
            tools: vec![],
            ..ModelRequest::default()
        })
    }

    fn text_of(events: &[ModelEvent]) -> String {
        let text = |event: &ModelEvent| match event {
            ModelEvent::Text(text) => text.clone(),
            _ => String::new(),
        };
        events.iter().map(text).collect()
    }

    #[test]
    fn an_unknown_question_is_told_that_no_model_is_configured_and_what_works() {
        let text = text_of(&ask("write a poem"));
        assert!(text.contains("No model is configured"), "{text}");
        assert!(text.contains("status, cpu, memory"), "{text}");
    }

    #[test]
    fn a_question_about_the_machine_asks_a_tool_first_and_then_says_its_numbers() {
        let events = ask("how much memory");
        assert!(matches!(&events[0], ModelEvent::Call(call) if call.name == "system"));
        let result = Ok(json!({"memory_used": 2e9, "memory_total": 8e9}));
        let outcome = ToolOutcome {
            id: "call-system".into(),
            name: "system".into(),
            result,
        };
        let said = vec![Said::User("how much memory".into()), Said::Tool(outcome)];
        let text = text_of(&answer(&ModelRequest {
            said,
            tools: vec![],
            ..ModelRequest::default()
        }));
        assert_eq!(text, "Memory: 2.0 of 8.0 GB in use.");
    }

    #[test]
    fn a_tool_that_was_refused_is_named_with_the_reason() {
        let outcome = ToolOutcome {
            id: "call-system".into(),
            name: "system".into(),
            result: Err("the scope status.read is missing".into()),
        };
        let said = vec![Said::User("cpu".into()), Said::Tool(outcome)];
        let text = text_of(&answer(&ModelRequest {
            said,
            tools: vec![],
            ..ModelRequest::default()
        }));
        assert_eq!(
            text,
            "I could not ask system: the scope status.read is missing."
        );
    }
}
