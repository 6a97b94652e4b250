//! How approvals end: what the model, the session's log and the database are told.

use crate::clock;
use crate::sessions::{By, SessionEvent};
use crate::store::{ApprovalRow, ApprovalState, Resolution};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Approved,
    /// No, or nothing that counts; the text is for the model.
    Denied(String),
}

/// What becomes of approvals that nobody answered when their turn ends.
#[must_use]
pub fn cancelled(reason: &'static str) -> Resolution {
    Resolution {
        state: ApprovalState::Denied,
        answered: None,
        reason,
        now_ms: clock::unix_ms(),
    }
}

/// The end of an approval as its session's log tells it.
#[must_use]
pub fn resolved_body(row: &ApprovalRow) -> String {
    SessionEvent::ApprovalResolved {
        id: row.id,
        decision: row.state.as_str(),
        by: row.answered.as_ref().map(|by| By {
            user: by.handle.clone(),
            device: by.device.to_string(),
        }),
        reason: row.reason.clone(),
    }
    .body()
}

pub(super) fn outcome_of(row: &ApprovalRow) -> Option<Outcome> {
    let denied = |why: String| Some(Outcome::Denied(why));
    match row.state {
        ApprovalState::Pending => None,
        ApprovalState::Approved => Some(Outcome::Approved),
        ApprovalState::Denied => denied(match &row.answered {
            Some(by) => format!("{} denied it", by.handle),
            None => format!("nobody approved it: {}", row.reason),
        }),
        ApprovalState::Expired => denied("nobody approved it in time".to_owned()),
        ApprovalState::Used => denied(
            "it was approved and begun before the agent was restarted; whether it took effect is not known"
                .to_owned(),
        ),
    }
}
