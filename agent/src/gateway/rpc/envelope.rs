//! Envelopes as JSON: a call, its answer, an event.

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::ws::{ServerFrame, event_frame};
use super::VERSION;
use crate::clock;
use crate::store::LoggedEvent;

/// Longest id of a call, in bytes.
const MAX_ID: usize = 128;

/// A call. Fields that are not known are ignored.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Value,
    pub(super) key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(default)]
    version: Value,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    method: Value,
    #[serde(default)]
    params: Value,
    #[serde(default, rename = "idempotencyKey")]
    key: Option<Value>,
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
    /// The agent's own word for it.
    reason: Option<String>,
}

impl Call {
    /// The error comes with the id of the call, if it has one.
    pub(super) fn parse(text: &str) -> Result<Self, (Value, Refusal)> {
        let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
            let refusal = match error.classify() {
                serde_json::error::Category::Data => Refusal::request("a call is a JSON object"),
                _ => Refusal::new("PARSE_ERROR", "the frame is not JSON", false),
            };
            (Value::Null, refusal)
        })?;
        let id = match &envelope.id {
            Value::String(id) if (1..=MAX_ID).contains(&id.len()) => envelope.id,
            Value::Number(_) => envelope.id,
            _ => {
                let message = "a call has an id: a number, or a string of 1 to 128 bytes";
                return Err((Value::Null, Refusal::request(message)));
            }
        };
        if envelope.version != VERSION {
            let message = "this agent speaks version 1.0";
            return Err((id, Refusal::request(message)));
        }
        let Value::String(method) = envelope.method else {
            return Err((id, Refusal::request("a call has a method")));
        };
        let params = match envelope.params {
            Value::Null => json!({}),
            params @ Value::Object(_) => params,
            _ => return Err((id, Refusal::params("params is an object"))),
        };
        let key = match envelope.key {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) => Some(key),
            Some(_) => return Err((id, Refusal::params("the idempotencyKey is a string"))),
        };
        Ok(Self {
            id,
            method,
            params,
            key,
        })
    }
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>, retryable: bool) -> Self {
        Self {
            code,
            message: message.into(),
            retryable,
            retry_after_ms: None,
            reason: None,
        }
    }

    fn request(message: &str) -> Self {
        Self::new("INVALID_REQUEST", message, false)
    }

    pub(super) fn params(message: &str) -> Self {
        Self::new("INVALID_PARAMS", message, false)
    }

    pub(super) fn unknown_method() -> Self {
        let message = "there is no such method; hello lists them";
        Self::new("METHOD_NOT_FOUND", message, false)
    }

    pub(super) fn not_implemented(method: &str) -> Self {
        let method: String = method.chars().take(80).collect();
        let message = format!("this version of the agent does not have {method:?}");
        Self::new("not_implemented", message, false)
    }

    pub(super) fn missing_key() -> Self {
        let message = "this method has an effect and needs an idempotencyKey";
        Self::new("MISSING_IDEMPOTENCY_KEY", message, false)
    }

    pub(super) fn duplicate() -> Self {
        let message = "this idempotencyKey was used for another call; use a new one";
        Self::new("DUPLICATE_REQUEST", message, false)
    }

    pub(super) fn in_progress() -> Self {
        let message = "a call with this idempotencyKey is at work";
        Self::new("DUPLICATE_REQUEST", message, true)
    }

    pub(super) fn unknown_outcome() -> Self {
        let message = "the agent was stopped while it worked at a call with this idempotencyKey; \
                       look whether it was done before you use another key";
        Self::new("DUPLICATE_REQUEST", message, false)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let (code, retryable) = match error.status.as_u16() {
            401 if error.code == "revoked" => ("DEVICE_REVOKED", false),
            401 => ("UNAUTHORIZED", false),
            403 if error.code == "stale_policy" => ("FORBIDDEN", true),
            403 => ("FORBIDDEN", false),
            404 => ("NOT_FOUND", false),
            413 => ("FRAME_TOO_LARGE", false),
            429 => ("RATE_LIMITED", true),
            503 => ("UNAVAILABLE", true),
            500.. => ("INTERNAL_ERROR", true),
            _ => ("INVALID_PARAMS", false),
        };
        let milliseconds = |after: std::time::Duration| u64::try_from(after.as_millis()).ok();
        Self {
            code,
            message: error.message,
            retryable,
            retry_after_ms: error.retry_after.and_then(milliseconds),
            reason: Some(error.code.into_owned()),
        }
    }
}

/// The answer to a call.
pub(super) fn answer(id: &Value, outcome: Result<Value, Refusal>) -> Utf8Bytes {
    let text = match outcome {
        Ok(result) => json!({ "version": VERSION, "id": id, "result": result }),
        Err(refusal) => {
            let mut error = json!({
                "code": refusal.code,
                "message": refusal.message,
                "retryable": refusal.retryable,
            });
            if let Some(after) = refusal.retry_after_ms {
                error["retryAfterMs"] = after.into();
            }
            if let Some(reason) = refusal.reason {
                error["reason"] = reason.into();
            }
            json!({ "version": VERSION, "id": id, "error": error })
        }
    };
    text.to_string().into()
}

/// An event about no event of a session.
pub(in super::super) fn event(frame: &ServerFrame) -> Utf8Bytes {
    let mut data = serde_json::to_value(frame).unwrap_or_default();
    let kind = data.as_object_mut().and_then(|data| data.remove("type"));
    let kind = kind.unwrap_or_default();
    json!({ "version": VERSION, "event": kind, "data": data, "ts": clock::unix_ms() })
        .to_string()
        .into()
}

/// An event of a session: `session.<type>`, with the same fields as on `/ws`.
pub(in super::super) fn session_event(session_json: &str, event: &LoggedEvent) -> Utf8Bytes {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
    }
    let kind = serde_json::from_str::<Kind<'_>>(&event.body).map_or("", |kind| kind.kind);
    let data = event_frame(session_json, event);
    let ts = clock::unix_ms();
    format!(r#"{{"version":"{VERSION}","event":"session.{kind}","data":{data},"ts":{ts}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Value, &'static str) {
        let (id, refusal) = Call::parse(text).unwrap_err();
        (id, refusal.code)
    }

    #[test]
    fn what_is_no_call_is_told_from_a_call_that_is_wrong() {
        assert_eq!(refused("{"), (Value::Null, "PARSE_ERROR"));
        assert_eq!(refused("[1]"), (Value::Null, "INVALID_REQUEST"));
        assert_eq!(
            refused(r#"{"version":"1.0"}"#),
            (Value::Null, "INVALID_REQUEST")
        );
        let other = r#"{"version":"2.0","id":"a","method":"hello"}"#;
        assert_eq!(refused(other), (json!("a"), "INVALID_REQUEST"));
        let params = r#"{"version":"1.0","id":7,"method":"hello","params":[1]}"#;
        assert_eq!(refused(params), (json!(7), "INVALID_PARAMS"));
        let good = r#"{"version":"1.0","id":7,"method":"hello","ts":1,"more":2}"#;
        assert_eq!(Call::parse(good).unwrap().params, json!({}));
    }
}
