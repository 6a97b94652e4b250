//! Messages on bi-stream 0 of `homing/gateway/1`: admission, then what concerns the connection.
//!
//! The client opens stream 0 and sends [`Hello`]; the agent answers [`HelloOk`] or closes the
//! connection with a reason (`close`). Afterwards both sides send [`ConnectionMessage`]s on it.

use std::net::SocketAddr;

use homing_certs::{LogHash, LogHead, NodeId};
use serde::{Deserialize, Serialize};

use crate::text;
use crate::{Document, ErrorBody};

/// Position in the revocation log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Epoch of the root document under which it was signed.
    pub root_epoch: u32,
    /// Number of the newest entry.
    pub seq: u64,
    /// Hash of the newest entry.
    #[serde(with = "text::plain")]
    pub hash: LogHash,
}

impl From<LogHead> for Head {
    fn from(head: LogHead) -> Self {
        Self {
            root_epoch: head.root_epoch,
            seq: head.seq,
            hash: head.hash,
        }
    }
}

impl From<Head> for LogHead {
    fn from(head: Head) -> Self {
        Self {
            root_epoch: head.root_epoch,
            seq: head.seq,
            hash: head.hash,
        }
    }
}

/// First message of a client on any protocol that needs a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Message versions that the client speaks, newest first.
    pub versions: Vec<u16>,
    /// The client's own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Document>,
    /// Epoch of the newest root document that the client holds.
    #[serde(default)]
    pub root_epoch: u32,
    /// Newest log position that the client has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_head: Option<Head>,
    /// Program version, for people.
    #[serde(default)]
    pub program: String,
}

/// The agent's verdict. A refusal is a close of the connection instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloOk {
    /// The version that both sides speak from here on.
    pub version: u16,
    /// The agent's name in its network.
    pub agent: String,
    /// The agent's program version, for people.
    pub program: String,
    /// The agent's own certificate: role agent, for the key that was dialed.
    pub certificate: Document,
    /// Epoch of the agent's newest root document.
    pub root_epoch: u32,
    /// Number of the agent's newest log entry.
    pub log_seq: u64,
}

/// What travels on stream 0 after admission, in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionMessage {
    /// Asks for a [`ConnectionMessage::Pong`] with the same number.
    Ping {
        /// Echoed.
        nonce: u64,
    },
    /// Answers a ping.
    Pong {
        /// Of the ping.
        nonce: u64,
    },
    /// A renewed certificate of the sender, to take the place of the old one.
    Certificate {
        /// The new certificate.
        certificate: Document,
    },
    /// The renewed certificate is in force.
    CertificateAccepted {
        /// Its `not_after`, Unix seconds.
        not_after: u64,
    },
    /// The sender refuses what came before; the connection goes on.
    Refused {
        /// Why.
        error: ErrorBody,
    },
    /// Root documents that the other side lacks, oldest first.
    RootChain {
        /// Epochs after the one that the other side named.
        documents: Vec<Document>,
    },
    /// The sender is going away: open no new streams here and dial again.
    Draining,
    /// The sender's log position has moved.
    LogHead {
        /// The newest.
        head: Head,
    },
}

/// Where an endpoint may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The endpoint's key.
    #[serde(with = "text::plain")]
    pub node_id: NodeId,
    /// URL of its relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Socket addresses, at most [`MAX_ADDRESSES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<SocketAddr>,
}

/// Most addresses that are kept or sent for one endpoint.
pub const MAX_ADDRESSES: usize = 8;
