//! Messages of the control socket in `<dir>/run`: what a command asks of the process that holds the
//! directory.
//!
//! One connection, one [`LocalRequest`], one [`LocalReply`]. The token comes from a 0600 file beside
//! the socket, so that a program that can reach the socket but not the directory is refused.

use serde::{Deserialize, Serialize};

use crate::ErrorBody;
use crate::control::{ControlReply, ControlRequest};

/// One request of a command.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRequest {
    /// Content of the token file.
    pub token: String,
    /// What to do.
    pub command: LocalCommand,
}

impl std::fmt::Debug for LocalRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRequest")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// What a command may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "params", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LocalCommand {
    /// Passed to the coordinator: in this process, or over QUIC on a joined device.
    Network(ControlRequest),
    /// Dials an agent and reports.
    Dial {
        /// Name or NodeId; the only agent when absent.
        agent: Option<String>,
    },
    /// What runs here.
    Status,
    /// Denies a device at this host's agent at once, without the coordinator.
    RevokeLocal {
        /// NodeId, or name when the coordinator is in this process.
        device: String,
    },
    /// Ends the coordinator's recovery after a restore.
    Resume {
        /// Goes on although a newer log is known to exist and cannot be had.
        #[serde(default)]
        without_newest_log: bool,
    },
    /// Reads the configuration file again.
    ReloadConfig,
    /// Stops the process.
    Shutdown,
}

/// Answer to a [`LocalRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LocalReply {
    /// The coordinator's answer.
    Network(ControlReply),
    /// Of `Dial`.
    Dialed(DialReport),
    /// Of `RevokeLocal`.
    Denied {
        /// NodeId of the device that is denied here.
        node_id: String,
    },
    /// Of `ReloadConfig`.
    Reloaded {
        /// What takes effect at the next start only.
        restart_required: Vec<String>,
    },
    /// Of `Status`: one document, described in `docs/cli.md`.
    Status(Box<serde_json::Value>),
    /// Done.
    Done,
    /// Refused or failed.
    Error(ErrorBody),
}

/// What a dial found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DialReport {
    /// The key that was dialed.
    pub node_id: String,
    /// The agent's name.
    pub agent: Option<String>,
    /// Its program version.
    pub version: Option<String>,
    /// `direct` or `relay`.
    pub path: Option<String>,
    /// Round-trip time.
    pub rtt_ms: Option<f64>,
    /// `ok` or the reason code.
    pub certificate: String,
    /// The agent's socket address or relay URL.
    pub remote_addr: Option<String>,
    /// Why it ended without a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}
