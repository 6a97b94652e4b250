//! What api.anthropic.com sends.

use serde_json::{Value, json};

use super::{Script, stream};

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = json!(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}

/// An answer of these words.
pub(crate) fn answer(words: &[&str]) -> Script {
    let mut events = vec![
        event(
            "message_start",
            json!({ "message": { "id": "msg_1", "role": "assistant", "content": [],
                    "usage": { "input_tokens": 10, "output_tokens": 1 } } }),
        ),
        event(
            "content_block_start",
            json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
        ),
        event("ping", json!({})),
    ];
    events.extend(words.iter().map(|word| {
        event(
            "content_block_delta",
            json!({ "index": 0, "delta": { "type": "text_delta", "text": word } }),
        )
    }));
    events.push(event("content_block_stop", json!({ "index": 0 })));
    events.push(event(
        "message_delta",
        json!({ "delta": { "stop_reason": "end_turn", "stop_sequence": null },
                "usage": { "output_tokens": 7 } }),
    ));
    events.push(event("message_stop", json!({})));
    stream(&events)
}
