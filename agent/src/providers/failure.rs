//! What a refusal of a model API means. Pure: a status and a body in, an error out.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{ApiKey, ProviderError};

/// Bytes of an error's body that are read.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;
/// Characters of it that people see.
const MAX_TEXT: usize = 500;

/// How servers say that a conversation does not fit: OpenAI and vLLM, llama.cpp, Ollama, LM Studio,
/// Anthropic, Gemini, Mistral, Groq, in this order and some in the words of others.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "maximum context length",
    "exceed_context_size_error",
    "exceeds the available context size",
    "exceeds maximum context length",
    "exceeds the context length",
    "greater than the context length",
    "larger than the context window",
    "context size has been exceeded",
    "prompt is too long",
    "exceeds the maximum number of tokens",
    "reduce the length of the messages",
];

/// An error as a body holds it, in any of the forms in use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Value,
    message: Value,
    detail: Value,
}

/// The error that an answer with a status other than 2xx stands for.
pub(super) fn of_answer(
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
    secret: Option<&ApiKey>,
) -> ProviderError {
    let parsed = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
    let (code, text) = if parsed.is_null() {
        (String::new(), String::from_utf8_lossy(body).into_owned())
    } else {
        words(&parsed)
    };
    if status.is_redirection() {
        return ProviderError::Rejected {
            status: status.as_u16(),
            text: "it sends to another address; enter that address if it is the right one"
                .to_owned(),
        };
    }
    classify(status.as_u16(), &code, &text, retry_after, secret)
}

/// The error that an error object inside a stream stands for.
pub(super) fn of_stream(error: &Value, secret: Option<&ApiKey>) -> ProviderError {
    let (code, text) = words_of(error);
    let status = error["code"].as_u64().or_else(|| error["status"].as_u64());
    let status = status.and_then(|status| u16::try_from(status).ok());
    let named = match code.as_str() {
        "authentication_error" | "invalid_api_key" | "permission_error" => Some(401),
        "rate_limit_error" | "rate_limit_exceeded" => Some(429),
        "overloaded_error" => Some(529),
        "api_error" | "server_error" | "internal_server_error" => Some(500),
        _ => None,
    };
    let status = named.or(status).filter(|status| *status >= 400);
    classify(status.unwrap_or(200), &code, &text, None, secret)
}

/// The innermost reason of a failed request: outer ones repeat the address.
pub(super) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    shorten(&innermost.to_string(), None)
}

fn classify(
    status: u16,
    code: &str,
    text: &str,
    retry_after: Option<Duration>,
    secret: Option<&ApiKey>,
) -> ProviderError {
    let said = format!("{code} {text}").to_lowercase();
    if TOO_LONG.iter().any(|words| said.contains(words)) || status == 413 {
        return ProviderError::ContextTooLong;
    }
    match status {
        // Some repeat a part of the key here.
        401 | 403 => ProviderError::Unauthorized(status),
        // Waiting does not help somebody who has not paid.
        429 if !said.contains("insufficient_quota") => ProviderError::RateLimited { retry_after },
        500.. => ProviderError::Unavailable(status),
        _ => ProviderError::Rejected {
            status,
            text: shorten(text, secret),
        },
    }
}

fn words(body: &Value) -> (String, String) {
    // Gemini answers with a list of one.
    let body = body
        .as_array()
        .and_then(|list| list.first())
        .unwrap_or(body);
    let parsed = Body::deserialize(body).unwrap_or_default();
    let candidates = [parsed.error, parsed.message, parsed.detail];
    let found = candidates.iter().find(|value| !value.is_null());
    found.map_or_else(|| (String::new(), body.to_string()), words_of)
}

fn words_of(error: &Value) -> (String, String) {
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let code = [text("code"), text("type"), text("status")]
        .into_iter()
        .find(|word| !word.is_empty());
    let words = match error {
        Value::String(text) => text.clone(),
        _ if !text("message").is_empty() => text("message").to_owned(),
        other => other.to_string(),
    };
    let code = code.unwrap_or_default().to_owned();
    (code, words)
}

/// One line without control characters, without the key, not longer than people read.
fn shorten(text: &str, secret: Option<&ApiKey>) -> String {
    let text = match secret {
        Some(key) => text.replace(key.reveal(), &key.masked()),
        None => text.to_owned(),
    };
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut short: String = text.chars().take(MAX_TEXT).map(clean).collect();
    if text.chars().nth(MAX_TEXT).is_some() {
        short.push('\u{2026}');
    }
    short.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &str) -> ProviderError {
        let status = StatusCode::from_u16(status).unwrap();
        of_answer(status, body.as_bytes(), None, None)
    }

    #[test]
    fn a_conversation_that_does_not_fit_is_told_in_many_words() {
        for (status, body) in [
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}"#,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#,
            ),
            (
                500,
                r#"{"error":{"code":500,"message":"the request exceeds the available context size","type":"server_error"}}"#,
            ),
            (
                400,
                r#"{"error":"the input length exceeds the context length"}"#,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 214000 tokens > 200000 maximum"}}"#,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]"#,
            ),
            (413, "too much"),
        ] {
            assert_eq!(
                answer(status, body),
                ProviderError::ContextTooLong,
                "{body}"
            );
        }
    }

    #[test]
    fn each_status_means_one_thing_and_the_servers_words_are_shortened() {
        assert_eq!(answer(401, "sk-1"), ProviderError::Unauthorized(401));
        assert_eq!(answer(403, ""), ProviderError::Unauthorized(403));
        assert_eq!(
            answer(429, "{}"),
            ProviderError::RateLimited { retry_after: None }
        );
        assert_eq!(answer(503, "<html>"), ProviderError::Unavailable(503));
        let quota = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
        assert!(matches!(
            answer(429, quota),
            ProviderError::Rejected { status: 429, .. }
        ));
        let rejected = |status, text: &str| ProviderError::Rejected {
            status,
            text: text.to_owned(),
        };
        let body = r#"{"error":{"message":"no such\nmodel"}}"#;
        assert_eq!(answer(404, body), rejected(404, "no such model"));
        assert_eq!(answer(404, "plain\u{7} text"), rejected(404, "plain  text"));
        assert_eq!(answer(422, r#"{"detail":"bad"}"#), rejected(422, "bad"));
        let ProviderError::Rejected { text, .. } = answer(400, &"x".repeat(10_000)) else {
            panic!("not rejected")
        };
        assert_eq!(text.chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn the_key_is_never_repeated() {
        let key = ApiKey::new("sk-0123456789abcd").unwrap();
        let body = br#"{"error":{"message":"bad header: Bearer sk-0123456789abcd"}}"#;
        let error = of_answer(StatusCode::BAD_REQUEST, body, None, Some(&key));
        assert!(!error.to_string().contains("0123456789"), "{error}");
    }

    #[test]
    fn an_error_inside_a_stream_means_the_same_as_its_status_would() {
        for (error, expected) in [
            (
                json!({"type": "overloaded_error", "message": "Overloaded"}),
                ProviderError::Unavailable(529),
            ),
            (
                json!({"code": 502, "message": "upstream"}),
                ProviderError::Unavailable(502),
            ),
            (
                json!({"type": "server_error", "message": "oops"}),
                ProviderError::Unavailable(500),
            ),
            (
                json!({"code": "invalid_api_key", "message": "no"}),
                ProviderError::Unauthorized(401),
            ),
            (
                json!({"code": "context_length_exceeded", "message": ""}),
                ProviderError::ContextTooLong,
            ),
            (
                json!("broken"),
                ProviderError::Rejected {
                    status: 200,
                    text: "broken".into(),
                },
            ),
        ] {
            assert_eq!(of_stream(&error, None), expected, "{error}");
        }
    }
}
