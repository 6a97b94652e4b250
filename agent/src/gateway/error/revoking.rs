//! Revocations that were not passed on, or that the coordinator refused, as HTTP.

use http::StatusCode;

use super::ApiError;
use crate::revoking::RevokeError;

impl From<RevokeError> for ApiError {
    fn from(error: RevokeError) -> Self {
        let text = error.to_string();
        match error {
            RevokeError::BadSelector => Self::bad_request("bad_device", text),
            RevokeError::Refused(body) => {
                let status = match body.code.as_str() {
                    "forbidden" | "last_admin" => StatusCode::FORBIDDEN,
                    "unknown_device" => StatusCode::NOT_FOUND,
                    "ambiguous_device" | "bad_name" => StatusCode::BAD_REQUEST,
                    // Later it may go through: the coordinator is busy, or is being restored.
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                Self::new(status, body.code, body.message, body.hint)
            }
            RevokeError::Unreachable(_) | RevokeError::Unexpected => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a revocation was not confirmed by the coordinator"
                );
                let hint = "run `homing revoke` on the coordinator's host; `homing revoke --local` on an \
                            agent's host denies a device at once";
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "coordinator_unreachable",
                    text,
                    hint,
                )
            }
        }
    }
}
