//! Does the effects of a turn: asks the models, runs tools beside each other, shows what comes, and
//! feeds the events back. Everything that runs for a turn lives in this one future and ends with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, ReadyChunks};
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use crate::models::{Choice, Models};
use crate::providers::{ModelEvent, ModelRequest, ProviderError};
use crate::sessions::Speaker;
use crate::tools::Tools;
use crate::turn::{Effect, End, EndReason, Event, Said, ToolCall, ToolOutcome, Turn, Verdict};

/// Time without a word for people after which a model is given up, whatever it does: the providers notice
/// a silent server far earlier, and a model may think for minutes.
const IDLE: Duration = Duration::from_secs(600);
/// Pieces that are ready at the same moment and shown together.
const CHUNK: usize = 64;

/// Something for whoever follows the turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Text of the answer.
    Text(String),
    /// What the turn is doing: a state, not a text for people.
    Status(&'static str),
    /// A tool is asked for.
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
    /// The models.
    pub models: Models,
    /// The tools.
    pub tools: Tools,
}

type Answers = ReadyChunks<BoxStream<'static, Result<ModelEvent, ProviderError>>>;

/// One turn that runs.
struct Drive<'a> {
    engine: &'a Engine,
    speaker: Arc<Speaker>,
    choices: &'a [Choice],
    answers: Option<Answers>,
    /// The model that answers now.
    speaking: usize,
    tools: FuturesUnordered<BoxFuture<'static, ToolOutcome>>,
    shown: Vec<Shown>,
    end: Option<End>,
}

/// Runs a turn to its end, with models that may answer, best first. `cancel` interrupts it.
pub async fn drive(
    engine: &Engine,
    choices: &[Choice],
    speaker: Arc<Speaker>,
    said: Vec<Said>,
    sink: &dyn Sink,
    cancel: &CancellationToken,
) -> End {
    let mut turn = Turn::new();
    let mut drive = Drive {
        engine,
        speaker,
        choices,
        answers: None,
        speaking: 0,
        tools: FuturesUnordered::new(),
        shown: Vec::new(),
        end: None,
    };
    let rooms = choices.iter().map(Choice::room).collect();
    let mut events = VecDeque::from([Event::Begin { said, rooms }]);
    loop {
        while let Some(event) = events.pop_front() {
            for effect in turn.handle(event) {
                events.extend(drive.perform(effect).await);
            }
        }
        let shown = std::mem::take(&mut drive.shown);
        if !shown.is_empty()
            && let Err(failed) = sink.show(shown).await
        {
            return end_unshown(&mut turn, drive.end, failed);
        }
        if let Some(end) = drive.end {
            return end;
        }
        events = drive.next(cancel).await.into();
    }
}

impl Drive<'_> {
    /// Does an effect; what is known at once comes back as an event.
    async fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::CallModel { said, choice } => self.call_model(said, choice),
            Effect::Compact { .. } => {
                let text = "the conversation is too long for the model; begin a new session";
                return Some(Event::CompactionFailed(text.to_owned()));
            }
            Effect::Decide(call) => {
                let verdict = match self.engine.tools.permit(&self.speaker, &call) {
                    Ok(()) => Verdict::Run,
                    Err(error) => Verdict::Refuse(error.to_string()),
                };
                return Some(Event::Decided {
                    id: call.id,
                    verdict,
                });
            }
            Effect::RunTool { call, .. } => {
                let registry = self.engine.tools.clone();
                let speaker = self.speaker.clone();
                self.tools
                    .push(async move { registry.run(speaker, call).await }.boxed());
            }
            Effect::AwaitApproval(_) | Effect::Keep => {}
            Effect::ShowText(text) => show_text(&mut self.shown, text),
            Effect::ShowCall(call) => self.shown.push(Shown::Call(call)),
            Effect::ShowOutcome(outcome) => self.shown.push(Shown::Outcome(outcome)),
            Effect::ShowStatus(status) => self.shown.push(Shown::Status(status)),
            Effect::StopAll => {
                self.answers = None;
                self.tools = FuturesUnordered::new();
            }
            Effect::End(end) => self.end = Some(end),
        }
        None
    }

    fn call_model(&mut self, said: Vec<Said>, choice: usize) {
        let Some(chosen) = self.choices.get(choice) else {
            return;
        };
        let request = ModelRequest {
            model: chosen.model.clone(),
            system: String::new(),
            said,
            tools: self.engine.tools.specs(&self.speaker),
            max_output_tokens: chosen.max_output_tokens,
        };
        self.speaking = choice;
        self.answers = Some(chosen.provider.ask(request).ready_chunks(CHUNK));
    }

    async fn next(&mut self, cancel: &CancellationToken) -> Vec<Event> {
        let price = self
            .choices
            .get(self.speaking)
            .and_then(|choice| choice.price);
        let events = tokio::select! {
            biased;
            () = cancel.cancelled() => vec![Event::Interrupt],
            chunk = next_answers(&mut self.answers) => {
                chunk.into_iter().map(|answer| event_of(answer, price)).collect()
            }
            Some(outcome) = self.tools.next() => vec![Event::ToolDone(outcome)],
        };
        let ends_round = |event: &Event| {
            matches!(
                event,
                Event::Finished { .. } | Event::ModelFailed(_) | Event::ContextTooLong(_)
            )
        };
        if events.iter().any(ends_round) {
            self.answers = None;
        }
        events
    }
}

async fn next_answers(answers: &mut Option<Answers>) -> Vec<Result<ModelEvent, ProviderError>> {
    let Some(stream) = answers else {
        return std::future::pending().await;
    };
    match tokio::time::timeout(IDLE, stream.next()).await {
        Ok(Some(chunk)) => chunk,
        Ok(None) => vec![Err(ProviderError::BrokenOff)],
        Err(_) => vec![Err(ProviderError::Silent(IDLE.as_secs()))],
    }
}

fn event_of(
    answer: Result<ModelEvent, ProviderError>,
    price: Option<crate::models::Price>,
) -> Event {
    match answer {
        Ok(ModelEvent::Text(text)) => Event::Text(text),
        Ok(ModelEvent::Call(call)) => Event::Call(call),
        Ok(ModelEvent::Finished(tokens)) => Event::Finished {
            tokens,
            cost: price.map(|price| price.cost(tokens)),
        },
        Err(error @ ProviderError::ContextTooLong) => Event::ContextTooLong(error.to_string()),
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
    let (text, usage, choice) = end
        .or(stopped)
        .map(|end| (end.text, end.usage, end.choice))
        .unwrap_or_default();
    End {
        reason: EndReason::Failed(failed.to_string()),
        text,
        usage,
        choice,
    }
}
