//! Why the authority does not do what it was asked, and the words in which callers hear it.

use homing_certs::{EncodeError, LogError, NodeId, Role};
use homing_protocol::ErrorBody;

use super::audit::AuditError;
use super::recovery::ImportError;

/// A decision against the caller. Nothing has changed, apart from counted tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key has no device row.
    #[error("this key is not enrolled in the network")]
    NotEnrolled,
    /// The key waits for approval.
    #[error("this device waits for approval")]
    NotApproved,
    /// The key is revoked for ever.
    #[error("this device is revoked")]
    Revoked {
        /// The signed log entry, when it is known.
        proof: Option<Vec<u8>>,
    },
    /// The user of the device is blocked.
    #[error("the user {handle} is blocked")]
    UserBlocked {
        /// Whose.
        handle: String,
    },
    /// The caller may not do this.
    #[error("not allowed: {what}")]
    Forbidden {
        /// What is missing, for people.
        what: String,
        /// What would help.
        hint: String,
    },
    /// No device that the caller may see has this name or key.
    #[error("there is no device {selector:?}")]
    UnknownDevice {
        /// What was asked for.
        selector: String,
    },
    /// A key prefix fits several devices.
    #[error("{selector:?} fits several devices: {}", candidates.join(", "))]
    AmbiguousDevice {
        /// What was asked for.
        selector: String,
        /// Names and keys of those that it fits.
        candidates: Vec<String>,
    },
    /// The text is no name of a device.
    #[error("{name:?} is not a name: 1 to 64 of a-z 0-9 . _ -")]
    BadName {
        /// The text.
        name: String,
    },
    /// Another device has the name.
    #[error("another device has the name {name:?}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The text is no handle.
    #[error("{handle:?} is not the name of a user: 1 to 64 of a-z 0-9 . _ -")]
    BadUser {
        /// The text.
        handle: String,
    },
    /// A scope does not exist or has no valid form.
    #[error("{scope:?} is not a scope")]
    BadScope {
        /// The text.
        scope: String,
    },
    /// The role's ceiling leaves nothing of a scope.
    #[error("a device of role {role} cannot have the scope {scope:?}")]
    AboveCeiling {
        /// The role.
        role: Role,
        /// The scope.
        scope: String,
    },
    /// The ticket would live too long, or not at all.
    #[error("a ticket for a device of role {role} lives 1 to {max} seconds")]
    BadLife {
        /// The role.
        role: Role,
        /// Longest life in seconds.
        max: u64,
    },
    /// The inviter has too many open invitations.
    #[error("{limit} invitations are open already")]
    TooManyInvitations {
        /// The limit.
        limit: usize,
    },
    /// Too many devices wait for approval.
    #[error("{limit} devices wait for approval already")]
    TooManyPending {
        /// The limit.
        limit: usize,
    },
    /// One text for unknown, used, expired and withdrawn invitations and for wrong secrets.
    #[error("the ticket is not valid: it is unknown, used or expired")]
    TicketNotGood,
    /// Somebody has turned the device away.
    #[error("this device was turned away")]
    Denied,
    /// The key may not be enrolled: weak, or not canonical.
    #[error("this key cannot be enrolled: it is weak or not canonical")]
    WeakKey,
    /// The key belongs to a device already.
    #[error("this key is enrolled already, as {device:?}")]
    KeyInUse {
        /// Its name.
        device: String,
    },
    /// The check code is wrong.
    #[error("the code is wrong; {left} tries are left")]
    WrongCode {
        /// Tries before the device is turned away.
        left: u32,
    },
    /// The check code was wrong too often.
    #[error("the code was wrong {tries} times; the device {device:?} was turned away")]
    CodeTriesUsedUp {
        /// The device.
        device: String,
        /// How often.
        tries: u32,
    },
    /// The last device that may administer the network would be gone.
    #[error("{device:?} is the last device of role admin")]
    LastAdmin {
        /// The device.
        device: String,
    },
    /// The certificate ended too long ago.
    #[error("the certificate ended more than {days} days ago")]
    RenewalTooLate {
        /// The limit.
        days: u64,
    },
    /// The coordinator was restored from a backup and signs nothing yet.
    #[error("the coordinator recovers from a restore and signs nothing yet")]
    Recovering,
    /// There is nothing to end.
    #[error("the coordinator is not recovering")]
    NotRecovering,
    /// An agent has shown a newer log than the one that was imported.
    #[error(
        "the newest revocation log is missing: {seen} entries are known to exist, {have} are here"
    )]
    LogIncomplete {
        /// Newest entry that anybody has shown.
        seen: u64,
        /// Newest entry here.
        have: u64,
    },
    /// The wall clock jumped.
    #[error("the coordinator's clock jumped and nothing is signed until somebody confirms it")]
    ClockDeparted,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The caller is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed; nothing has changed.
    #[error("the coordinator's database failed")]
    Database(#[from] rusqlite::Error),
    /// The audit log cannot be written, so nothing was changed.
    #[error("the audit log cannot be written")]
    Audit(#[from] AuditError),
    /// A document could not be signed.
    #[error("a document could not be signed")]
    Sign(#[from] EncodeError),
    /// The log in the database does not hold together.
    #[error("the revocation log in the database is damaged")]
    Log(#[from] LogError),
    /// A log document of somebody else was refused.
    #[error("the log document was refused")]
    Import(#[from] ImportError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random(#[from] getrandom::Error),
    /// A row holds what was never written.
    #[error("the coordinator's database holds an unreadable {what}")]
    Corrupt {
        /// What could not be read.
        what: &'static str,
    },
}

impl Refusal {
    /// Stable, machine-readable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled => "cert_missing",
            Self::NotApproved => "not_approved",
            Self::Revoked { .. } => "revoked",
            Self::Forbidden { .. } | Self::UserBlocked { .. } => "forbidden",
            Self::UnknownDevice { .. } => "unknown_device",
            Self::AmbiguousDevice { .. } => "ambiguous_device",
            Self::BadName { .. } => "bad_name",
            Self::NameTaken { .. } => "name_taken",
            Self::BadUser { .. } => "bad_user",
            Self::BadScope { .. } => "bad_scope",
            Self::AboveCeiling { .. } => "above_ceiling",
            Self::BadLife { .. } => "bad_ttl",
            Self::TooManyInvitations { .. } | Self::TooManyPending { .. } => "busy",
            Self::TicketNotGood => "ticket_invalid",
            Self::Denied => "denied",
            Self::WeakKey => "weak_key",
            Self::KeyInUse { .. } => "key_in_use",
            Self::WrongCode { .. } => "wrong_code",
            Self::CodeTriesUsedUp { .. } => "denied",
            Self::LastAdmin { .. } => "last_admin",
            Self::RenewalTooLate { .. } => "renewal_too_late",
            Self::Recovering => "recovering",
            Self::NotRecovering => "not_recovering",
            Self::LogIncomplete { .. } => "log_incomplete",
            Self::ClockDeparted => "clock_departed",
        }
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::NotEnrolled => "join the network with a ticket from `homing invite`",
            Self::NotApproved => {
                "`homing pending` and `homing approve` on a device that may invite"
            }
            Self::Revoked { .. } => {
                "this key stays blocked for ever; join with a new ticket, which makes a new key"
            }
            Self::Forbidden { hint, .. } => hint,
            Self::UserBlocked { .. } => "ask the owner of the network",
            Self::UnknownDevice { .. } => "`homing devices` lists names and keys",
            Self::AmbiguousDevice { .. } => "give the name, or more digits of the key",
            Self::BadName { .. } | Self::BadUser { .. } => "choose another name",
            Self::NameTaken { .. } => "choose another name; `homing devices` lists those in use",
            Self::BadScope { .. } => "the glossary lists the scopes",
            Self::AboveCeiling { .. } => "leave the scope out, or invite with another role",
            Self::BadLife { .. } => "choose a life within these limits",
            Self::TooManyInvitations { .. } => "wait until some have expired",
            Self::TooManyPending { .. } => "`homing pending` lists them; approve or deny some",
            Self::TicketNotGood => "ask for a new ticket: `homing invite`",
            Self::Denied => "ask for a new ticket, and compare the check code this time",
            Self::WeakKey => "make a new key",
            Self::KeyInUse { .. } => "this device is a member already; nothing has to be done",
            Self::WrongCode { .. } => "read the code again where `homing join` waits",
            Self::CodeTriesUsedUp { .. } => "invite the device again",
            Self::LastAdmin { .. } => "run `homing revoke` on the coordinator's host",
            Self::RenewalTooLate { .. } => {
                "revoke this device and invite it again; it gets a new key"
            }
            Self::Recovering => "run `homing coordinator resume` on the coordinator's host",
            Self::NotRecovering => "nothing has to be done",
            Self::LogIncomplete { .. } => "start the agents, so that they bring the newest log",
            Self::ClockDeparted => {
                "check the host's clock, run `homing coordinator resume` there and start homing again"
            }
        }
    }
}

impl From<&Refusal> for ErrorBody {
    fn from(refusal: &Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string(), refusal.hint())
    }
}

/// What a caller hears. Internal causes go to the log, never to a peer.
impl From<&AuthorityError> for ErrorBody {
    fn from(error: &AuthorityError) -> Self {
        match error {
            AuthorityError::Refused(refusal) => refusal.into(),
            AuthorityError::Import(error) => Self::new(
                "log_refused",
                error.to_string(),
                "the log of another network or signer",
            ),
            AuthorityError::Audit(_) => Self::new(
                "audit_failed",
                "the coordinator cannot write its audit log, so nothing was changed",
                "see the coordinator's log; free disk space or run `homing audit verify`",
            ),
            _ => Self::new(
                "internal",
                "the coordinator failed to do this; nothing was changed",
                "see the coordinator's log",
            ),
        }
    }
}

/// Whose device a refusal is about, for `revoked` closes.
impl Refusal {
    /// The signed entry of a [`Refusal::Revoked`].
    #[must_use]
    pub fn proof(&self) -> Option<&[u8]> {
        match self {
            Self::Revoked { proof } => proof.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn unknown_key(node_id: &NodeId) -> Self {
        Self::UnknownDevice {
            selector: node_id.short(),
        }
    }
}
