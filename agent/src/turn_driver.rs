//! Does the effects of a turn: asks the provider, runs tools beside each other, shows what comes, and
//! feeds the events back. Everything that runs for a turn lives in this one future and ends with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, ReadyChunks};
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::providers::{ModelEvent, ModelRequest, Provider, ProviderError};
use crate::sessions::Speaker;
use crate::tools::Tools;
use crate::turn::{Effect, End, EndReason, Event, Said, ToolCall, ToolOutcome, Turn};

/// Silence of a model after which it is given up.
const IDLE: Duration = Duration::from_secs(60);
/// Pieces that are ready at the same moment and shown together.
const CHUNK: usize = 64;

/// Something for whoever follows the turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Text of the answer.
    Text(String),
    /// A tool begins.
    Call(ToolCall),
    /// A tool has ended.
    Outcome(ToolOutcome),
}

/// What could not be shown is lost; the turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer could not be stored")]
pub struct ShowFailed;

/// Where a turn shows itself.
pub trait Sink: Send + Sync {
    /// Shows, in order. Slow followers do not slow the turn.
    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), ShowFailed>>;
}

/// What a turn works with.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The model.
    pub provider: Arc<dyn Provider>,
    /// The tools.
    pub tools: Tools,
}

type Answers = ReadyChunks<BoxStream<'static, Result<ModelEvent, ProviderError>>>;

/// Runs a turn to its end. `cancel` interrupts it.
pub async fn drive(
    engine: &Engine,
    speaker: Arc<Speaker>,
    said: Vec<Said>,
    sink: &dyn Sink,
    cancel: &CancellationToken,
) -> End {
    let mut turn = Turn::new();
    let mut effects: VecDeque<Effect> = turn.handle(Event::Begin(said)).into();
    let mut answers: Option<Answers> = None;
    let mut tools = FuturesUnordered::new();
    loop {
        let mut shown = Vec::new();
        let mut end = None;
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::CallModel(said) => {
                    let request = ModelRequest {
                        said,
                        tools: engine.tools.specs(&speaker),
                    };
                    answers = Some(engine.provider.ask(request).ready_chunks(CHUNK));
                }
                Effect::RunTool(call) => {
                    shown.push(Shown::Call(call.clone()));
                    let registry = engine.tools.clone();
                    let speaker = speaker.clone();
                    tools.push(async move { registry.run(speaker, call).await }.boxed());
                }
                Effect::ShowText(text) => show_text(&mut shown, text),
                Effect::ShowOutcome(outcome) => shown.push(Shown::Outcome(outcome)),
                Effect::StopAll => {
                    answers = None;
                    tools = FuturesUnordered::new();
                }
                Effect::End(ending) => end = Some(ending),
            }
        }
        if !shown.is_empty()
            && let Err(failed) = sink.show(shown).await
        {
            return end_unshown(&mut turn, end, failed);
        }
        if let Some(end) = end {
            return end;
        }
        let events = tokio::select! {
            biased;
            () = cancel.cancelled() => vec![Event::Interrupt],
            chunk = next_answers(&mut answers) => chunk,
            Some(outcome) = tools.next() => vec![Event::ToolDone(outcome)],
        };
        for event in events {
            if matches!(event, Event::Finished { .. } | Event::ModelFailed(_)) {
                answers = None;
            }
            effects.extend(turn.handle(event));
        }
    }
}

async fn next_answers(answers: &mut Option<Answers>) -> Vec<Event> {
    let Some(stream) = answers else {
        return std::future::pending().await;
    };
    match tokio::time::timeout(IDLE, stream.next()).await {
        Ok(Some(chunk)) => chunk.into_iter().map(event_of).collect(),
        Ok(None) => vec![Event::ModelFailed(ProviderError::BrokenOff.to_string())],
        Err(_) => vec![Event::ModelFailed(
            ProviderError::Silent(IDLE.as_secs()).to_string(),
        )],
    }
}

fn event_of(answer: Result<ModelEvent, ProviderError>) -> Event {
    match answer {
        Ok(ModelEvent::Text(text)) => Event::Text(text),
        Ok(ModelEvent::Call(call)) => Event::Call(call),
        Ok(ModelEvent::Finished {
            input_tokens,
            output_tokens,
        }) => Event::Finished {
            input_tokens,
            output_tokens,
        },
        Err(error) => Event::ModelFailed(error.to_string()),
    }
}

fn show_text(shown: &mut Vec<Shown>, text: String) {
    if let Some(Shown::Text(before)) = shown.last_mut() {
        before.push_str(&text);
    } else {
        shown.push(Shown::Text(text));
    }
}

fn end_unshown(turn: &mut Turn, end: Option<End>, failed: ShowFailed) -> End {
    let stopped = turn
        .handle(Event::Interrupt)
        .into_iter()
        .find_map(|effect| match effect {
            Effect::End(end) => Some(end),
            _ => None,
        });
    let (text, usage) = end
        .or(stopped)
        .map(|end| (end.text, end.usage))
        .unwrap_or_default();
    End {
        reason: EndReason::Failed(failed.to_string()),
        text,
        usage,
    }
}
