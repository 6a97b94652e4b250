//! Messages of `homing/enroll/1`: a key without a certificate redeems a ticket.
//!
//! One bi-stream: the device sends [`EnrollRequest`], the coordinator answers with [`EnrollReply`]s;
//! a pending one is followed by another when somebody has approved or denied. The device's key is
//! the TLS peer key and is never named in a message. The same key asking again gets the same answer.

use homing_certs::InviteId;
use serde::{Deserialize, Serialize};

use crate::control::AgentInfo;
use crate::gateway::Reach;
use crate::text;
use crate::{Document, ErrorBody};

/// Longest name that a device may ask for, in bytes.
pub const MAX_DEVICE_NAME: usize = 64;

/// Redeems a ticket for the key that holds this connection.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// Message versions that the device speaks, newest first.
    pub versions: Vec<u16>,
    /// Which invitation.
    #[serde(with = "text::plain")]
    pub invite_id: InviteId,
    /// The ticket's secret, 16 bytes. Sent, not proved: the coordinator stores only its hash.
    pub secret: Document,
    /// Name that the device would like, when the invitation gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Operating system, for the device list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Where the new endpoint may be reached; only agents send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
}

impl std::fmt::Debug for EnrollRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollRequest")
            .field("invite_id", &self.invite_id)
            .field("name", &self.name)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// Answer to an [`EnrollRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum EnrollReply {
    /// The device is enrolled.
    Enrolled(Box<Enrollment>),
    /// Somebody must approve; another reply follows on this stream.
    Pending {
        /// To be typed where the approval is given; both sides compute it.
        check_code: String,
    },
    /// The ticket is not good, or the device was denied.
    Refused {
        /// One text for unknown, used and expired.
        error: ErrorBody,
    },
}

/// Everything that a device needs to know of its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// All root documents, genesis first. The device checks them against its ticket's network id.
    pub root_chain: Vec<Document>,
    /// The device's certificate.
    pub certificate: Document,
    /// The device's name, unique in the network.
    pub device: String,
    /// Newest snapshot of the revocation log.
    pub snapshot: Document,
    /// Where the coordinator is.
    pub coordinator: Reach,
    /// The agents of the network.
    pub agents: Vec<AgentInfo>,
}
