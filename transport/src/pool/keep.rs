//! Stream 0 of a live connection, the client's side: pings, renewed certificates, notices.

use std::time::Duration;

use homing_protocol::Document;
use homing_protocol::gateway::ConnectionMessage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connection::{Closed, Connection};
use crate::credentials::Credentials;
use crate::frames::{FrameReceiver, FrameSender, FrameStream};

/// Between two pings; noq's own keep-alives notice a dead path, a ping notices a dead peer.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A ping that takes longer makes the driver dial a second connection.
const PING_DEADLINE: Duration = Duration::from_secs(6);
/// Messages that may wait to be handled.
const INBOX: usize = 8;

/// Why a connection is no longer the one to use.
#[derive(Debug)]
pub(super) enum Ended {
    /// The process is stopping.
    Shutdown,
    /// The agent is draining or does not answer: make another, and let this one finish.
    Superseded,
    /// The log says that the agent is revoked.
    AgentRevoked,
    /// It has ended.
    Closed(Closed),
}

pub(super) async fn keep(
    connection: &Connection,
    control: FrameStream,
    credentials: &Credentials,
    shutdown: &CancellationToken,
) -> Ended {
    let (sender, receiver) = control.split();
    let (inbox, messages) = mpsc::channel(INBOX);
    tokio::select! {
        () = shutdown.cancelled() => Ended::Shutdown,
        () = agent_revoked(connection, credentials) => Ended::AgentRevoked,
        closed = connection.closed() => Ended::Closed(closed),
        () = converse(sender, messages, credentials) => Ended::Superseded,
        () = receive(receiver, inbox) => Ended::Closed(connection.closed().await),
    }
}

async fn agent_revoked(connection: &Connection, credentials: &Credentials) {
    let trust = credentials.trust();
    let mut moved = trust.subscribe();
    loop {
        if trust.is_revoked(&connection.peer()) {
            return;
        }
        if moved.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn receive(mut receiver: FrameReceiver, inbox: mpsc::Sender<ConnectionMessage>) {
    while let Ok(Some(message)) = receiver.recv().await {
        if inbox.send(message).await.is_err() {
            return;
        }
    }
}

/// Returns when another connection should be made.
async fn converse(
    mut sender: FrameSender,
    mut messages: mpsc::Receiver<ConnectionMessage>,
    credentials: &Credentials,
) {
    let mut renewals = credentials.renewals();
    renewals.mark_unchanged();
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut nonce = 0;
    let mut unanswered: Option<tokio::time::Instant> = None;
    loop {
        let overdue = async {
            match unanswered {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            () = overdue => return debug!("the agent does not answer pings"),
            _ = ping.tick() => {
                nonce += 1;
                unanswered.get_or_insert(tokio::time::Instant::now() + PING_DEADLINE);
                ConnectionMessage::Ping { nonce }
            }
            changed = renewals.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
                ConnectionMessage::Certificate {
                    certificate: Document::from(credentials.certificate().wire()),
                }
            }
            message = messages.recv() => match message {
                Some(ConnectionMessage::Pong { nonce: answered }) => {
                    if answered == nonce {
                        unanswered = None;
                    }
                    continue;
                }
                Some(ConnectionMessage::Ping { nonce }) => ConnectionMessage::Pong { nonce },
                Some(ConnectionMessage::Draining) => return debug!("the agent is draining"),
                Some(ConnectionMessage::Refused { error }) => {
                    warn!(code = error.code, "the agent refused the renewed certificate");
                    continue;
                }
                Some(_) => continue,
                // The stream has ended; the connection's own end decides.
                None => return std::future::pending().await,
            },
        };
        if sender.send(&message).await.is_err() {
            return std::future::pending().await;
        }
    }
}
