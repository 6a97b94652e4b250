//! Messages of `homing/control/1`: what a device asks of its coordinator.
//!
//! The first bi-stream carries a [`crate::gateway::Hello`], answered by [`ControlWelcome`] or a close.
//! After that every bi-stream carries one [`ControlRequest`] and its [`ControlReply`]. Rights are those
//! of the row that belongs to the TLS peer key at that moment, never those that the device claims; the
//! Hello's certificate may be absent or expired.

use homing_certs::{NodeId, Role, UserId};
use serde::{Deserialize, Serialize};

use crate::gateway::Reach;
use crate::text;
use crate::{Document, ErrorBody};

/// The coordinator's answer to a Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlWelcome {
    /// The version that both sides speak from here on.
    pub version: u16,
    /// The coordinator's program version, for people.
    pub program: String,
    /// Root documents after the epoch that the Hello named, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root_chain: Vec<Document>,
    /// Number of the newest log entry.
    pub log_seq: u64,
}

/// One request. `device` is always a name or a NodeId prefix of 8 or more hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlRequest {
    /// A new certificate for the asking key.
    Renew,
    /// All devices that the caller may see.
    Devices,
    /// The agents of the network and where they are.
    Agents,
    /// Devices that wait for approval.
    Pending,
    /// A new invitation.
    Invite(InviteRequest),
    /// Lets a waiting device in.
    Approve {
        /// Which.
        device: String,
        /// Its check code.
        code: String,
    },
    /// Turns a waiting device away.
    Deny {
        /// Which.
        device: String,
    },
    /// Revokes a device everywhere.
    Revoke {
        /// Which.
        device: String,
        /// Also every device that it enrolled.
        #[serde(default)]
        with_invited: bool,
        /// From an agent: the admin's device that asked it. The caller itself asks when absent.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "text::option"
        )]
        on_behalf_of: Option<NodeId>,
    },
    /// Gives a device another name.
    Rename {
        /// Which.
        device: String,
        /// The new name.
        name: String,
    },
    /// The revocation log, for a device that holds an older position.
    Log {
        /// What the device holds.
        head: crate::gateway::Head,
    },
    /// The signed log entry that revoked this key, as a proof for the one that it names.
    Proof {
        /// The revoked key.
        #[serde(with = "text::plain")]
        node_id: NodeId,
    },
    /// Waits for the next notice after `after`; answered at once when there is one.
    Notices {
        /// Number of the last notice that the caller has seen.
        after: u64,
    },
}

/// Parameters of a new invitation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InviteRequest {
    /// Name for the new device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Role; client when absent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "text::option"
    )]
    pub role: Option<Role>,
    /// Scopes; the defaults for the role and user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Handle of the user whose device it will be; the caller's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Seconds that the ticket is good for; 600 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Whether somebody must approve; by the rule of the role and life when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<bool>,
}

/// Answer to a [`ControlRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlReply {
    /// Of `Renew`.
    Renewed {
        /// The new certificate.
        certificate: Document,
        /// Root documents after the epoch that the caller named in its Hello.
        root_chain: Vec<Document>,
    },
    /// Of `Devices`.
    Devices(Vec<DeviceInfo>),
    /// Of `Agents`.
    Agents(Vec<AgentInfo>),
    /// Of `Pending`.
    Pending(Vec<PendingInfo>),
    /// Of `Invite`.
    Invited(Box<InvitationInfo>),
    /// Of `Revoke`.
    Revoked(RevokedInfo),
    /// Of `Approve` and `Rename`: the device as it is now.
    Device(Box<DeviceInfo>),
    /// Of `Deny`.
    Denied {
        /// Name of the device.
        device: String,
    },
    /// Of `Log`; `None` when the device holds the newest.
    Log {
        /// All live entries, signed.
        snapshot: Option<Document>,
    },
    /// Of `Proof`; `None` when the key is not revoked.
    Proof {
        /// The signed entry.
        document: Option<Document>,
    },
    /// Of `Notices`.
    Notices(Vec<Notice>),
    /// The request was refused or failed.
    Error(ErrorBody),
}

/// Whether a device may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStatus {
    /// Enrolled and not revoked.
    Active,
    /// Waits for approval.
    Pending,
    /// Revoked for ever.
    Revoked,
}

impl DeviceStatus {
    /// Its JSON text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }
}

/// A device as its owner sees it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Name, unique in the network.
    pub device: String,
    /// Key.
    #[serde(with = "text::plain")]
    pub node_id: NodeId,
    /// Whose it is.
    pub user: String,
    /// Id of that user.
    #[serde(with = "text::plain")]
    pub user_id: UserId,
    /// Role.
    #[serde(with = "text::plain")]
    pub role: Role,
    /// Scopes of its certificate.
    pub scopes: Vec<String>,
    /// Whether it may act.
    pub status: DeviceStatus,
    /// Whether it is connected to the coordinator or an agent that reports.
    pub online: bool,
    /// Last time that it was seen.
    pub last_seen: Option<u64>,
    /// `not_after` of its newest certificate.
    pub expires_at: Option<u64>,
    /// Name of the device that invited it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_by: Option<String>,
    /// Operating system that it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// An agent and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Name.
    pub agent: String,
    /// Key and addresses.
    #[serde(flatten)]
    pub reach: Reach,
    /// Whether its log stream is open.
    pub online: bool,
}

/// A device that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingInfo {
    /// Name that it will get.
    pub device: String,
    /// Key.
    #[serde(with = "text::plain")]
    pub node_id: NodeId,
    /// Role that it will get.
    #[serde(with = "text::plain")]
    pub role: Role,
    /// Scopes that it will get.
    pub scopes: Vec<String>,
    /// Whose it will be.
    pub user: String,
    /// Operating system that it named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Where it connects from, as the coordinator sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When it asked, Unix seconds.
    pub since: u64,
}

/// A new invitation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationInfo {
    /// The ticket: a secret, shown once.
    pub ticket: String,
    /// Its id.
    pub invite_id: String,
    /// Name that the device will get, when one was chosen.
    pub name: Option<String>,
    /// Role that the device will get.
    #[serde(with = "text::plain")]
    pub role: Role,
    /// Scopes that it will get.
    pub scopes: Vec<String>,
    /// Whose it will be.
    pub user: String,
    /// When the ticket ends, Unix seconds.
    pub expires_at: u64,
    /// Whether somebody must approve.
    pub approval: bool,
}

impl std::fmt::Debug for InvitationInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationInfo")
            .field("invite_id", &self.invite_id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// What a revocation reached. As JSON it is also what people and programs are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedInfo {
    /// Name of the device.
    pub device: String,
    /// Its key.
    #[serde(with = "text::plain")]
    pub node_id: NodeId,
    /// Names of all devices that went with it.
    #[serde(default)]
    pub also: Vec<String>,
    /// Devices that it enrolled and that are still active.
    #[serde(default)]
    pub enrolled_by_it: Vec<String>,
    /// Every agent of the network.
    pub agents: Vec<AgentAck>,
    /// Microseconds since the Unix epoch at which the log entry was committed, by the coordinator's clock.
    pub committed_at_us: u64,
}

/// Whether an agent enforces a log position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAck {
    /// Name.
    pub agent: String,
    /// Whether it acknowledged in time.
    pub confirmed: bool,
    /// Milliseconds from the commit to its acknowledgement.
    pub ms: Option<u64>,
}

/// Something that all devices of a user should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Rises by one.
    pub number: u64,
    /// Unix seconds.
    pub time: u64,
    /// `device_enrolled`, `device_pending`, `device_revoked`, `invitation_burned`, `certificate_expiring`.
    pub kind: String,
    /// For people.
    pub text: String,
}
