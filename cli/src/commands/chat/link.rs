//! The connection of a chat: one WebSocket, and another one when it breaks, as if it had been one.
//!
//! Owns the socket, the place in the session's log and the messages that nobody has confirmed yet. What
//! the frames mean is not known here.

mod cursor;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(super) use self::cursor::Start;
use self::cursor::{Cursor, Taken};
use self::socket::{End, Socket};
use super::frames::Outgoing;
use crate::agent_api::AgentApi;
use crate::failure::{Exit, Failure, describe};

/// Frames that wait to be shown; beyond that the socket is not read, and the agent waits as it does
/// for every slow reader.
const HEARD: usize = 256;
/// Orders that wait while there is no connection.
const ORDERS: usize = 32;
/// Between attempts to connect again: soon at first, then as rarely as a person does not mind.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// What comes from the connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame, once and in order if it belongs to the session.
    Frame(Value),
    /// The connection broke; another one is being made.
    Lost(String),
    /// There is one again, and nothing was missed.
    Back,
    /// It is over.
    Ended(anyhow::Error),
}

/// What the connection should do.
#[derive(Debug)]
pub(super) enum Order {
    /// Follow this session instead of the one before.
    Open { session: String, start: Start },
    /// Send a message, again if need be, until the agent has taken it.
    Say(Outgoing),
    /// Send a frame once.
    Send(Value),
}

/// A connection in a task of its own.
#[derive(Debug)]
pub(super) struct Link {
    orders: mpsc::Sender<Order>,
    heard: mpsc::Receiver<Heard>,
    task: JoinSet<()>,
}

impl Link {
    /// Connects. Later on it connects anew by itself, for as long as `patience` says at a time.
    pub(super) async fn open(
        api: Arc<AgentApi>,
        patience: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let socket = Socket::connect(&api).await?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (outbox, heard) = mpsc::channel(HEARD);
        let actor = Actor {
            api,
            patience,
            orders: inbox,
            heard: outbox,
            cursor: Cursor::default(),
            unconfirmed: Vec::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(actor.run(socket));
        Ok(Self {
            orders,
            heard,
            task,
        })
    }

    /// Gives an order. One that finds no place is lost like a frame on a broken line; a message never
    /// is, because nobody types that many while there is no connection.
    pub(super) fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::warn!("the connection takes no more orders");
        }
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Heard {
        let closed = || Heard::Ended(anyhow::anyhow!("the connection ended"));
        self.heard.recv().await.unwrap_or_else(closed)
    }

    /// Closes the socket and waits for that.
    pub(super) async fn close(self) {
        let Self {
            orders,
            heard,
            mut task,
        } = self;
        drop((orders, heard));
        while task.join_next().await.is_some() {}
    }
}

struct Actor {
    api: Arc<AgentApi>,
    patience: Option<Duration>,
    orders: mpsc::Receiver<Order>,
    heard: mpsc::Sender<Heard>,
    cursor: Cursor,
    unconfirmed: Vec<Outgoing>,
}

impl Actor {
    async fn run(mut self, mut socket: Socket) {
        loop {
            let end = self.speak(&mut socket).await;
            socket.close().await;
            let lost = match end {
                End::Left => return,
                End::Final(error) => {
                    let _ = self.heard.send(Heard::Ended(error)).await;
                    return;
                }
                End::Lost(why) => why,
            };
            if self.heard.send(Heard::Lost(lost)).await.is_err() {
                return;
            }
            let gone = self.heard.clone();
            let again = tokio::select! {
                again = self.connect_again() => again,
                () = gone.closed() => return,
            };
            match again {
                Ok(new) => socket = new,
                Err(error) => {
                    let _ = self.heard.send(Heard::Ended(error)).await;
                    return;
                }
            }
            if self.heard.send(Heard::Back).await.is_err() {
                return;
            }
        }
    }

    async fn connect_again(&self) -> anyhow::Result<Socket> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match Socket::connect(&self.api).await {
                Ok(socket) => return Ok(socket),
                Err(error) => error,
            };
            let (_, exit) = describe(&error);
            if exit == Exit::Refused {
                return Err(error);
            }
            if self.patience.is_some_and(|most| began.elapsed() > most) {
                return Err(Failure::new(
                    "not_reachable",
                    format!(
                        "the connection to the agent broke, and no other could be made: {error:#}"
                    ),
                    "homing dial says whether it can be reached; the answer waits in the session",
                )
                .into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Until the socket or the chat ends.
    async fn speak(&mut self, socket: &mut Socket) -> End {
        match self.resume(socket).await {
            Ok(()) => {}
            Err(end) => return end,
        }
        loop {
            let step = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order, socket).await,
                    None => return End::Left,
                },
                frame = socket.next() => match frame {
                    Ok(frame) => self.take(frame).await,
                    Err(end) => Err(end),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn resume(&mut self, socket: &mut Socket) -> Result<(), End> {
        if let Some(open) = self.cursor.open_frame() {
            socket.send(&open).await?;
        }
        for message in &self.unconfirmed {
            socket.send(&message.frame(self.cursor.session())).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, order: Order, socket: &mut Socket) -> Result<(), End> {
        let frame = match order {
            Order::Open { session, start } => {
                self.unconfirmed.clear();
                self.cursor = Cursor::new(session, start);
                match self.cursor.open_frame() {
                    Some(frame) => frame,
                    None => return Ok(()),
                }
            }
            Order::Say(message) => {
                let frame = message.frame(self.cursor.session());
                self.unconfirmed.push(message);
                frame
            }
            Order::Send(frame) => frame,
        };
        socket.send(&frame).await
    }

    async fn take(&mut self, frame: Value) -> Result<(), End> {
        if let Some(id) = frame["client_msg_id"].as_str() {
            self.unconfirmed
                .retain(|message| message.client_msg_id != id);
        }
        match self.cursor.take(&frame) {
            Taken::Skip => Ok(()),
            Taken::Show => {
                let sent = self.heard.send(Heard::Frame(frame)).await;
                sent.map_err(|_| End::Left)
            }
        }
    }
}
