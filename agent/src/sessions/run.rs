//! One running turn: what the engine shows goes into the session's log, and the end is stored whole.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::actor::state_of;
use super::past;
use super::{Active, Inner, SessionEvent, SessionKey, SessionLog, Speaker};
use crate::approvals::{self, Origin};
use crate::audit::{Entry, Kind};
use crate::hooks::{AgentEnd, Place};
use crate::store::{EndOfTurn, PendingTurn, StoreError, Summary};
use crate::turn::{End, EndReason, Said, Turn, Usage};
use crate::turn_driver::{self, Begin, Compacted, ShowFailed, Shown, Sink};

/// Why turns are cancelled when the agent goes.
pub(super) const SHUTDOWN: &str = "shutdown";

/// The end of a turn, not stored yet: the actor frees the turn's place first, so that whoever sees
/// the end can start the next one.
#[derive(Debug)]
pub(super) struct Finished {
    turn: PendingTurn,
    reason: &'static str,
    answer: Option<String>,
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
    let sink = LogSink {
        inner,
        log,
        turn: &turn,
        active,
    };
    sink.append(vec![SessionEvent::Status {
        text: "running".to_owned(),
    }])
    .await?;
    let begin = match &turn.checkpoint {
        Some(checkpoint) => Begin::Again(Box::new(machine(turn.turn_id, checkpoint)?)),
        None => begin(inner, &turn).await?,
    };
    let engine = &inner.engine;
    let choices = engine.models.choose(turn.user, &turn.session).await?;
    let origin = Origin {
        speaker: speaker.clone(),
        session: turn.session.clone(),
        turn_id: turn.turn_id,
    };
    let place = Place::of(&origin);
    let end = turn_driver::drive(engine, &choices, origin, begin, &sink, &active.cancel).await;
    let Some(end) = end else {
        return Ok(None);
    };
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
        answer: Some(end.text.clone()),
    });
    let events = last_events(&end, reason, model.unwrap_or_default());
    let answer = (!end.text.is_empty()).then_some(end.text);
    Ok(Some(Finished {
        turn,
        reason,
        answer,
        events,
    }))
}

fn machine(turn_id: i64, checkpoint: &str) -> Result<Turn, StoreError> {
    serde_json::from_str(checkpoint)
        .map_err(|error| StoreError::Value(format!("checkpoint of turn {turn_id}: {error}")))
}

async fn begin(inner: &Inner, turn: &PendingTurn) -> Result<Begin, StoreError> {
    let before = past::before(&inner.store, turn.user, turn.session.clone(), turn.turn_id);
    let (mut said, turns) = before.await?;
    said.push(Said::User(turn.text.clone()));
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

fn last_events(end: &End, reason: &str, model: String) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    match &end.reason {
        EndReason::Done => events.push(SessionEvent::Response {
            text: end.text.clone(),
            model,
            attachments: vec![],
        }),
        EndReason::Failed(text) | EndReason::OverBudget(text) => {
            events.push(SessionEvent::Error { text: text.clone() });
        }
        EndReason::Interrupted | EndReason::NoReply => {}
    }
    events.push(SessionEvent::TurnComplete {
        usage: end.usage,
        reason: reason.to_owned(),
    });
    events
}

async fn finish(
    inner: &Inner,
    turn: PendingTurn,
    reason: &'static str,
    answer: Option<String>,
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
            for one in shown {
                match one {
                    Shown::Text(text) => events.push(SessionEvent::Delta { text }),
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
