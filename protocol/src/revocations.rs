//! Messages of `homing/revocations/1`: an agent follows the revocation log.
//!
//! The agent opens one bi-stream and sends a [`crate::gateway::Hello`], then [`AgentMessage`]s; the
//! coordinator sends [`LogMessage`]s. An agent acknowledges a position only when it has swapped its
//! set, cut the connections and written the entry to disk.

use serde::{Deserialize, Serialize};

use crate::Document;
use crate::gateway::{Head, Reach};

/// Most documents in one [`AgentMessage::History`]; with a snapshot the deltas before it are not needed.
pub const MAX_HISTORY: usize = 256;

/// Seconds between heartbeats.
pub const HEARTBEAT_SECS: u64 = 15;

/// From the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogMessage {
    /// The next entry.
    Delta {
        /// Signed.
        document: Document,
    },
    /// All live entries, for an agent with a gap.
    Snapshot {
        /// Signed.
        document: Document,
    },
    /// The log has not moved, at this time.
    Heartbeat {
        /// Signed.
        document: Document,
    },
    /// A new root document.
    Root {
        /// Signed by the roots of the old and the new epoch.
        document: Document,
    },
    /// The agent has shown a position above the coordinator's own: the coordinator was set back by a
    /// restore, signs nothing, and asks for what it lacks. Answered by [`AgentMessage::History`].
    Behind {
        /// What the coordinator has.
        head: Head,
    },
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentMessage {
    /// Where the agent can be dialed, for the directory.
    Reach {
        /// Replaces what was said before.
        reach: Reach,
    },
    /// Everything up to this position is enforced and on disk.
    Ack {
        /// The position.
        head: Head,
    },
    /// A position did not follow on the agent's own; it asks for a snapshot.
    Gap {
        /// What the agent has.
        head: Head,
    },
    /// Signed deltas or a snapshot that the coordinator lacks, in order.
    History {
        /// At most [`MAX_HISTORY`], at most a frame in all.
        documents: Vec<Document>,
    },
}
