//! Does the effects of a turn: asks the models, the policy and people, runs tools beside each other,
//! shows what comes, and feeds the events back. Everything that runs for a turn lives in this one
//! future and ends with it.

mod answers;
mod metering;
mod sink;

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

pub use sink::{ShowFailed, Shown, Sink};

use answers::{Answers, ends_round};
use metering::Metering;
use sink::show_text;

use crate::approvals::{Approvals, Origin, Outcome};
use crate::budgets::Budgets;
use crate::models::{Choice, Models};
use crate::providers::ModelRequest;
use crate::tools::{Permission, Tools};
use crate::turn::{Effect, End, EndReason, Event, Said, ToolCall, ToolOutcome, Turn, Verdict};

/// What a turn works with.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The models.
    pub models: Models,
    /// The tools.
    pub tools: Tools,
    /// Where people are asked.
    pub approvals: Approvals,
    /// What models may cost.
    pub budgets: Budgets,
}

/// How a turn begins.
#[derive(Debug)]
pub enum Begin {
    /// With what was said; the last is the person's message.
    Anew(Vec<Said>),
    /// Where an earlier process left it.
    Again(Box<Turn>),
}

/// One turn that runs.
struct Drive<'a> {
    engine: &'a Engine,
    origin: Origin,
    choices: &'a [Choice],
    sink: &'a dyn Sink,
    answers: Option<Answers>,
    /// The model that answers now.
    speaking: usize,
    /// What is set aside for its answer.
    metering: Metering,
    tools: FuturesUnordered<BoxFuture<'static, ToolOutcome>>,
    people: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Whether the sink was told that only a person is waited for.
    waiting: bool,
    shown: Vec<Shown>,
    end: Option<End>,
}

/// Runs a turn to its end, with models that may answer, best first. `cancel` interrupts it. `None`
/// when it was cancelled and goes on after a restart.
pub async fn drive(
    engine: &Engine,
    choices: &[Choice],
    origin: Origin,
    begin: Begin,
    sink: &dyn Sink,
    cancel: &CancellationToken,
) -> Option<End> {
    let mut drive = Drive {
        engine,
        origin,
        choices,
        sink,
        answers: None,
        speaking: 0,
        metering: Metering::new(engine.budgets.clone()),
        tools: FuturesUnordered::new(),
        people: FuturesUnordered::new(),
        waiting: false,
        shown: Vec::new(),
        end: None,
    };
    let (mut turn, first) = match begin {
        Begin::Anew(said) => {
            let rooms = choices.iter().map(Choice::room).collect();
            (Turn::new(), Event::Begin { said, rooms })
        }
        Begin::Again(turn) => (*turn, Event::Resume),
    };
    let mut events = VecDeque::from([first]);
    loop {
        if let Err(failed) = drive.handle(&mut turn, events, cancel).await {
            return Some(end_unshown(&mut turn, drive.end, failed));
        }
        if let Some(end) = drive.end {
            return Some(end);
        }
        drive.tell_waiting(&turn).await;
        events = drive.next(cancel).await.into();
        let stopped = events.front() == Some(&Event::Interrupt);
        if stopped && sink.goes_on_later() && turn.outlives_restart() {
            return None;
        }
    }
}

impl Drive<'_> {
    async fn handle(
        &mut self,
        turn: &mut Turn,
        mut events: VecDeque<Event>,
        cancel: &CancellationToken,
    ) -> Result<(), ShowFailed> {
        while let Some(event) = events.pop_front() {
            for effect in turn.handle(event) {
                match effect {
                    Effect::Keep => self.keep(turn).await?,
                    Effect::Decide(call) => events.push_back(self.decide(call, cancel).await?),
                    Effect::CallModel { said, choice } => {
                        events.extend(self.call_model(said, choice).await);
                    }
                    Effect::StopAll => self.stop_all().await,
                    effect => events.extend(self.perform(effect)),
                }
            }
        }
        self.show().await
    }

    /// Does an effect; what is known at once comes back as an event.
    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Compact { .. } => {
                let text = "the conversation is too long for the model; begin a new session";
                return Some(Event::CompactionFailed(text.to_owned()));
            }
            Effect::RunTool { call, approval } => {
                let (engine, origin) = (self.engine.clone(), self.origin.clone());
                self.tools
                    .push(async move { run_tool(engine, origin, call, approval).await }.boxed());
            }
            Effect::AwaitApproval(id) => {
                let approvals = self.engine.approvals.clone();
                let user = self.origin.speaker.user_id;
                self.people
                    .push(async move { answer(approvals.outcome(user, id).await, id) }.boxed());
            }
            Effect::ShowText(text) => show_text(&mut self.shown, text),
            Effect::ShowCall(call) => self.shown.push(Shown::Call(call)),
            Effect::ShowOutcome(outcome) => self.shown.push(Shown::Outcome(outcome)),
            Effect::ShowStatus(status) => self.shown.push(Shown::Status(status)),
            Effect::End(end) => self.end = Some(end),
            // These wait, so `handle` does them.
            Effect::Keep | Effect::Decide(_) | Effect::CallModel { .. } | Effect::StopAll => {}
        }
        None
    }

    async fn keep(&mut self, turn: &Turn) -> Result<(), ShowFailed> {
        let checkpoint = match turn.outlives_restart() {
            true => Some(serde_json::to_string(turn).map_err(|error| {
                tracing::error!(%error, "a turn could not be written down");
                ShowFailed
            })?),
            false => None,
        };
        self.sink.keep(checkpoint).await
    }

    /// What was shown before comes before the question in the log.
    async fn decide(
        &mut self,
        call: ToolCall,
        cancel: &CancellationToken,
    ) -> Result<Event, ShowFailed> {
        self.show().await?;
        let verdict = tokio::select! {
            biased;
            // The interrupt itself comes next, and ends what may have been asked already.
            () = cancel.cancelled() => Verdict::Refuse("the turn was stopped".to_owned()),
            verdict = verdict(self.engine, &self.origin, &call) => verdict,
        };
        Ok(Event::Decided {
            id: call.id,
            verdict,
        })
    }

    async fn show(&mut self) -> Result<(), ShowFailed> {
        let shown = std::mem::take(&mut self.shown);
        match shown.is_empty() {
            true => Ok(()),
            false => self.sink.show(shown).await,
        }
    }

    async fn tell_waiting(&mut self, turn: &Turn) {
        let waits = turn.waits_for_approval() && self.tools.is_empty();
        if std::mem::replace(&mut self.waiting, waits) != waits {
            self.sink.waiting(waits).await;
        }
    }

    async fn stop_all(&mut self) {
        self.answers = None;
        self.tools = FuturesUnordered::new();
        self.people = FuturesUnordered::new();
        self.metering.cut_off().await;
    }

    async fn call_model(&mut self, said: Vec<Said>, choice: usize) -> Option<Event> {
        let Some(chosen) = self.choices.get(choice) else {
            let text = "the model that answered before has gone; ask again";
            return Some(Event::ModelFailed(text.to_owned()));
        };
        let request = ModelRequest {
            model: chosen.model.clone(),
            system: String::new(),
            said,
            tools: self.engine.tools.specs(&self.origin.speaker),
            max_output_tokens: chosen.max_output_tokens,
        };
        if let Err(refused) = self.metering.begin(&self.origin, chosen, &request).await {
            return Some(Event::OverBudget(refused));
        }
        self.speaking = choice;
        self.answers = Some(Answers::new(chosen.provider.ask(request)));
        None
    }

    async fn next(&mut self, cancel: &CancellationToken) -> Vec<Event> {
        let price = self
            .choices
            .get(self.speaking)
            .and_then(|choice| choice.price);
        let events = tokio::select! {
            biased;
            () = cancel.cancelled() => vec![Event::Interrupt],
            events = answers::next(&mut self.answers, price) => events,
            Some(event) = self.people.next() => vec![event],
            Some(outcome) = self.tools.next() => vec![Event::ToolDone(outcome)],
        };
        self.metering.listen(&events).await;
        if events.iter().any(ends_round) {
            self.answers = None;
        }
        events
    }
}

async fn verdict(engine: &Engine, origin: &Origin, call: &ToolCall) -> Verdict {
    let tools = &engine.tools;
    match tools.judge(&origin.speaker, call).await {
        Ok(Permission::Run) => Verdict::Run,
        Ok(Permission::Ask { summary }) => {
            let bound = match tools.bind(&origin.speaker, call).await {
                Ok(bound) => bound,
                Err(error) => return Verdict::Refuse(error.to_string()),
            };
            match engine.approvals.ask(origin, call, summary, bound).await {
                Ok(approval) => Verdict::Ask { approval },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "nobody was asked");
                    Verdict::Refuse(format!("nobody could be asked: {error}"))
                }
            }
        }
        Err(error) => Verdict::Refuse(error.to_string()),
    }
}

async fn run_tool(
    engine: Engine,
    origin: Origin,
    call: ToolCall,
    approval: Option<i64>,
) -> ToolOutcome {
    if let Some(id) = approval
        && let Err(why) = claim(&engine, &origin, &call, id).await
    {
        return ToolOutcome {
            id: call.id,
            name: call.name,
            result: Err(why),
        };
    }
    engine.tools.run(origin.speaker, call).await
}

/// The policy is asked again: what was approved may be forbidden by now.
async fn claim(engine: &Engine, origin: &Origin, call: &ToolCall, id: i64) -> Result<(), String> {
    let tools = &engine.tools;
    let judged = tools.judge(&origin.speaker, call).await;
    judged.map_err(|error| error.to_string())?;
    let bound = tools.bind(&origin.speaker, call).await;
    let bound = bound.map_err(|error| error.to_string())?;
    let claimed = engine.approvals.claim(origin, id, call, &bound).await;
    claimed.map_err(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            id,
            "an approval was not used"
        );
        error.to_string()
    })
}

fn answer(outcome: Outcome, approval: i64) -> Event {
    match outcome {
        Outcome::Approved => Event::Approved { approval },
        Outcome::Denied(why) => Event::Denied { approval, why },
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
