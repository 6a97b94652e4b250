//! A model that says what it was told to say, round by round, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use homing_agent::models::{Choice, Models};
use homing_agent::providers::{ModelEvent, ModelRequest, Provider, ProviderError};
use homing_agent::turn::{Said, Tokens, ToolCall};
use serde_json::Value;

type Round = Vec<Result<ModelEvent, ProviderError>>;

/// After its last round it is silent for ever.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rounds: Mutex<VecDeque<Round>>,
    asked: Mutex<Vec<ModelRequest>>,
}

impl Script {
    pub(crate) fn new(rounds: Vec<Round>) -> Arc<Self> {
        Arc::new(Self {
            rounds: Mutex::new(rounds.into()),
            asked: Mutex::default(),
        })
    }

    pub(crate) fn models(self: &Arc<Self>) -> Models {
        self.models_with(100_000)
    }

    /// One that takes pictures.
    pub(crate) fn models_that_see(self: &Arc<Self>) -> Models {
        Models::fixed(vec![Choice {
            images: true,
            ..self.choice(100_000)
        }])
    }

    /// Says this in the round after those that it was told of before.
    pub(crate) fn push(&self, round: Round) {
        self.rounds.lock().unwrap().push_back(round);
    }

    /// With a context of so many tokens.
    pub(crate) fn models_with(self: &Arc<Self>, context_tokens: u32) -> Models {
        Models::fixed(vec![self.choice(context_tokens)])
    }

    fn choice(self: &Arc<Self>, context_tokens: u32) -> Choice {
        Choice {
            provider: self.clone(),
            model: "script".into(),
            label: "script".into(),
            context_tokens,
            max_output_tokens: 0,
            images: false,
            price: None,
        }
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The questions, oldest first.
    pub(crate) fn questions(&self) -> Vec<ModelRequest> {
        self.asked.lock().unwrap().clone()
    }

    /// What tools told the model, as it reads it, in the newest question.
    pub(crate) fn told(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let newest = asked.last().map(|request| request.said.clone());
        let outcomes = newest.into_iter().flatten().filter_map(|said| match said {
            Said::Tool(outcome) => Some(outcome.text()),
            _ => None,
        });
        outcomes.collect()
    }

    /// Names of the tools that the model was shown last.
    pub(crate) fn tools(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let newest = asked.last().map(|request| request.tools.clone());
        newest.into_iter().flatten().map(|tool| tool.name).collect()
    }
}

impl Provider for Script {
    fn ask(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        self.asked.lock().unwrap().push(request);
        match self.rounds.lock().unwrap().pop_front() {
            Some(round) => stream::iter(round).boxed(),
            None => stream::pending().boxed(),
        }
    }
}

/// A round that asks for these tools.
pub(crate) fn calls(calls: &[(&str, Value)]) -> Round {
    let mut round: Round = vec![];
    for (number, (name, arguments)) in calls.iter().enumerate() {
        round.push(Ok(ModelEvent::Call(ToolCall {
            id: format!("c{number}"),
            name: (*name).to_owned(),
            arguments: arguments.clone(),
        })));
    }
    round.push(finished());
    round
}

/// A round that answers.
pub(crate) fn says(text: &str) -> Round {
    vec![Ok(ModelEvent::Text(text.into())), finished()]
}

fn finished() -> Result<ModelEvent, ProviderError> {
    Ok(ModelEvent::Finished(Tokens {
        input: 1,
        cached: 0,
        output: 1,
    }))
}
