//! What api.openai.com sends.

use serde_json::{Value, json};

use super::{Script, status, stream};

/// A piece of an answer.
pub(crate) fn piece(delta: &Value, finish_reason: Option<&str>) -> String {
    let chunk = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "system_fingerprint": "fp",
        "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }],
        "usage": null,
    });
    format!("data: {chunk}\n\n")
}

pub(crate) fn text(text: &str) -> String {
    piece(&json!({ "content": text }), None)
}

/// The end of an answer: reason, usage, last line.
pub(crate) fn end(reason: &str) -> String {
    let usage = json!({
        "choices": [],
        "usage": {
            "prompt_tokens": 1_000,
            "completion_tokens": 100,
            "total_tokens": 1_100,
            "prompt_tokens_details": { "cached_tokens": 0 },
        },
    });
    format!(
        "{}data: {usage}\n\ndata: [DONE]\n\n",
        piece(&json!({}), Some(reason))
    )
}

/// An answer of these words.
pub(crate) fn answer(words: &[&str]) -> Script {
    let mut events = vec![piece(&json!({ "role": "assistant", "content": "" }), None)];
    events.extend(words.iter().map(|word| text(word)));
    events.push(end("stop"));
    stream(&events)
}

/// A list of models.
pub(crate) fn models(names: &[&str]) -> Script {
    let data: Vec<Value> = names
        .iter()
        .map(|name| json!({ "id": name, "object": "model", "created": 1, "owned_by": "fake" }))
        .collect();
    status(
        200,
        "",
        &json!({ "object": "list", "data": data }).to_string(),
    )
}

/// An error.
pub(crate) fn error(code: u16, headers: &str, message: &str) -> Script {
    let body =
        json!({ "error": { "message": message, "type": "fake", "param": null, "code": null } });
    status(code, headers, &body.to_string())
}
