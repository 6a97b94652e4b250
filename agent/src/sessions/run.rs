//! One running turn: what the engine shows goes into the session's log, and the end is stored whole.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::actor::state_of;
use super::{Active, Inner, SessionEvent, SessionKey, SessionLog, Speaker};
use crate::audit::{Entry, Kind};
use crate::store::{PendingTurn, StoreError};
use crate::turn::{End, EndReason, Said, Usage};
use crate::turn_driver::{self, ShowFailed, Shown, Sink};

/// Messages of the session that a model sees besides the new one.
const HISTORY: usize = 40;

/// The end of a turn, not stored yet: the actor frees the turn's place first, so that whoever sees
/// the end can start the next one.
#[derive(Debug)]
pub(super) struct Finished {
    turn: PendingTurn,
    reason: &'static str,
    answer: Option<String>,
    events: Vec<SessionEvent>,
}

/// Runs a turn. `None` when not even its beginning could be stored.
pub(super) async fn run_turn(
    inner: Arc<Inner>,
    turn: PendingTurn,
    active: Active,
) -> Option<Finished> {
    let turn_id = turn.turn_id;
    match try_run(&inner, turn, &active).await {
        Ok(finished) => Some(finished),
        Err(error) => {
            tracing::error!(%error, turn_id, "a turn could not be begun");
            None
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
) -> Result<Finished, StoreError> {
    let speaker: Speaker = serde_json::from_str(&turn.speaker)
        .map_err(|error| StoreError::Value(format!("speaker of turn {}: {error}", turn.turn_id)))?;
    let speaker = Arc::new(speaker);
    if !turn.running {
        inner.store.start_turn(turn.user, turn.turn_id).await?;
    }
    let log = inner.log(&active.key).await?;
    let sink = LogSink {
        log,
        turn_id: turn.turn_id,
    };
    sink.append(vec![SessionEvent::Status {
        text: "running".to_owned(),
    }])
    .await?;
    let said = context(inner, &turn).await?;
    let engine = &inner.engine;
    let choices = engine.models.choose(turn.user, &turn.session).await?;
    let end = turn_driver::drive(
        engine,
        &choices,
        speaker.clone(),
        said,
        &sink,
        &active.cancel,
    )
    .await;
    let reason = reason_of(&end, active);
    let entry = Entry::new(Kind::Turn)
        .by(speaker.node_id, &speaker.handle, &speaker.path)
        .detail("turn", turn.turn_id)
        .detail("reason", reason)
        .detail("tool_calls", end.usage.tool_calls);
    inner.audit.note(entry);
    let model = choices.get(end.choice).map(|choice| choice.label.clone());
    let events = last_events(&end, reason, model.unwrap_or_default());
    let answer = (!end.text.is_empty()).then_some(end.text);
    Ok(Finished {
        turn,
        reason,
        answer,
        events,
    })
}

async fn context(inner: &Inner, turn: &PendingTurn) -> Result<Vec<Said>, StoreError> {
    let history = inner
        .store
        .messages_before(turn.user, turn.session.clone(), turn.turn_id, HISTORY)
        .await?;
    let mut said: Vec<Said> = history
        .into_iter()
        .map(|(role, text)| match role.as_str() {
            "user" => Said::User(text),
            _ => Said::Assistant {
                text,
                calls: vec![],
            },
        })
        .collect();
    said.push(Said::User(turn.text.clone()));
    Ok(said)
}

fn reason_of(end: &End, active: &Active) -> &'static str {
    match &end.reason {
        EndReason::Done => "done",
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
        EndReason::Interrupted => {}
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
    reason: &str,
    answer: Option<String>,
    events: &[SessionEvent],
) -> Result<(), StoreError> {
    let key = SessionKey {
        user: turn.user,
        session: turn.session.clone(),
    };
    let log = inner.log(&key).await?;
    let bodies = events.iter().map(SessionEvent::body).collect();
    let published = move |events: &[_]| log.publish(events);
    inner
        .store
        .finish_turn(turn, state_of(reason), answer, bodies, published)
        .await
}

struct LogSink {
    log: Arc<SessionLog>,
    turn_id: i64,
}

impl LogSink {
    async fn append(&self, events: Vec<SessionEvent>) -> Result<(), StoreError> {
        self.log.append(self.turn_id, events).await
    }
}

impl Sink for LogSink {
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
                tracing::error!(%error, turn_id = self.turn_id, "an answer could not be stored");
                ShowFailed
            })
        }
        .boxed()
    }
}
