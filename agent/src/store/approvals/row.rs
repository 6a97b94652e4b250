//! What is stored of an approval.

use homing_certs::{NodeId, UserId};

/// An approval about to be asked for.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// Whose turn.
    pub user: UserId,
    /// In which session.
    pub session: String,
    /// Which turn.
    pub turn_id: i64,
    /// The model's id of the call.
    pub call_id: String,
    /// In whose name the turn runs.
    pub device: NodeId,
    /// The handle of that device's user.
    pub handle: String,
    /// Which tool.
    pub tool: String,
    /// One line for people.
    pub summary: String,
    /// Canonical JSON of the arguments.
    pub arguments: String,
    /// Canonical JSON of what it is bound to beside them.
    pub bound: String,
    /// SHA-256 over tool, arguments and what it is bound to.
    pub hash: [u8; 32],
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nobody has answered.
    Pending,
    /// Somebody said yes; not used yet.
    Approved,
    /// Somebody said no, or its turn ended.
    Denied,
    /// Nobody answered in time, or it was not used in time.
    Expired,
    /// Its tool was started.
    Used,
}

impl ApprovalState {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Used => "used",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Pending,
            Self::Approved,
            Self::Denied,
            Self::Expired,
            Self::Used,
        ];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredBy {
    /// The device.
    pub device: NodeId,
    /// Its user's handle.
    pub handle: String,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// A stored approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Its id.
    pub id: i64,
    /// Whose turn.
    pub user: UserId,
    /// In which session.
    pub session: String,
    /// Which turn.
    pub turn_id: i64,
    /// In whose name the turn runs.
    pub device: NodeId,
    /// The handle of that device's user.
    pub handle: String,
    /// Which tool.
    pub tool: String,
    /// One line for people.
    pub summary: String,
    /// Canonical JSON.
    pub arguments: String,
    /// Canonical JSON.
    pub bound: String,
    /// SHA-256 over tool, arguments and what it is bound to.
    pub hash: [u8; 32],
    /// Where it stands.
    pub state: ApprovalState,
    /// Why nobody's answer ended it; empty otherwise.
    pub reason: String,
    /// Who answered; `None` when nobody did.
    pub answered: Option<AnsweredBy>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub expires_ms: i64,
    /// Unix milliseconds.
    pub used_ms: Option<i64>,
}
