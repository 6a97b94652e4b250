//! The actor that alone decides which turn starts.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use homing_certs::{NodeId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::queue::{Run, RunQueue};
use super::run::{Ended, SHUTDOWN};
use super::{
    Active, Activity, Inner, Message, Said, SessionError, SessionEvent, SessionKey, Speaker, run,
};
use crate::store::{Accepted, NewMessage, PendingTurn, TurnState};

/// How long running turns may take to end at shutdown: they only have to write their last event.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Command {
    Say {
        key: SessionKey,
        speaker: Arc<Speaker>,
        message: Message,
        reply: oneshot::Sender<Result<Said, SessionError>>,
    },
    RemoveSession {
        key: SessionKey,
        reply: oneshot::Sender<usize>,
    },
    RemoveDevice {
        device: NodeId,
        reply: oneshot::Sender<usize>,
    },
    RemoveTurn {
        user: UserId,
        turn_id: i64,
        reply: oneshot::Sender<usize>,
    },
    Activity {
        key: SessionKey,
        reply: oneshot::Sender<Activity>,
    },
    Resume {
        turn: PendingTurn,
        allowed: bool,
    },
}

/// Runs turns until it is told to stop.
#[derive(Debug)]
pub struct SessionsActor {
    inner: Arc<Inner>,
    commands: mpsc::Receiver<Command>,
    parked: mpsc::Receiver<(i64, bool)>,
    queue: RunQueue,
    turns: HashMap<i64, PendingTurn>,
    tasks: JoinSet<Ended>,
    running: HashMap<Id, i64>,
}

impl SessionsActor {
    pub(super) fn new(
        inner: Arc<Inner>,
        commands: mpsc::Receiver<Command>,
        parked: mpsc::Receiver<(i64, bool)>,
    ) -> Self {
        Self {
            inner,
            commands,
            parked,
            queue: RunQueue::default(),
            turns: HashMap::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Runs until `shutdown`; then running turns are stopped and say so, waiting ones stay in the
    /// database for the next start.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => break,
                },
                Some((turn_id, waits)) = self.parked.recv() => {
                    for run in self.queue.park(turn_id, waits) {
                        self.start(run);
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    for run in self.ended(ended).await {
                        self.start(run);
                    }
                }
            }
        }
        self.commands.close();
        // Turns must not wait for this actor while it waits for them.
        self.parked.close();
        self.inner.cancel(SHUTDOWN, |_| true);
        let drain = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.ended(ended).await;
            }
        };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("some turns did not end in time and were dropped");
        }
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Say {
                key,
                speaker,
                message,
                reply,
            } => {
                // Whoever asked may have gone; the turn runs nevertheless.
                let _ = reply.send(self.say(key, speaker, message).await);
            }
            Command::RemoveSession { key, reply } => {
                let _ = reply.send(self.remove(|run| run.key == key, "removed").await);
            }
            Command::RemoveDevice { device, reply } => {
                let _ = reply.send(self.remove(|run| run.device == device, "revoked").await);
            }
            Command::RemoveTurn {
                user,
                turn_id,
                reply,
            } => {
                let this = |run: &Run| run.turn_id == turn_id && run.key.user == user;
                let _ = reply.send(self.remove(this, "removed").await);
            }
            Command::Activity { key, reply } => {
                let running = self.queue.running_in(&key);
                let _ = reply.send(Activity {
                    running,
                    waiting: self.queue.waiting_in(&key),
                });
            }
            Command::Resume { turn, allowed } => self.resume(turn, allowed).await,
        }
    }

    async fn say(
        &mut self,
        key: SessionKey,
        speaker: Arc<Speaker>,
        message: Message,
    ) -> Result<Said, SessionError> {
        let position = self.queue.position(speaker.node_id, &key);
        let position = position.map_err(|_| SessionError::QueueFull)?;
        let log = self.inner.log(&key).await?;
        let mut events = vec![
            SessionEvent::Message {
                role: "user",
                text: message.text.clone(),
                attachments: message.attachments.clone(),
                client_msg_id: message.client_msg_id.clone(),
                device: speaker.node_id.to_string(),
            }
            .body(),
        ];
        if position > 0 {
            events.push(SessionEvent::Queued { position }.body());
        }
        let turn = PendingTurn {
            turn_id: 0,
            user: key.user,
            session: key.session.clone(),
            device: speaker.node_id,
            speaker: to_json(speaker.as_ref()),
            text: message.text,
            attachments: to_json(&message.attachments),
            running: position == 0,
            checkpoint: None,
        };
        let new = NewMessage {
            user: turn.user,
            session: turn.session.clone(),
            device: turn.device,
            speaker: turn.speaker.clone(),
            text: turn.text.clone(),
            attachments: turn.attachments.clone(),
            client_msg_id: message.client_msg_id,
            starts: turn.running,
            events,
        };
        let accepted = self
            .inner
            .store
            .accept_message(new, move |events| log.publish(events))
            .await?;
        let Accepted::New { turn_id, .. } = accepted else {
            return Ok(Said::Duplicate);
        };
        self.inner
            .feeds
            .of(key.user)
            .publish("session", "updated", key.session);
        self.add(PendingTurn { turn_id, ..turn });
        Ok(if position == 0 {
            Said::Started
        } else {
            Said::Queued(position)
        })
    }

    async fn resume(&mut self, turn: PendingTurn, allowed: bool) {
        let goes_on = !turn.running || turn.checkpoint.is_some();
        if goes_on && allowed {
            self.add(turn);
        } else {
            let reason = if allowed { "restarted" } else { "revoked" };
            self.close(turn, reason).await;
        }
    }

    fn add(&mut self, turn: PendingTurn) {
        let key = SessionKey {
            user: turn.user,
            session: turn.session.clone(),
        };
        let run = Run {
            turn_id: turn.turn_id,
            device: turn.device,
            key,
        };
        self.turns.insert(turn.turn_id, turn);
        if self.queue.push(run.clone()) {
            self.start(run);
        }
    }

    fn start(&mut self, run: Run) {
        let Some(turn) = self.turns.get(&run.turn_id).cloned() else {
            return;
        };
        let active = Active {
            key: run.key,
            device: run.device,
            cancel: CancellationToken::new(),
            why: Arc::new(OnceLock::new()),
        };
        self.inner.active().insert(run.turn_id, active.clone());
        let handle = self
            .tasks
            .spawn(run::run_turn(self.inner.clone(), turn, active));
        self.running.insert(handle.id(), run.turn_id);
    }

    /// Frees the place of a turn, then stores its end: whoever sees the end finds the place free.
    /// Gives the turns that may start now.
    async fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) -> Vec<Run> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(turn_id) = self.running.remove(&id) else {
            return vec![];
        };
        self.inner.active().remove(&turn_id);
        let turn = self.turns.remove(&turn_id);
        self.remove_cut_devices().await;
        let next = self.queue.finished(turn_id);
        match outcome {
            Ok(Ended::Over(finished)) => {
                if let Err(error) = run::finish_turn(&self.inner, *finished).await {
                    tracing::error!(%error, turn_id, "the end of a turn could not be stored");
                }
            }
            Ok(Ended::Left) => {}
            Ok(Ended::NotBegun) => {
                if let Some(turn) = turn {
                    self.close(turn, "failed").await;
                }
            }
            Err(error) => {
                tracing::error!(%error, turn_id, "a turn panicked");
                if let Some(turn) = turn {
                    self.close(turn, "failed").await;
                }
            }
        }
        next
    }

    /// The end of a turn must not start one of a device that is being cut off.
    async fn remove_cut_devices(&mut self) {
        let devices: Vec<NodeId> = self.inner.cutting().keys().copied().collect();
        for device in devices {
            let removed = self.remove(|run| run.device == device, "revoked").await;
            if let Some(count) = self.inner.cutting().get_mut(&device) {
                *count += removed;
            }
        }
    }

    async fn remove(&mut self, which: impl Fn(&Run) -> bool, reason: &'static str) -> usize {
        let (removed, started) = self.queue.remove(which);
        for run in started {
            self.start(run);
        }
        let count = removed.len();
        for run in removed {
            if let Some(turn) = self.turns.remove(&run.turn_id) {
                self.close(turn, reason).await;
            }
        }
        count
    }

    /// Ends a turn that does not run.
    async fn close(&self, turn: PendingTurn, reason: &'static str) {
        let turn_id = turn.turn_id;
        if let Err(error) = run::close_turn(&self.inner, turn, reason).await {
            tracing::error!(%error, turn_id, reason, "the end of a turn could not be stored");
        }
    }
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn state_of(reason: &str) -> TurnState {
    match reason {
        "done" | "no_reply" => TurnState::Done,
        "failed" | "restarted" | "over_budget" => TurnState::Failed,
        _ => TurnState::Cancelled,
    }
}
