//! The half of a socket that speaks: replies first, then what the open sessions have to say.

use std::collections::BTreeMap;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::frames::{ServerFrame, event_frame};
use super::{Ending, Protocol, Socket, close_code};
use crate::feed::Others;
use crate::gateway::routes::Need;
use crate::gateway::rpc;
use crate::sessions::{Follow, Tail};
use crate::system::{Snapshot, Watch};

/// From the reader.
#[derive(Debug)]
pub(in super::super) enum Outgoing {
    /// A frame as it is.
    Frame(Utf8Bytes),
    /// From now on also this session, in place of an earlier cursor in it.
    Follow(Follow),
    /// Whether to send snapshots of the machine from now on.
    Watch(bool),
    /// No longer this session.
    Unfollow(String),
    /// Whether changes of resources are told from now on.
    Resources(bool),
}

/// Writes until the socket fails or the device may not listen any more.
pub(super) async fn write(
    socket: &Socket,
    sink: &mut SplitSink<WebSocket, Message>,
    mut replies: mpsc::Receiver<Outgoing>,
) -> Ending {
    match run(socket, sink, &mut replies).await {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

async fn run(
    socket: &Socket,
    sink: &mut SplitSink<WebSocket, Message>,
    replies: &mut mpsc::Receiver<Outgoing>,
) -> Result<std::convert::Infallible, Ending> {
    let user = socket.principal()?.user_id;
    let feed = socket.state.feeds.of(user);
    let mut moved = feed.subscribe();
    let mut writer = Writer {
        socket,
        sink,
        follows: BTreeMap::new(),
        snapshots: None,
        resources: feed.last(),
        tells_resources: socket.protocol == Protocol::Conversations,
    };
    let every = socket.state.settings.liveness.ping_every;
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut wrote = false;
        while let Ok(outgoing) = replies.try_recv() {
            wrote |= writer.take(outgoing).await?;
        }
        moved.mark_unchanged();
        wrote |= writer.resources(&feed).await?;
        wrote |= writer.sessions().await?;
        if wrote {
            // Flushed once for all that was ready, then looked again: more may have come meanwhile.
            writer.sink.flush().await.map_err(|_| Ending::Gone)?;
            continue;
        }
        tokio::select! {
            outgoing = replies.recv() => {
                let outgoing = outgoing.ok_or(Ending::Gone)?;
                if writer.take(outgoing).await? && replies.is_empty() {
                    writer.sink.flush().await.map_err(|_| Ending::Gone)?;
                }
            }
            snapshot = next(&mut writer.snapshots) => writer.snapshot(snapshot).await?,
            changed = moved.changed() => changed.map_err(|_| Ending::Gone)?,
            _ = ping.tick() => {
                writer.still_allowed()?;
                writer.feed(Message::Ping(Bytes::new())).await?;
                writer.sink.flush().await.map_err(|_| Ending::Gone)?;
            }
        }
    }
}

struct Writer<'a> {
    socket: &'a Socket,
    sink: &'a mut SplitSink<WebSocket, Message>,
    /// By session id; with the id as JSON.
    follows: BTreeMap<String, (String, Follow)>,
    /// Only the newest is kept for it, however slow it is.
    snapshots: Option<Watch>,
    /// Number of the last resource event sent.
    resources: u64,
    tells_resources: bool,
}

impl Writer<'_> {
    /// True when something was written.
    async fn take(&mut self, outgoing: Outgoing) -> Result<bool, Ending> {
        match outgoing {
            Outgoing::Frame(text) => {
                self.feed(Message::Text(text)).await?;
                Ok(true)
            }
            Outgoing::Follow(follow) => {
                let id = follow.log.key().session.clone();
                let json = serde_json::to_string(&id).unwrap_or_default();
                self.follows.insert(id, (json, follow));
                // Not written, but there may be something to write now.
                Ok(true)
            }
            Outgoing::Watch(wanted) => {
                self.snapshots = wanted.then(|| self.socket.state.snapshots.watch());
                Ok(false)
            }
            Outgoing::Unfollow(id) => {
                self.follows.remove(&id);
                Ok(false)
            }
            Outgoing::Resources(tell) => {
                self.tells_resources = tell;
                Ok(false)
            }
        }
    }

    /// `None` when there will be no more.
    async fn snapshot(&mut self, snapshot: Option<Snapshot>) -> Result<(), Ending> {
        let principal = self.socket.principal()?;
        let allowed = self
            .socket
            .context
            .check(&principal, Need::Scope("status.read"));
        match (snapshot, allowed) {
            (None, _) => self.snapshots = None,
            (Some(_), Err(error)) => {
                self.snapshots = None;
                let frame = ServerFrame::error(error, None);
                self.feed(Message::Text(frame.text())).await?;
            }
            (Some(snapshot), Ok(())) => {
                let frame = ServerFrame::SystemSnapshot(snapshot);
                self.feed(Message::Text(frame.text())).await?;
            }
        }
        self.sink.flush().await.map_err(|_| Ending::Gone)
    }

    async fn sessions(&mut self) -> Result<bool, Ending> {
        let mut wrote = false;
        let ids: Vec<String> = self.follows.keys().cloned().collect();
        for id in ids {
            let Some((json, follow)) = self.follows.get(&id).cloned() else {
                continue;
            };
            let tail = follow.log.after(follow.cursor).await.map_err(|error| {
                tracing::error!(%error, "a session's log could not be read");
                Ending::Close(1011, "internal".to_owned())
            })?;
            let cursor = match tail {
                Tail::Events(events) => {
                    let mut cursor = follow.cursor;
                    for event in events {
                        let frame = match self.socket.protocol {
                            Protocol::Conversations => event_frame(&json, &event),
                            Protocol::Calls => rpc::session_event(&json, &event),
                        };
                        self.feed(Message::Text(frame)).await?;
                        cursor = event.seq;
                    }
                    cursor
                }
                Tail::Gone(until) => {
                    let frame = ServerFrame::HistoryTruncated {
                        session_id: id.clone(),
                        seq: until,
                    };
                    self.feed_frame(&frame).await?;
                    until
                }
            };
            wrote |= cursor != follow.cursor;
            if let Some((_, follow)) = self.follows.get_mut(&id) {
                follow.cursor = cursor;
            }
        }
        Ok(wrote)
    }

    async fn resources(&mut self, feed: &crate::feed::Feed) -> Result<bool, Ending> {
        if feed.last() == self.resources {
            return Ok(false);
        }
        let (events, _) = feed.after(self.resources);
        for event in events {
            let frame = ServerFrame::ResourceEvent {
                resource: event.resource,
                action: event.action,
                id: event.id.clone(),
            };
            if self.tells_resources && self.hears(event.only)? {
                self.feed_frame(&frame).await?;
            }
            self.resources = event.number;
        }
        Ok(true)
    }

    /// Whether the device hears of a change, by the rights that it has now.
    fn hears(&self, only: Option<Others>) -> Result<bool, Ending> {
        let Some(others) = only else { return Ok(true) };
        let principal = self.socket.principal()?;
        Ok(others.include(principal.role, &principal.scopes))
    }

    fn still_allowed(&self) -> Result<(), Ending> {
        let principal = self.socket.principal()?;
        let need = match self.socket.protocol {
            // Calls are checked one by one; what is followed was chat when it was asked for.
            Protocol::Calls if self.follows.is_empty() => Need::Admitted,
            _ => Need::Scope("chat"),
        };
        self.socket
            .context
            .check(&principal, need)
            .map_err(|error| Ending::Close(close_code::POLICY, error.code.into_owned()))
    }

    async fn feed_frame(&mut self, frame: &ServerFrame) -> Result<(), Ending> {
        let text = match self.socket.protocol {
            Protocol::Conversations => frame.text(),
            Protocol::Calls => rpc::event(frame),
        };
        self.feed(Message::Text(text)).await
    }

    async fn feed(&mut self, message: Message) -> Result<(), Ending> {
        self.sink.feed(message).await.map_err(|_| Ending::Gone)
    }
}

/// Never, for a socket that does not watch.
async fn next(snapshots: &mut Option<Watch>) -> Option<Snapshot> {
    match snapshots {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
