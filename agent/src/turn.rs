//! One turn of the model loop as a pure state machine: events in, effects out.
//!
//! Decides what happens next. Calls no model, runs no tool, reads no clock and stores nothing; that
//! is `turn_driver`'s. A model answers with text, or asks for tools, whose results it sees in the next
//! round.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Calls of the model in one turn: a model that still asks for tools after this many is going in circles.
pub const MAX_ROUNDS: usize = 16;
/// Tool calls in one round; more is a runaway model.
pub const MAX_CALLS: usize = 16;
/// Text of one answer, in bytes: what fits into one frame even when all of it is escaped.
pub const MAX_TEXT: usize = 128 << 10;
/// Result of one tool as the model sees it, in bytes.
pub const MAX_RESULT: usize = 64 << 10;

/// What the model is told, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// By a person.
    User(String),
    /// By the model.
    Assistant {
        /// Text; may be empty when it only asks for tools.
        text: String,
        /// Tools that it asked for.
        calls: Vec<ToolCall>,
    },
    /// By a tool.
    Tool(ToolOutcome),
}

/// The model asks for a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// Names the call within the turn.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutcome {
    /// Of which call.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// Its result, or why there is none.
    pub result: Result<Value, String>,
}

/// What a turn has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read by models.
    pub input_tokens: u64,
    /// Tokens written by models.
    pub output_tokens: u64,
    /// Calls of models.
    pub model_calls: u64,
    /// Calls of tools.
    pub tool_calls: u64,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Begin, with what was said so far; the last is the person's message.
    Begin(Vec<Said>),
    /// The model wrote some text.
    Text(String),
    /// The model asks for a tool.
    Call(ToolCall),
    /// The model has finished its round.
    Finished {
        /// Tokens read.
        input_tokens: u64,
        /// Tokens written.
        output_tokens: u64,
    },
    /// The model failed.
    ModelFailed(String),
    /// A tool has answered.
    ToolDone(ToolOutcome),
    /// Somebody wants it to stop.
    Interrupt,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the model.
    CallModel(Vec<Said>),
    /// Run a tool, beside others.
    RunTool(ToolCall),
    /// Show text.
    ShowText(String),
    /// Show a tool's outcome.
    ShowOutcome(ToolOutcome),
    /// Drop the model's stream and all tools.
    StopAll,
    /// The turn is over. Always the last effect.
    End(End),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The answer, as far as it came.
    pub text: String,
    /// What was used.
    pub usage: Usage,
}

/// Why a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// Answered.
    Done,
    /// Stopped.
    Interrupted,
    /// Failed; the text is for people.
    Failed(String),
}

/// The machine.
#[derive(Debug, Default)]
pub struct Turn {
    state: State,
    said: Vec<Said>,
    answer: String,
    usage: Usage,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// The model speaks.
    Model {
        text: String,
        calls: Vec<ToolCall>,
    },
    /// Tools run; outcomes by the place of their call, so that the model sees them in its own order.
    Tools {
        order: Vec<String>,
        outcomes: BTreeMap<usize, ToolOutcome>,
    },
    Ended,
}

impl Turn {
    /// A turn that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it is over.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes an event and says what is to be done. Events that do not fit the state change nothing:
    /// they are late news of what was stopped.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        match (&mut self.state, event) {
            (State::Ended, _) => vec![],
            (_, Event::Interrupt) => self.stop(EndReason::Interrupted),
            (State::Idle, Event::Begin(said)) => {
                self.said = said;
                self.call_model()
            }
            (State::Model { .. }, Event::Text(piece)) => self.take_text(piece),
            (State::Model { calls, .. }, Event::Call(call)) => {
                if calls.len() == MAX_CALLS {
                    let text = format!("the model asked for more than {MAX_CALLS} tools at once");
                    return self.stop(EndReason::Failed(text));
                }
                if calls.iter().any(|known| known.id == call.id) {
                    let text = "the model gave two tool calls the same id".to_owned();
                    return self.stop(EndReason::Failed(text));
                }
                calls.push(call);
                vec![]
            }
            (
                State::Model { .. },
                Event::Finished {
                    input_tokens,
                    output_tokens,
                },
            ) => {
                self.usage.input_tokens += input_tokens;
                self.usage.output_tokens += output_tokens;
                self.round_finished()
            }
            (State::Model { .. }, Event::ModelFailed(text)) => self.stop(EndReason::Failed(text)),
            (State::Tools { order, outcomes }, Event::ToolDone(outcome)) => {
                let Some(place) = order.iter().position(|id| *id == outcome.id) else {
                    return vec![];
                };
                if outcomes.contains_key(&place) {
                    return vec![];
                }
                let mut effects = vec![Effect::ShowOutcome(outcome.clone())];
                outcomes.insert(place, outcome);
                if outcomes.len() == order.len() {
                    let outcomes = std::mem::take(outcomes);
                    self.said.extend(outcomes.into_values().map(Said::Tool));
                    effects.extend(self.call_model());
                }
                effects
            }
            _ => vec![],
        }
    }

    fn call_model(&mut self) -> Vec<Effect> {
        if self.usage.model_calls == MAX_ROUNDS as u64 {
            let text = format!("no answer after {MAX_ROUNDS} rounds of tools");
            return self.stop(EndReason::Failed(text));
        }
        self.usage.model_calls += 1;
        self.state = State::Model {
            text: String::new(),
            calls: vec![],
        };
        vec![Effect::CallModel(self.said.clone())]
    }

    fn take_text(&mut self, piece: String) -> Vec<Effect> {
        if self.answer.len() + piece.len() > MAX_TEXT {
            let text = format!("the answer grew above {MAX_TEXT} bytes");
            return self.stop(EndReason::Failed(text));
        }
        if let State::Model { text, .. } = &mut self.state {
            text.push_str(&piece);
        }
        self.answer.push_str(&piece);
        vec![Effect::ShowText(piece)]
    }

    fn round_finished(&mut self) -> Vec<Effect> {
        let State::Model { text, calls } = std::mem::take(&mut self.state) else {
            return vec![];
        };
        self.said.push(Said::Assistant {
            text,
            calls: calls.clone(),
        });
        if calls.is_empty() {
            self.state = State::Ended;
            return vec![Effect::End(self.end(EndReason::Done))];
        }
        self.usage.tool_calls += calls.len() as u64;
        let order = calls.iter().map(|call| call.id.clone()).collect();
        self.state = State::Tools {
            order,
            outcomes: BTreeMap::new(),
        };
        calls.into_iter().map(Effect::RunTool).collect()
    }

    fn stop(&mut self, reason: EndReason) -> Vec<Effect> {
        self.state = State::Ended;
        vec![Effect::StopAll, Effect::End(self.end(reason))]
    }

    fn end(&mut self, reason: EndReason) -> End {
        End {
            reason,
            text: std::mem::take(&mut self.answer),
            usage: self.usage,
        }
    }
}

#[cfg(test)]
mod tests;
