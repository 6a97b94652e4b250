//! Refusals of providers and models as HTTP, and what a provider itself fails with.

use homing_protocol::ErrorBody;
use http::StatusCode;

use super::ApiError;
use crate::models::{ModelsError, SealError};
use crate::providers::ProviderError;

impl From<ModelsError> for ApiError {
    fn from(error: ModelsError) -> Self {
        let text = error.to_string();
        match error {
            ModelsError::Store(error) => error.into(),
            ModelsError::Seal(error) => sealing(&error),
            ModelsError::UnknownProvider | ModelsError::UnknownModel => Self::not_found(),
            ModelsError::UnknownProfile(_) => Self::bad_request("unknown_profile", text),
            ModelsError::BadName => Self::bad_request("bad_name", text),
            ModelsError::NameTaken | ModelsError::ModelTaken => {
                let hint = "change the one that is there, or choose another name";
                Self::new(StatusCode::CONFLICT, "exists", text, hint)
            }
            ModelsError::NoBaseUrl | ModelsError::BadBaseUrl(_) => {
                Self::bad_request("bad_base_url", text)
            }
            ModelsError::BadKey(_) => Self::bad_request("bad_key", text),
            ModelsError::KeyNeeded | ModelsError::KeyForOtherAddress => {
                let hint = "send api_key in the same request";
                Self::new(StatusCode::BAD_REQUEST, "key_needed", text, hint)
            }
            ModelsError::BadModelName => Self::bad_request("bad_model", text),
            ModelsError::BadNumber(_) => Self::bad_request("bad_number", text),
            ModelsError::DefaultDisabled => {
                let hint = "enable it first";
                Self::new(StatusCode::CONFLICT, "disabled", text, hint)
            }
            ModelsError::TooMany(_) => {
                let hint = "remove some that nobody uses";
                Self::new(StatusCode::CONFLICT, "too_many", text, hint)
            }
            ModelsError::Fixed => {
                let hint = "run an agent with a database of its own";
                Self::new(StatusCode::CONFLICT, "fixed", text, hint)
            }
        }
    }
}

fn sealing(error: &SealError) -> ApiError {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "a key could not be sealed"
    );
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let hint =
        "the agent's log names the reason: its file secrets.key has to be readable, by it alone";
    ApiError::new(status, "key_not_sealed", "the key could not be kept", hint)
}

/// What a provider fails with, for people who configure it.
pub(in crate::gateway) fn provider_error(error: &ProviderError) -> ErrorBody {
    let (code, hint) = match error {
        ProviderError::Unreachable(_) => (
            "provider_unreachable",
            "check base_url, and that its server runs and can be reached from the agent's host",
        ),
        ProviderError::Unauthorized(_) => (
            "provider_unauthorized",
            "enter another key: homing providers key",
        ),
        ProviderError::NoKey => (
            "provider_no_key",
            "enter the key again: homing providers key; it does not open with this host's secrets.key",
        ),
        ProviderError::RateLimited { .. } => (
            "provider_rate_limited",
            "wait, or raise the limit of the account at the provider",
        ),
        ProviderError::Unavailable(_) => (
            "provider_unavailable",
            "try again later; the provider's status page may say more",
        ),
        ProviderError::Silent(_) | ProviderError::BrokenOff => (
            "provider_silent",
            "check the provider's server and the network between; try again",
        ),
        ProviderError::Malformed(_) | ProviderError::TooLong(_) => (
            "provider_malformed",
            "check base_url: something else than a model API may answer there (many end in /v1)",
        ),
        ProviderError::ContextTooLong => ("context_too_long", "begin a new session"),
        ProviderError::Rejected { .. } => (
            "provider_rejected",
            "check base_url and the name of the model; the provider's own words say what is wrong",
        ),
    };
    ErrorBody::new(code, error.to_string(), hint)
}
