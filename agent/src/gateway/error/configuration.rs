//! Refusals of the configuration as HTTP.

use http::StatusCode;

use super::ApiError;
use crate::configuration::ConfigError;

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        match error {
            ConfigError::Absent => {
                let hint = "edit its file on the host";
                Self::new(StatusCode::NOT_IMPLEMENTED, "not_available", text, hint)
            }
            ConfigError::UnknownSection(..) => {
                let hint = "GET /api/config shows them all";
                Self::new(StatusCode::NOT_FOUND, "unknown_section", text, hint)
            }
            ConfigError::Invalid(_) => Self::bad_request("config_invalid", text),
            ConfigError::HostOnly(_) => {
                let hint = "edit homing.toml on the host, then homing config reload";
                Self::new(StatusCode::FORBIDDEN, "host_only", text, hint)
            }
            ConfigError::Changed => {
                let hint = "read it again and make the change anew";
                Self::new(StatusCode::CONFLICT, "config_changed", text, hint)
            }
            ConfigError::Disk { doing, source } => {
                tracing::error!(%source, "the configuration could not be {doing}");
                let hint = "look at the disk and the rights of homing.toml on the host";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk", text, hint)
            }
            ConfigError::Stopped => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                text,
                "try again soon",
            ),
        }
    }
}
