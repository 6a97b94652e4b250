//! One running turn: what the engine shows goes into the session's log, and the end is stored whole.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::actor::{state_of, to_json};
use super::giving::{Given, Giving};
use super::past;
use super::{Active, Inner, SessionEvent, SessionKey, SessionLog, Speaker};
use crate::approvals::{self, Origin};
use crate::attachments::Sight;
use crate::audit::{Entry, Kind};
use crate::hooks::{AgentEnd, Place};
use crate::models::Choice;
use crate::store::{EndOfTurn, PendingTurn, StoreError, StoredAnswer, Summary};
use crate::turn::{End, EndReason, Turn, Usage};
use crate::turn_driver::{self, Begin, Compacted, ShowFailed, Shown, Sink};

/// Why turns are cancelled when the agent goes.
pub(super) const SHUTDOWN: &str = "shutdown";

/// The end of a turn, not stored yet: the actor frees the turn's place first, so that whoever sees
/// the end can start the next one.
#[derive(Debug)]
pub(super) struct Finished {
    turn: PendingTurn,
    reason: &'static str,
    answer: Option<StoredAnswer>,
    events: Vec<SessionEvent>,
}

/// How the run of a turn ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is over, but not stored yet.
    Over(Box<Finished>),
    /// It waits for a person and goes on after a restart.
    Left,
    /// Not even its beginning could be stored.
    NotBegun,
}

/// Runs a turn.
pub(super) async fn run_turn(inner: Arc<Inner>, turn: PendingTurn, active: Active) -> Ended {
    let turn_id = turn.turn_id;
    match try_run(&inner, turn, &active).await {
        Ok(Some(finished)) => Ended::Over(Box::new(finished)),
        Ok(None) => Ended::Left,
        Err(error) => {
            tracing::error!(%error, turn_id, "a turn could not be begun");
            Ended::NotBegun
        }
    }
}

/// Stores the end of a turn that ran.
pub(super) async fn finish_turn(inner: &Inner, finished: Finished) -> Result<(), StoreError> {
    let Finished {
        turn,
        reason,
        answer,
        events,
    } = finished;
    finish(inner, turn, reason, answer, &events).await
}

/// Stores the end of a turn that never ran, or that an earlier process ran.
pub(super) async fn close_turn(
    inner: &Inner,
    turn: PendingTurn,
    reason: &'static str,
) -> Result<(), StoreError> {
    let text = match reason {
        "restarted" => "the agent was restarted while it answered; ask again",
        "failed" => "the turn failed inside the agent",
        _ => "",
    };
    let mut events = Vec::new();
    if !text.is_empty() {
        events.push(SessionEvent::Error {
            text: text.to_owned(),
        });
    }
    events.push(SessionEvent::TurnComplete {
        usage: Usage::default(),
        reason: reason.to_owned(),
        attachments: vec![],
    });
    finish(inner, turn, reason, None, &events).await
}

async fn try_run(
    inner: &Inner,
    turn: PendingTurn,
    active: &Active,
) -> Result<Option<Finished>, StoreError> {
    let speaker: Speaker = serde_json::from_str(&turn.speaker)
        .map_err(|error| StoreError::Value(format!("speaker of turn {}: {error}", turn.turn_id)))?;
    let speaker = Arc::new(speaker);
    if !turn.running {
        inner.store.start_turn(turn.user, turn.turn_id).await?;
    }
    let log = inner.log(&active.key).await?;
    let engine = &inner.engine;
    let choices = engine.models.choose(turn.user, &turn.session).await?;
    let (begin, given) = match &turn.checkpoint {
        Some(checkpoint) => again(turn.turn_id, checkpoint)?,
        None => (
            begin(inner, &turn, &choices, &speaker).await?,
            Given::default(),
        ),
    };
    let (attachments, cancel) = (engine.attachments.clone(), active.cancel.clone());
    let origin = Origin {
        speaker: speaker.clone(),
        session: turn.session.clone(),
        turn_id: turn.turn_id,
    };
    let tools = engine.tools.clone();
    let giving = Giving::new(attachments, tools, origin.clone(), cancel, given);
    let sink = LogSink {
        inner,
        log,
        turn: &turn,
        active,
        giving: Mutex::new(giving),
    };
    sink.append(vec![SessionEvent::Status {
        text: "running".to_owned(),
    }])
    .await?;
    let place = Place::of(&origin);
    let end = turn_driver::drive(engine, &choices, origin, begin, &sink, &active.cancel).await;
    let Some(end) = end else {
        return Ok(None);
    };
    let mut giving = sink.giving.into_inner();
    // What would have become a marker is no text because the model was stopped in it.
    let rest = match end.reason {
        EndReason::Done => giving.pause(),
        _ => String::new(),
    };
    let given = giving.given().clone();
    let reason = reason_of(&end, active);
    let entry = Entry::new(Kind::Turn)
        .by(speaker.node_id, &speaker.handle, &speaker.path)
        .detail("turn", turn.turn_id)
        .detail("reason", reason)
        .detail("tool_calls", end.usage.tool_calls);
    inner.audit.note(entry);
    let model = choices.get(end.choice).map(|choice| choice.label.clone());
    engine.hooks.agent_end(|| AgentEnd {
        place,
        model: model.clone(),
        reason: reason.to_owned(),
        usage: end.usage,
        message: Some(turn.text.clone()),
        answer: Some(given.text.clone()),
    });
    let answer = (!given.is_empty()).then(|| StoredAnswer {
        text: given.text.clone(),
        attachments: to_json(&given.files),
    });
    let mut events = Vec::new();
    if !rest.is_empty() {
        events.push(SessionEvent::Delta { text: rest });
    }
    events.extend(last_events(&end, given, reason, model.unwrap_or_default()));
    Ok(Some(Finished {
        turn,
        reason,
        answer,
        events,
    }))
}

/// What is kept of a turn beside its machine, in the same object.
#[derive(Deserialize)]
struct Kept {
    /// Not there in what was kept before answers could give files.
    given: Option<Given>,
}

fn kept(checkpoint: &str, given: &Given) -> String {
    let machine = checkpoint.strip_prefix('{').unwrap_or("}");
    format!("{{\"given\":{},{machine}", to_json(given))
}

fn again(turn_id: i64, checkpoint: &str) -> Result<(Begin, Given), StoreError> {
    let broken = |error| StoreError::Value(format!("checkpoint of turn {turn_id}: {error}"));
    let machine: Turn = serde_json::from_str(checkpoint).map_err(broken)?;
    let kept: Kept = serde_json::from_str(checkpoint).map_err(broken)?;
    let given = kept.given.unwrap_or_else(|| Given {
        text: machine.answer().to_owned(),
        files: vec![],
    });
    Ok((Begin::Again(Box::new(machine)), given))
}

async fn begin(
    inner: &Inner,
    turn: &PendingTurn,
    choices: &[Choice],
    speaker: &Speaker,
) -> Result<Begin, StoreError> {
    let (user, attachments) = (turn.user, &inner.engine.attachments);
    let session = turn.session.clone();
    let mut sight = Sight::of(choices, speaker);
    let files = past::files(&turn.attachments);
    let now = attachments.told(user, &turn.text, &files, &mut sight).await;
    let (store, id) = (&inner.store, turn.turn_id);
    let before = past::before(store, attachments, user, session, id, &mut sight);
    let (mut said, turns) = before.await?;
    said.push(now);
    Ok(Begin::Anew { said, turns })
}

fn reason_of(end: &End, active: &Active) -> &'static str {
    match &end.reason {
        EndReason::Done => "done",
        EndReason::NoReply => "no_reply",
        EndReason::Failed(_) => "failed",
        EndReason::OverBudget(_) => "over_budget",
        EndReason::Interrupted => active.why.get().copied().unwrap_or("interrupted"),
    }
}

fn last_events(end: &End, given: Given, reason: &str, model: String) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    let mut attachments = Vec::new();
    match &end.reason {
        EndReason::Done => events.push(SessionEvent::Response {
            text: given.text,
            model,
            attachments: given.files,
        }),
        EndReason::Failed(text) | EndReason::OverBudget(text) => {
            events.push(SessionEvent::Error { text: text.clone() });
            attachments = given.files;
        }
        EndReason::Interrupted | EndReason::NoReply => attachments = given.files,
    }
    events.push(SessionEvent::TurnComplete {
        usage: end.usage,
        reason: reason.to_owned(),
        attachments,
    });
    events
}

async fn finish(
    inner: &Inner,
    turn: PendingTurn,
    reason: &'static str,
    answer: Option<StoredAnswer>,
    events: &[SessionEvent],
) -> Result<(), StoreError> {
    let key = SessionKey {
        user: turn.user,
        session: turn.session.clone(),
    };
    let log = inner.log(&key).await?;
    let end = EndOfTurn {
        state: state_of(reason),
        answer,
        bodies: events.iter().map(SessionEvent::body).collect(),
        open_approvals: approvals::cancelled(reason),
        resolved: approvals::resolved_body,
    };
    let published = move |events: &[_]| log.publish(events);
    let closed = inner.store.finish_turn(turn, end, published).await?;
    inner.engine.approvals.closed(key.user, &closed);
    Ok(())
}

struct LogSink<'a> {
    inner: &'a Inner,
    log: Arc<SessionLog>,
    turn: &'a PendingTurn,
    active: &'a Active,
    giving: Mutex<Giving>,
}

impl LogSink<'_> {
    async fn append(&self, events: Vec<SessionEvent>) -> Result<(), StoreError> {
        self.log.append(self.turn.turn_id, events).await
    }
}

impl Sink for LogSink<'_> {
    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), ShowFailed>> {
        async move {
            let mut events = Vec::with_capacity(shown.len());
            let mut giving = self.giving.lock().await;
            for one in shown {
                let text = match &one {
                    Shown::Text(text) => giving.take(text).await,
                    // What was said before it is over.
                    _ => giving.pause(),
                };
                if !text.is_empty() {
                    events.push(SessionEvent::Delta { text });
                }
                match one {
                    Shown::Text(_) => {}
                    Shown::Status(text) => events.push(SessionEvent::Status {
                        text: text.to_owned(),
                    }),
                    Shown::Call(call) => {
                        events.push(SessionEvent::Status {
                            text: format!("tool:{}", call.name),
                        });
                        events.push(call.into());
                    }
                    Shown::Outcome(outcome) => events.push(outcome.into()),
                }
            }
            drop(giving);
            if events.is_empty() {
                return Ok(());
            }
            self.append(events).await.map_err(|error| {
                let turn_id = self.turn.turn_id;
                tracing::error!(%error, turn_id, "an answer could not be stored");
                ShowFailed
            })
        }
        .boxed()
    }

    fn keep(&self, checkpoint: Option<String>) -> BoxFuture<'_, Result<(), ShowFailed>> {
        async move {
            let (user, turn_id) = (self.turn.user, self.turn.turn_id);
            let given = self.giving.lock().await.given().clone();
            let checkpoint = checkpoint.map(|checkpoint| kept(&checkpoint, &given));
            let kept = self.inner.store.keep_turn(user, turn_id, checkpoint).await;
            kept.map_err(|error| {
                tracing::error!(%error, turn_id, "a turn that waits could not be stored");
                ShowFailed
            })
        }
        .boxed()
    }

    fn compacted(&self, summary: Compacted) -> BoxFuture<'_, ()> {
        async move {
            let (user, session) = (self.turn.user, self.turn.session.clone());
            let Compacted {
                turn_id,
                text,
                model,
            } = summary;
            let summary = Summary {
                turn_id,
                text,
                model,
            };
            // Lost, it costs the next turn another one.
            if let Err(error) = self.inner.store.keep_summary(user, session, summary).await {
                tracing::error!(%error, turn_id, "a summary could not be stored");
            }
        }
        .boxed()
    }

    fn waiting(&self, waits: bool) -> BoxFuture<'_, ()> {
        async move {
            // Fails only while the agent stops, and then nothing is started any more.
            let _ = self.inner.parks.send((self.turn.turn_id, waits)).await;
        }
        .boxed()
    }

    fn goes_on_later(&self) -> bool {
        self.active.why.get() == Some(&SHUTDOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Event, Said};

    fn turn() -> Turn {
        let mut turn = Turn::new();
        turn.handle(Event::Begin {
            said: vec![Said::Pictured {
                text: "look".to_owned(),
                images: vec!["p.png".to_owned()],
            }],
            rooms: vec![100_000],
        });
        turn.handle(Event::Text("I see [FILE:/x]".to_owned()));
        turn
    }

    fn machine(begin: Begin) -> Turn {
        match begin {
            Begin::Again(turn) => *turn,
            Begin::Anew { .. } => panic!("begins anew"),
        }
    }

    #[test]
    fn what_was_given_is_kept_with_the_machine_and_pictures_only_by_their_names() {
        let given = Given {
            text: "I see ".to_owned(),
            files: vec![super::super::Attachment::of_stored("x", "x", "file")],
        };
        let checkpoint = kept(&serde_json::to_string(&turn()).unwrap(), &given);
        assert!(checkpoint.len() < 1_000, "{checkpoint}");
        let (begin, again) = again(1, &checkpoint).unwrap();
        assert_eq!((machine(begin), again), (turn(), given));
    }

    #[test]
    fn a_checkpoint_of_before_goes_on_with_what_was_said() {
        let (begin, given) = again(1, &serde_json::to_string(&turn()).unwrap()).unwrap();
        assert_eq!(machine(begin), turn());
        assert_eq!(given.text, "I see [FILE:/x]");
    }
}
