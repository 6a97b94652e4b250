//! How a command fails: a code, a sentence, a next step, and the exit code that they mean.

use homing_protocol::ErrorBody;

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did not do what it should.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// A certificate or a right was refused.
    Refused = 3,
    /// The other side could not be reached.
    NotReachable = 4,
    /// Nothing failed: the process is to be started anew (`EX_TEMPFAIL` of sysexits.h).
    Restart = 75,
}

/// A failure with everything that a person or a program needs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Failure(pub(crate) ErrorBody);

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(ErrorBody::new(code, message, hint))
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Self(body)
    }
}

/// Code, sentence and next step of any error that a command ended with.
pub(crate) fn describe(error: &anyhow::Error) -> (ErrorBody, Exit) {
    if let Some(Failure(body)) = error.downcast_ref::<Failure>() {
        return (body.clone(), exit_of(&body.code));
    }
    let (code, hint) = if error.chain().any(is_full_disk) {
        (
            "disk_full",
            "free some space on that disk, then run it again",
        )
    } else {
        ("failed", "run it again with -v to see more")
    };
    let body = ErrorBody::new(code, format!("{error:#}"), hint);
    (body, Exit::Failed)
}

fn is_full_disk(cause: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        return matches!(error.kind(), StorageFull | QuotaExceeded);
    }
    cause
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code)
        == Some(rusqlite::ErrorCode::DiskFull)
}

fn exit_of(code: &str) -> Exit {
    match code {
        "usage" | "invalid_argument" | "ticket_malformed" | "bad_name" | "bad_user"
        | "bad_scope" | "bad_ttl" | "unknown_device" | "ambiguous_device" | "unknown_agent"
        | "several_agents" | "unknown_provider" | "unknown_model" | "several_models"
        | "unknown_profile" | "unknown_session" | "bad_base_url" | "bad_key" | "key_needed"
        | "bad_mcp" | "bad_secrets" => Exit::Usage,
        "not_reachable" | "timeout" | "no_address" => Exit::NotReachable,
        "cert_missing" | "cert_invalid" | "cert_expired" | "cert_not_yet_valid"
        | "wrong_network" | "wrong_key" | "revoked" | "unknown_signer" | "stale_policy"
        | "upgrade_required" | "forbidden" | "unauthorized" | "ticket_invalid" | "denied"
        | "not_approved" | "above_ceiling" | "weak_key" | "key_in_use" | "wrong_code"
        | "last_admin" | "renewal_too_late" | "agent_certificate" | "agent_revoked"
        | "name_changed" => Exit::Refused,
        "restart" => Exit::Restart,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_refused_from_unreachable_from_failed() {
        let exit = |code: &str| describe(&Failure::new(code, "", "").into()).1;
        assert_eq!(exit("revoked"), Exit::Refused);
        assert_eq!(exit("not_reachable"), Exit::NotReachable);
        assert_eq!(exit("usage"), Exit::Usage);
        assert_eq!(exit("something else"), Exit::Failed);
        assert_eq!(describe(&anyhow::anyhow!("plain")).1, Exit::Failed);
    }
}
