//! A turn that a program asks for in one request and waits for: its beginning, what is heard of it,
//! and its end when the program goes.
//!
//! The turn itself is an ordinary one of `sessions`. Its life is tied to a task of the agent, not to
//! the request, so that a program that goes at any moment leaves neither a running turn nor a session.

use std::collections::VecDeque;
use std::sync::Arc;

use homing_certs::UserId;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Principal;
use super::error::ApiError;
use crate::sessions::{Attachment, Follow, Message, Speaker, Tail};
use crate::state::AgentState;
use crate::store::{AskedOnce, StoreError};
use crate::turn::Usage;

/// What a program asks.
#[derive(Debug)]
pub(super) struct Question {
    /// Names the question; unique.
    pub(super) id: String,
    /// The session that it belongs to; none when it brings all that was said before.
    pub(super) session: Option<String>,
    /// What was said before, oldest first: whether the assistant said it, and the text.
    pub(super) history: Vec<(bool, String)>,
    pub(super) text: String,
    /// Id of the model that shall answer here from now on; none leaves it as it is.
    pub(super) model: Option<String>,
}

/// Something of the answer.
#[derive(Debug)]
pub(super) enum Heard {
    Text(String),
    Called {
        id: String,
        name: String,
        arguments: Value,
    },
    Answered {
        id: String,
        ok: bool,
    },
    Done(Done),
}

/// The whole answer.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) text: String,
    pub(super) attachments: Vec<Attachment>,
    pub(super) model: String,
    pub(super) usage: Usage,
}

/// A question that was taken. Dropped, it ends the turn.
#[derive(Debug)]
pub(super) struct Asked {
    turn: Turn,
    ready: VecDeque<Heard>,
    /// Last words of the turn, until its end says what became of it.
    response: Option<(String, String, Vec<Attachment>)>,
    error: Option<String>,
    leaving: CancellationToken,
    _asking: DropGuard,
}

/// A place in the log of a session, and which turn is meant.
#[derive(Debug, Clone)]
struct Turn {
    user: UserId,
    id: i64,
    follow: Follow,
    moved: watch::Receiver<u64>,
}

/// The events that matter here.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Message {
        #[serde(default)]
        client_msg_id: Option<String>,
    },
    Delta {
        text: String,
    },
    ToolCall {
        id: String,
        name: String,
        arguments: Value,
    },
    ToolResult {
        id: String,
        ok: bool,
    },
    Response {
        text: String,
        model: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
    },
    Error {
        text: String,
    },
    TurnComplete {
        usage: Usage,
        reason: String,
    },
    #[serde(other)]
    Other,
}

/// Asks. The turn runs, or waits for others of this device, when this returns.
pub(super) async fn ask(
    state: &Arc<AgentState>,
    principal: &Principal,
    question: Question,
) -> Result<Asked, ApiError> {
    let asking = CancellationToken::new();
    let gone = asking.clone();
    let guard = asking.drop_guard();
    let (taken, answer) = oneshot::channel();
    let speaker = Arc::new(principal.speaker());
    let agent = state.clone();
    state.tasks.spawn(async move {
        let once = question.session.is_none();
        let session = question
            .session
            .clone()
            .unwrap_or_else(|| format!("v1:{}", question.id));
        let begun = begin(&agent, speaker.clone(), &session, question).await;
        if let Ok(turn) = &begun {
            let turn = turn.clone();
            // Nobody hears it when the program has gone already; then it ends at once.
            let _ = taken.send(begun);
            attend(&agent, turn, gone).await;
        } else {
            let _ = taken.send(begun);
        }
        if once
            && !agent.stopping.is_cancelled()
            && let Err(error) = agent.sessions.forget_once(speaker.user_id, &session).await
        {
            tracing::error!(%error, "a session for one answer could not be removed");
        }
    });
    let turn = answer.await.map_err(|_| ApiError::internal())??;
    Ok(Asked {
        turn,
        ready: VecDeque::new(),
        response: None,
        error: None,
        leaving: state.leaving.clone(),
        _asking: guard,
    })
}

impl Asked {
    /// What comes next; nothing after [`Heard::Done`].
    pub(super) async fn next(&mut self) -> Result<Heard, ApiError> {
        loop {
            if let Some(heard) = self.ready.pop_front() {
                return Ok(heard);
            }
            let leaving = self.leaving.clone();
            let events = tokio::select! {
                biased;
                events = self.turn.next() => events?,
                () = leaving.cancelled() => return Err(ended("shutdown", None)),
            };
            for event in events {
                self.take(event)?;
            }
        }
    }

    /// The whole answer.
    pub(super) async fn done(mut self) -> Result<Done, ApiError> {
        loop {
            if let Heard::Done(done) = self.next().await? {
                return Ok(done);
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), ApiError> {
        match event {
            Event::Delta { text } => match self.ready.back_mut() {
                Some(Heard::Text(before)) => before.push_str(&text),
                _ => self.ready.push_back(Heard::Text(text)),
            },
            Event::ToolCall {
                id,
                name,
                arguments,
            } => self.ready.push_back(Heard::Called {
                id,
                name,
                arguments,
            }),
            Event::ToolResult { id, ok } => self.ready.push_back(Heard::Answered { id, ok }),
            Event::Response {
                text,
                model,
                attachments,
            } => self.response = Some((text, model, attachments)),
            Event::Error { text } => self.error = Some(text),
            Event::TurnComplete { usage, reason } => {
                let (text, model, attachments) = match self.response.take() {
                    Some(response) if reason == "done" => response,
                    None if reason == "no_reply" => Default::default(),
                    _ => return Err(ended(&reason, self.error.take())),
                };
                self.ready.push_back(Heard::Done(Done {
                    text,
                    attachments,
                    model,
                    usage,
                }));
            }
            Event::Message { .. } | Event::Other => {}
        }
        Ok(())
    }
}

impl Turn {
    /// The turn's events that are there, at least one page of the log further.
    async fn next(&mut self) -> Result<Vec<Event>, StoreError> {
        loop {
            self.moved.mark_unchanged();
            match self.follow.log.after(self.follow.cursor).await? {
                Tail::Gone(until) => self.follow.cursor = until,
                Tail::Events(events) if events.is_empty() => {
                    self.moved.changed().await.map_err(|_| StoreError::Closed)?;
                }
                Tail::Events(events) => {
                    let mut own = Vec::new();
                    for event in events {
                        self.follow.cursor = event.seq;
                        if event.turn_id == Some(self.id) {
                            own.push(read(&event.body));
                        }
                    }
                    return Ok(own);
                }
            }
        }
    }
}

async fn begin(
    state: &AgentState,
    speaker: Arc<Speaker>,
    session: &str,
    question: Question,
) -> Result<Turn, ApiError> {
    let user = speaker.user_id;
    let sessions = &state.sessions;
    if question.session.is_none() {
        let asked = AskedOnce {
            user,
            session: session.to_owned(),
            device: speaker.node_id,
            history: question.history,
        };
        sessions.open_once(asked).await?;
    }
    if question.model.is_some() {
        state.models.pin(user, session, question.model).await?;
    }
    let moved = state.feeds.of(user).subscribe();
    let mut follow = sessions.follow(user, session, None).await?;
    // With a turn running in it the session would begin with that one.
    follow.cursor = follow.log.head();
    let message = Message {
        text: question.text,
        attachments: vec![],
        client_msg_id: Some(question.id.clone()),
    };
    sessions.say(speaker, session, message).await?;
    let id = find(&follow, &question.id).await?;
    Ok(Turn {
        user,
        id,
        follow,
        moved,
    })
}

/// The turn that answers the message with this id.
async fn find(follow: &Follow, message: &str) -> Result<i64, ApiError> {
    let mut cursor = follow.cursor;
    loop {
        match follow.log.after(cursor).await? {
            Tail::Gone(until) if until > cursor => cursor = until,
            Tail::Events(events) if !events.is_empty() => {
                for event in events {
                    cursor = event.seq;
                    let Some(turn) = event.turn_id else { continue };
                    if let Event::Message { client_msg_id } = read(&event.body)
                        && client_msg_id.as_deref() == Some(message)
                    {
                        return Ok(turn);
                    }
                }
            }
            // The session was cleared at this very moment.
            _ => return Err(ended("removed", None)),
        }
    }
}

/// Waits for the end of the turn, and ends it when the program has gone before.
async fn attend(state: &AgentState, mut turn: Turn, gone: CancellationToken) {
    let (user, id) = (turn.user, turn.id);
    let over = async {
        loop {
            let events = match turn.next().await {
                Ok(events) => events,
                Err(error) => return tracing::error!(%error, "a turn could not be followed"),
            };
            if events
                .iter()
                .any(|event| matches!(event, Event::TurnComplete { .. }))
            {
                return;
            }
        }
    };
    tokio::pin!(over);
    tokio::select! {
        // At shutdown the turn is ended by those whose turns they are.
        () = state.stopping.cancelled() => return,
        () = gone.cancelled() => {}
        () = &mut over => {
            // What was not read yet must stay until it is.
            tokio::select! {
                () = state.stopping.cancelled() => {}
                () = gone.cancelled() => {}
            }
            return;
        }
    }
    if let Err(error) = state.sessions.cancel_turn(user, id).await {
        tracing::warn!(%error, "a turn that nobody waits for could not be stopped");
    }
    tokio::select! {
        () = state.stopping.cancelled() => {}
        () = over => {}
    }
}

fn read(body: &str) -> Event {
    serde_json::from_str(body).unwrap_or(Event::Other)
}

fn ended(reason: &str, text: Option<String>) -> ApiError {
    let or = |default: &str| text.clone().unwrap_or_else(|| default.to_owned());
    let (status, code, message, hint) = match reason {
        "shutdown" | "restarted" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "the agent is shutting down".to_owned(),
            "try again soon",
        ),
        "over_budget" => (
            StatusCode::TOO_MANY_REQUESTS,
            "over_budget",
            or("the budget is used up"),
            "an admin can raise the budget",
        ),
        "interrupted" | "removed" => (
            StatusCode::CONFLICT,
            "interrupted",
            "the answer was stopped by somebody else of the same user".to_owned(),
            "ask again",
        ),
        "revoked" => (
            StatusCode::UNAUTHORIZED,
            "revoked",
            "this device was revoked".to_owned(),
            "enrol it anew with a fresh key",
        ),
        _ => (
            StatusCode::BAD_GATEWAY,
            "turn_failed",
            or("the turn failed"),
            "the session's log and the agent's log say more",
        ),
    };
    ApiError::new(status, code, message, hint)
}
