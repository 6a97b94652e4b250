//! JSON bodies of requests. What is refused is told by its place, never by its content: a body may hold
//! a key.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Bytes of a body; the largest ones are a key and an address.
const MAX_BODY: usize = 64 << 10;

/// A body that is a JSON document.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY).await;
        let body = body.map_err(|_| {
            let message = format!("the body is longer than {MAX_BODY} bytes or broke off");
            let hint = "send less";
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, hint)
        })?;
        parse(&body).map(Self)
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "has a field that this address does not take",
            _ => "is not JSON",
        };
        let (line, column) = (error.line(), error.column());
        let message = format!("the body {what} (line {line}, column {column})");
        ApiError::bad_request("bad_body", message)
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Expected {
        #[serde(rename = "key")]
        _key: u8,
    }

    #[test]
    fn a_refusal_names_the_place_and_not_the_content() {
        for body in [r#"{"key":"sk-secret"}"#, r#"{"sk-secret":1}"#, "sk-secret"] {
            let error = parse::<Expected>(&Bytes::from(body)).unwrap_err();
            assert_eq!(error.code, "bad_body");
            assert!(!error.message.contains("sk-secret"), "{}", error.message);
        }
    }
}
