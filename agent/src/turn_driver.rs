//! Does the effects of a turn: asks the models, the policy and people, runs tools beside each other,
//! shows what comes, and feeds the events back. Everything that runs for a turn lives in this one
//! future and ends with it.

mod answers;
mod calls;
mod compaction;
mod metering;
mod sink;
mod start;

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

pub use sink::{Compacted, ShowFailed, Shown, Sink};

use answers::{Answers, ends_round};
use calls::{answer, run_tool, verdict};
use compaction::{Compaction, Step};
use metering::Metering;
use sink::show_text;

use crate::approvals::{Approvals, Origin};
use crate::attachments::{Attachments, Images};
use crate::budgets::Budgets;
use crate::hooks::{CompactionBegins, CompactionDone, Hooks, Place};
use crate::models::{Choice, Models};
use crate::prompt::{Prompt, Prompts};
use crate::providers::{ModelRequest, ToolSpec};
use crate::tools::Tools;
use crate::turn::{
    self, Effect, End, EndReason, Event, Said, ToolCall, ToolOutcome, Turn, Verdict,
};

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
    /// What models are told first.
    pub prompts: Prompts,
    /// The files of conversations.
    pub attachments: Attachments,
    /// What the owner wants done beside.
    pub hooks: Hooks,
}

/// How a turn begins.
#[derive(Debug)]
pub enum Begin {
    /// With what was said; the last is the person's message.
    Anew {
        /// Oldest first.
        said: Vec<Said>,
        /// Of which turns the first of these are; none for what no turn of the session said.
        turns: Vec<i64>,
    },
    /// Where an earlier process left it.
    Again(Box<Turn>),
}

/// For people, when the list of models is shorter than it was.
const MODEL_GONE: &str = "the model that answered before has gone; ask again";

/// One turn that runs.
struct Drive<'a> {
    engine: &'a Engine,
    origin: Origin,
    choices: &'a [Choice],
    sink: &'a dyn Sink,
    prompt: Prompt,
    /// Tools that were counted for the first call, and go with it.
    first_tools: Option<Vec<ToolSpec>>,
    answers: Option<Answers>,
    /// What is told shorter now; the answers are its.
    compaction: Option<Compaction>,
    /// Of which turns the first messages are.
    turns: Vec<i64>,
    /// Whether some were left out without a summary.
    left_out: bool,
    /// Pictures that were read.
    images: Images,
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
    let added = tokio::select! {
        biased;
        added = start::hooks(engine, choices, &origin, &begin) => added,
        () = cancel.cancelled() => return start::interrupted(begin, sink),
    };
    let prompt = match added {
        Ok(added) => start::prompt(engine, &origin, added).await,
        Err(refused) => return Some(start::refused(begin, &refused)),
    };
    let mut drive = Drive {
        engine,
        origin,
        choices,
        sink,
        prompt,
        first_tools: None,
        answers: None,
        compaction: None,
        turns: Vec::new(),
        left_out: false,
        images: Images::default(),
        speaking: 0,
        metering: Metering::new(engine.budgets.clone()),
        tools: FuturesUnordered::new(),
        people: FuturesUnordered::new(),
        waiting: false,
        shown: Vec::new(),
        end: None,
    };
    let (mut turn, first) = match begin {
        Begin::Anew { said, turns } => {
            drive.turns = turns;
            let rooms = drive.rooms();
            (Turn::new(), Event::Begin { said, rooms })
        }
        Begin::Again(turn) => (*turn, Event::Resume),
    };
    let mut events = VecDeque::from([first]);
    loop {
        if let Err(failed) = drive.handle(&mut turn, events, cancel).await {
            return Some(end_early(&mut turn, drive.end, failed.to_string()));
        }
        if let Some(end) = drive.end {
            return Some(end);
        }
        drive.tell_waiting(&turn).await;
        events = match drive.next(cancel).await {
            Ok(events) => events.into(),
            Err(failed) => return Some(end_early(&mut turn, drive.end, failed.to_string())),
        };
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
                    Effect::Compact { said, choice, room } => {
                        events.extend(self.begin_compaction(&said, choice, room, cancel).await?);
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
            Effect::Keep
            | Effect::Decide(_)
            | Effect::CallModel { .. }
            | Effect::Compact { .. }
            | Effect::StopAll => {}
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
            // A person may take hours, and the pictures are loaded again.
            self.images = Images::default();
            self.sink.waiting(waits).await;
        }
    }

    async fn stop_all(&mut self) {
        self.answers = None;
        self.compaction = None;
        self.tools = FuturesUnordered::new();
        self.people = FuturesUnordered::new();
        self.metering.cut_off().await;
    }

    /// Bytes of conversation that fit beside what every call carries, for each model.
    fn rooms(&mut self) -> Vec<usize> {
        let specs = self.tool_specs();
        let tools: usize = specs.iter().map(ToolSpec::size).sum();
        self.first_tools = Some(specs);
        let room = |choice: &Choice| {
            let whole = choice.room();
            whole.saturating_sub(tools + self.prompt.text(whole).len())
        };
        self.choices.iter().map(room).collect()
    }

    fn tool_specs(&self) -> Vec<ToolSpec> {
        self.engine.tools.specs(&self.origin.speaker)
    }

    async fn call_model(&mut self, said: Vec<Said>, choice: usize) -> Option<Event> {
        let Some(chosen) = self.choices.get(choice) else {
            return Some(Event::ModelFailed(MODEL_GONE.to_owned()));
        };
        let images = match chosen.images {
            true => self.images(&said).await,
            false => Images::default(),
        };
        let request = ModelRequest {
            model: chosen.model.clone(),
            system: self.prompt.text(chosen.room()),
            images,
            said,
            tools: self.first_tools.take().unwrap_or_else(|| self.tool_specs()),
            max_output_tokens: chosen.max_output_tokens,
        };
        self.speaking = choice;
        self.ask(chosen, request).await
    }

    /// The pictures of what was said, read once in a turn.
    async fn images(&mut self, said: &[Said]) -> Images {
        let user = self.origin.speaker.user_id;
        let attachments = &self.engine.attachments;
        attachments.load(user, said, &mut self.images).await;
        self.images.clone()
    }

    /// Asks a model when the budget allows it; else says what happened.
    async fn ask(&mut self, chosen: &Choice, request: ModelRequest) -> Option<Event> {
        if let Err(refused) = self.metering.begin(&self.origin, chosen, &request).await {
            return Some(Event::OverBudget(refused));
        }
        self.answers = Some(Answers::new(chosen.provider.ask(request)));
        None
    }

    async fn begin_compaction(
        &mut self,
        said: &[Said],
        choice: usize,
        room: usize,
        cancel: &CancellationToken,
    ) -> Result<Option<Event>, ShowFailed> {
        let choices = self.choices;
        let Some(chosen) = choices.get(choice) else {
            return Ok(Some(Event::CompactionFailed(MODEL_GONE.to_owned())));
        };
        // What was shown before comes before the pause.
        self.show().await?;
        self.speaking = choice;
        let begins = || CompactionBegins {
            place: Place::of(&self.origin),
            model: chosen.label.clone(),
            messages: said.len(),
            bytes: turn::size(said),
            room,
        };
        let wishes = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(Some(Event::Interrupt)),
            wishes = self.engine.hooks.before_compaction(begins) => wishes,
        };
        let mut compaction = Compaction::new(said, room, &wishes, choice + 1 < choices.len());
        let step = compaction.begin(chosen);
        self.compaction = Some(compaction);
        self.go_on_compacting(step, chosen).await
    }

    async fn go_on_compacting(
        &mut self,
        step: Step,
        chosen: &Choice,
    ) -> Result<Option<Event>, ShowFailed> {
        let done = match step {
            Step::Ask(request) => {
                let refused = self.ask(chosen, request).await;
                if refused.is_some() {
                    self.compaction = None;
                }
                return Ok(refused);
            }
            Step::NextModel => {
                self.compaction = None;
                let text = "the model could not tell the conversation shorter";
                return Ok(Some(Event::ModelFailed(text.to_owned())));
            }
            Step::Done(done) => done,
        };
        let covered = self
            .compaction
            .take()
            .map_or(0, |compaction| compaction.covered());
        let covered = covered.min(self.turns.len());
        let newest = self.turns.drain(..covered).max();
        if covered > 0 {
            // The summary, or what stands in its place, is now the first message.
            self.turns.insert(0, newest.unwrap_or(0));
        }
        self.engine.hooks.after_compaction(|| CompactionDone {
            place: Place::of(&self.origin),
            model: chosen.label.clone(),
            messages: done.said.len(),
            bytes: turn::size(&done.said),
            summarized: done.summary.is_some(),
            summary: done.summary.clone(),
        });
        // A summary of what was left out tells nothing of it, and one that was made for a model that stands
        // in is too short for the session's own.
        self.left_out |= covered > 0 && done.summary.is_none();
        let lasts = !self.left_out && self.speaking == 0;
        if let (Some(text), Some(turn_id)) =
            (done.summary, newest.filter(|turn| lasts && *turn > 0))
        {
            let model = chosen.label.clone();
            self.sink
                .compacted(Compacted {
                    turn_id,
                    text,
                    model,
                })
                .await;
        }
        Ok(Some(Event::Compacted {
            said: done.said,
            usage: done.usage,
        }))
    }

    /// What the model says while it tells something shorter is not for people.
    async fn compact(&mut self, events: Vec<Event>) -> Result<Vec<Event>, ShowFailed> {
        let choices = self.choices;
        let Some(chosen) = choices.get(self.speaking) else {
            return Ok(vec![]);
        };
        let mut out = Vec::new();
        for event in events {
            let Some(compaction) = &mut self.compaction else {
                break;
            };
            if let Some(step) = compaction.take(event, chosen) {
                out.extend(self.go_on_compacting(step, chosen).await?);
            }
        }
        Ok(out)
    }

    async fn next(&mut self, cancel: &CancellationToken) -> Result<Vec<Event>, ShowFailed> {
        let price = self
            .choices
            .get(self.speaking)
            .and_then(|choice| choice.price);
        let (events, spoken, taken) = tokio::select! {
            biased;
            () = cancel.cancelled() => (vec![Event::Interrupt], false, false),
            (events, taken) = answers::next(&mut self.answers, price) => (events, true, taken),
            Some(event) = self.people.next() => (vec![event], false, false),
            Some(outcome) = self.tools.next() => (vec![Event::ToolDone(outcome)], false, false),
        };
        self.metering.listen(&events, taken).await;
        if events.iter().any(ends_round) {
            self.answers = None;
        }
        match spoken && self.compaction.is_some() {
            true => self.compact(events).await,
            false => Ok(events),
        }
    }
}

/// The end of a turn that fails whatever its machine would do; why is for people.
fn end_early(turn: &mut Turn, end: Option<End>, why: String) -> End {
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
        reason: EndReason::Failed(why),
        text,
        usage,
        choice,
    }
}
