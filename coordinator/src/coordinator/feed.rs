//! The live log for all agents: every document is signed once and encoded once, whatever their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homing_certs::LogHead;
use homing_protocol::Document;
use homing_protocol::frame::{self, MAX_FRAME};
use homing_protocol::revocations::LogMessage;
use tokio::sync::broadcast;

use crate::authority::SignedDelta;

/// Documents that wait for a slow agent; one that lags further is brought up from the database.
const CAPACITY: usize = 256;

/// One document on its way.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// Where the log ends with it.
    pub(crate) head: LogHead,
    /// The whole frame.
    pub(crate) frame: Arc<[u8]>,
}

/// What the document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Delta,
    Heartbeat,
}

/// Sends to all agents. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    sender: broadcast::Sender<Item>,
    newest: Arc<AtomicU64>,
}

impl Feed {
    /// For a log that ends at `seq`.
    pub(crate) fn new(seq: u64) -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            newest: Arc::new(AtomicU64::new(seq)),
        }
    }

    /// Number of the newest step; nobody can have taken a later one.
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Item> {
        self.sender.subscribe()
    }

    pub(crate) fn delta(&self, delta: &SignedDelta) {
        let document = Document(delta.wire.to_vec());
        self.send(Kind::Delta, delta.head, &LogMessage::Delta { document });
    }

    pub(crate) fn heartbeat(&self, beat: &SignedDelta) {
        let document = Document(beat.wire.to_vec());
        self.send(
            Kind::Heartbeat,
            beat.head,
            &LogMessage::Heartbeat { document },
        );
    }

    fn send(&self, kind: Kind, head: LogHead, message: &LogMessage) {
        self.newest.fetch_max(head.seq, Ordering::AcqRel);
        match frame::encode(message, MAX_FRAME) {
            // Fails when no agent listens; those that come later start from the database.
            Ok(bytes) => drop(self.sender.send(Item {
                kind,
                head,
                frame: bytes.into(),
            })),
            Err(error) => tracing::error!(%error, "a log document does not fit a frame"),
        }
    }
}
