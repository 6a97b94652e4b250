//! One turn of the model loop as a pure state machine: events in, effects out.
//!
//! Decides what happens next. Calls no model, runs no tool, reads no clock and stores nothing; that
//! is `turn_driver`'s. A model answers with text, or asks for tools, whose results it sees in the next
//! round. The machine can be written down and read again, so that a turn which waits for a person's
//! approval outlives the process.

mod compaction;
mod context;
mod events;
mod silence;
mod words;

use serde::{Deserialize, Serialize};

pub use compaction::Plan;
pub(crate) use compaction::shorten;
pub use context::{PRUNED, prune, size};
pub use events::{Effect, End, EndReason, Event, Verdict};
pub use silence::NO_REPLY;
pub use words::{IMAGE, Said, Tokens, ToolCall, ToolOutcome, Usage};

/// Calls of the model in one turn: a model that still asks for tools after this many is going in circles.
pub const MAX_ROUNDS: usize = 16;
/// Tool calls in one round; more is a runaway model.
pub const MAX_CALLS: usize = 16;
/// Text of one answer, in bytes: what fits into one frame even when all of it is escaped.
pub const MAX_TEXT: usize = 128 << 10;
/// Result of one tool as the model sees it, in bytes.
pub const MAX_RESULT: usize = 64 << 10;
/// Messages that a model sees; more are told shorter, however small they are: a model loses its thread,
/// and so many are read from the disk for every turn.
pub const MAX_SAID: usize = 400;
/// Times that what was said may be told shorter in one turn; a turn that needs more is going in circles.
pub const MAX_COMPACTIONS: usize = 3;

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    state: State,
    said: Vec<Said>,
    rooms: Vec<usize>,
    choice: usize,
    compactions: usize,
    /// Calls of models that were not for telling something shorter.
    #[serde(default)]
    rounds: usize,
    answer: String,
    usage: Usage,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    Idle,
    /// The model speaks.
    Model {
        text: String,
        /// Bytes of it that were shown.
        #[serde(default)]
        shown: usize,
        calls: Vec<ToolCall>,
    },
    /// What was said is told shorter.
    Compacting,
    /// Tools are decided about, waited for, running or done, in the model's own order.
    Tools(Vec<Open>),
    Ended,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    call: ToolCall,
    stage: Stage,
    /// Under which approval it runs, if somebody was asked.
    approval: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Stage {
    Deciding,
    Asked,
    Running,
    Done(ToolOutcome),
}

impl Turn {
    /// A turn that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was said of the answer so far, as the model said it.
    #[must_use]
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// Whether it is over.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// What the person said, while it is still told as it was said.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.said.iter().rev().find_map(|said| match said {
            Said::User(text) | Said::Pictured { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    /// Whether it waits for a person.
    #[must_use]
    pub fn waits_for_approval(&self) -> bool {
        self.has_open(|one| one.stage == Stage::Asked)
    }

    /// Whether it can go on after a restart: somebody was asked about a call that has no outcome yet.
    #[must_use]
    pub fn outlives_restart(&self) -> bool {
        let done = |one: &Open| matches!(one.stage, Stage::Done(_));
        self.has_open(|one| one.approval.is_some() && !done(one))
    }

    fn has_open(&self, which: impl Fn(&Open) -> bool) -> bool {
        match &self.state {
            State::Tools(open) => open.iter().any(which),
            _ => false,
        }
    }

    /// Takes an event and says what is to be done. Events that do not fit the state change nothing:
    /// they are late news of what was stopped.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        match (&mut self.state, event) {
            (State::Ended, _) => vec![],
            (_, Event::Interrupt) => self.stop(EndReason::Interrupted),
            (State::Idle, Event::Begin { said, rooms }) => {
                self.said = said;
                self.rooms = rooms;
                self.call_model()
            }
            (_, Event::Resume) => self.resume(),
            (State::Model { .. }, Event::Text(piece)) => self.take_text(piece),
            (State::Model { .. }, Event::Call(call)) => self.take_call(call),
            (State::Model { .. }, Event::Finished { tokens, cost }) => {
                self.usage.add(tokens, cost);
                self.round_finished()
            }
            (State::Model { .. } | State::Compacting, Event::ModelFailed(text)) => {
                self.model_failed(text)
            }
            (State::Model { .. }, Event::ContextTooLong(text)) => self.compact(text),
            (State::Model { .. } | State::Compacting, Event::OverBudget(text)) => {
                self.stop(EndReason::OverBudget(text))
            }
            (State::Compacting, Event::Compacted { said, usage }) => {
                self.usage.merge(usage);
                self.said = said;
                self.call_model()
            }
            (State::Compacting, Event::CompactionFailed(text)) => {
                self.stop(EndReason::Failed(text))
            }
            (State::Tools(_), event) => self.tool_event(event),
            _ => vec![],
        }
    }

    fn call_model(&mut self) -> Vec<Effect> {
        if self.rounds == MAX_ROUNDS {
            let text = format!("no answer after {MAX_ROUNDS} rounds of tools");
            return self.stop(EndReason::Failed(text));
        }
        let Some(room) = self.rooms.get(self.choice).copied() else {
            return self.stop(EndReason::Failed("there is no model to ask".to_owned()));
        };
        prune(&mut self.said, room);
        if size(&self.said) > room {
            return self.compact(format!(
                "the conversation is longer than the {room} bytes that the prompt and the tools leave of the model's context"
            ));
        }
        if self.said.len() > MAX_SAID {
            return self.compact(format!(
                "the conversation has more than {MAX_SAID} messages"
            ));
        }
        self.rounds += 1;
        self.usage.model_calls += 1;
        self.state = State::Model {
            text: String::new(),
            shown: 0,
            calls: vec![],
        };
        vec![Effect::CallModel {
            said: self.said.clone(),
            choice: self.choice,
        }]
    }

    /// `why` is what people are told when it does not help any more.
    fn compact(&mut self, why: String) -> Vec<Effect> {
        if self.compactions == MAX_COMPACTIONS {
            return self.stop(EndReason::Failed(why));
        }
        self.compactions += 1;
        self.state = State::Compacting;
        let room = self.rooms.get(self.choice).copied().unwrap_or(0);
        vec![
            Effect::ShowStatus("compacting"),
            Effect::Compact {
                said: self.said.clone(),
                choice: self.choice,
                // A model that refuses what should fit counts differently: each try asks for less.
                room: room >> (self.compactions - 1),
            },
        ]
    }

    /// What may still become [`NO_REPLY`] is held back.
    fn take_text(&mut self, piece: String) -> Vec<Effect> {
        let State::Model { text, .. } = &mut self.state else {
            return vec![];
        };
        if self.answer.len() + text.len() + piece.len() > MAX_TEXT {
            let text = format!("the answer grew above {MAX_TEXT} bytes");
            return self.stop(EndReason::Failed(text));
        }
        text.push_str(&piece);
        match silence::may_become(text) {
            true => vec![],
            false => self.show_rest(),
        }
    }

    /// Shows what the model has said in this round and nobody has seen yet.
    fn show_rest(&mut self) -> Vec<Effect> {
        let State::Model { text, shown, .. } = &mut self.state else {
            return vec![];
        };
        let mut piece = text[*shown..].to_owned();
        if piece.is_empty() {
            return vec![];
        }
        // What was said before the tools ran is a paragraph of its own.
        if *shown == 0 && !self.answer.is_empty() && !self.answer.ends_with('\n') {
            piece.insert_str(0, "\n\n");
        }
        *shown = text.len();
        self.answer.push_str(&piece);
        vec![Effect::ShowText(piece)]
    }

    fn take_call(&mut self, call: ToolCall) -> Vec<Effect> {
        let State::Model { calls, .. } = &mut self.state else {
            return vec![];
        };
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

    /// The next model answers instead, unless somebody has already read a part of this answer.
    fn model_failed(&mut self, text: String) -> Vec<Effect> {
        let shown = match &self.state {
            State::Model { shown, .. } => *shown > 0,
            State::Compacting => false,
            _ => return vec![],
        };
        if shown || self.choice + 1 >= self.rooms.len() {
            return self.stop(EndReason::Failed(text));
        }
        self.choice += 1;
        let mut effects = vec![Effect::ShowStatus("fallback")];
        effects.extend(self.call_model());
        effects
    }

    fn round_finished(&mut self) -> Vec<Effect> {
        let State::Model { text, .. } = &self.state else {
            return vec![];
        };
        let silent = silence::is(text);
        let mut effects = match silent {
            true => vec![],
            false => self.show_rest(),
        };
        let State::Model { text, calls, .. } = std::mem::take(&mut self.state) else {
            return vec![];
        };
        self.said.push(Said::Assistant {
            text,
            calls: calls.clone(),
        });
        if calls.is_empty() {
            self.state = State::Ended;
            let reason = match silent && self.answer.is_empty() {
                true => EndReason::NoReply,
                false => EndReason::Done,
            };
            effects.push(Effect::End(self.end(reason)));
            return effects;
        }
        self.usage.tool_calls += calls.len() as u64;
        for call in &calls {
            effects.push(Effect::ShowCall(call.clone()));
            effects.push(Effect::Decide(call.clone()));
        }
        let open = |call| Open {
            call,
            stage: Stage::Deciding,
            approval: None,
        };
        self.state = State::Tools(calls.into_iter().map(open).collect());
        effects
    }

    fn tool_event(&mut self, event: Event) -> Vec<Effect> {
        let State::Tools(open) = &mut self.state else {
            return vec![];
        };
        match event {
            Event::Decided { id, verdict } => {
                let deciding = |one: &&mut Open| one.call.id == id && one.stage == Stage::Deciding;
                let Some(one) = open.iter_mut().find(deciding) else {
                    return vec![];
                };
                match verdict {
                    Verdict::Run => {
                        one.stage = Stage::Running;
                        vec![Effect::RunTool {
                            call: one.call.clone(),
                            approval: None,
                        }]
                    }
                    Verdict::Ask { approval } => {
                        one.stage = Stage::Asked;
                        one.approval = Some(approval);
                        vec![Effect::Keep, Effect::AwaitApproval(approval)]
                    }
                    Verdict::Refuse(why) => {
                        let outcome = refused(&one.call, why);
                        self.take_outcome(outcome)
                    }
                }
            }
            Event::Approved { approval } => {
                let Some(one) = asked(open, approval) else {
                    return vec![];
                };
                one.stage = Stage::Running;
                let call = one.call.clone();
                vec![
                    Effect::Keep,
                    Effect::RunTool {
                        call,
                        approval: Some(approval),
                    },
                ]
            }
            Event::Denied { approval, why } => match asked(open, approval) {
                Some(one) => {
                    let outcome = refused(&one.call, why);
                    self.take_outcome(outcome)
                }
                None => vec![],
            },
            Event::ToolDone(outcome) => {
                let running = |one: &Open| one.call.id == outcome.id && one.stage == Stage::Running;
                match open.iter().any(running) {
                    true => self.take_outcome(outcome),
                    false => vec![],
                }
            }
            _ => vec![],
        }
    }

    fn take_outcome(&mut self, outcome: ToolOutcome) -> Vec<Effect> {
        let State::Tools(open) = &mut self.state else {
            return vec![];
        };
        if let Some(one) = open.iter_mut().find(|one| one.call.id == outcome.id) {
            one.stage = Stage::Done(outcome.clone());
        }
        let mut effects = vec![Effect::ShowOutcome(outcome)];
        let kept = open.iter().any(|one| one.approval.is_some());
        if let Some(done) = all_done(open) {
            self.said.extend(done.into_iter().map(Said::Tool));
            let next = self.call_model();
            // What was kept is not how it stands any more.
            effects.extend(kept.then_some(Effect::Keep));
            effects.extend(next);
        } else if kept {
            effects.push(Effect::Keep);
        }
        effects
    }

    /// What waits for a person goes on waiting; what runs under an approval is asked about again,
    /// because only the approval knows whether it was used. What else ran when the process died may
    /// have done its work or not: the model is told so, and nothing is done twice.
    fn resume(&mut self) -> Vec<Effect> {
        if !self.outlives_restart() {
            let text = "the agent was restarted while it answered; ask again".to_owned();
            return self.stop(EndReason::Failed(text));
        }
        let State::Tools(open) = &mut self.state else {
            return vec![];
        };
        let mut effects = Vec::new();
        for one in open {
            match (&one.stage, one.approval) {
                (Stage::Asked | Stage::Running, Some(approval)) => {
                    one.stage = Stage::Asked;
                    effects.push(Effect::AwaitApproval(approval));
                }
                (Stage::Deciding, _) => effects.push(Effect::Decide(one.call.clone())),
                (Stage::Asked | Stage::Running, None) => {
                    let why = "the agent was restarted while this ran; whether it took effect is not known";
                    let outcome = refused(&one.call, why.to_owned());
                    one.stage = Stage::Done(outcome.clone());
                    effects.push(Effect::ShowOutcome(outcome));
                }
                (Stage::Done(_), _) => {}
            }
        }
        effects
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
            choice: self.choice,
        }
    }
}

fn asked(open: &mut [Open], approval: i64) -> Option<&mut Open> {
    open.iter_mut()
        .find(|one| one.stage == Stage::Asked && one.approval == Some(approval))
}

fn all_done(open: &[Open]) -> Option<Vec<ToolOutcome>> {
    let outcome = |one: &Open| match &one.stage {
        Stage::Done(outcome) => Some(outcome.clone()),
        _ => None,
    };
    open.iter().map(outcome).collect()
}

fn refused(call: &ToolCall, why: String) -> ToolOutcome {
    ToolOutcome {
        id: call.id.clone(),
        name: call.name.clone(),
        result: Err(why),
    }
}

#[cfg(test)]
mod tests;
