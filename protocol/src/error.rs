//! The one error shape that every surface answers with.

use serde::{Deserialize, Serialize};

/// A refusal or failure: a code for programs, a sentence for people, and what to do next.
///
/// HTTP carries it as `{"error":{…}}`; frames carry it bare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// Stable, machine-readable: `revoked`, `cert_expired`, `not_reachable`, `forbidden`, …
    pub code: String,
    /// One sentence: what failed and why.
    pub message: String,
    /// The next step, when there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Names the request in the log, on HTTP surfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ErrorBody {
    /// An error without a request id.
    pub fn new(
        code: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            hint: hint.into(),
            request_id: None,
        }
    }
}
