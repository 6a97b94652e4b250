//! A tool's result as a model reads it: text, with a description of whatever is not text.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;

use super::logs::cut;
use crate::turn::MAX_RESULT;

/// Room for the mark at the end of a result that was cut, and for the quotes around it.
const MARK: usize = 64;
/// Longest text of an error, in bytes: enough for its reason.
pub(super) const MAX_ERROR: usize = 4 << 10;

/// The text of a result, cut to what a model may be told, or of an error.
pub(super) fn render(result: CallToolResult) -> Result<Value, String> {
    let texts: Vec<String> = result.content.into_iter().map(describe).collect();
    let mut text = texts.join("\n");
    if let Some(value) = result.structured_content {
        // Servers repeat it as text for those who do not know it.
        let repeated = |text: &String| {
            serde_json::from_str::<Value>(text).is_ok_and(|repeated| repeated == value)
        };
        if !texts.iter().any(repeated) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&value.to_string());
        }
    }
    if result.is_error == Some(true) {
        let reason = cut(&text, MAX_ERROR);
        return Err(if reason.is_empty() {
            "the tool failed and did not say why".to_owned()
        } else {
            reason.to_owned()
        });
    }
    Ok(Value::String(fit(text, MAX_RESULT)))
}

fn describe(block: ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => blob("image", Some(&image.mime_type), &image.data),
        ContentBlock::Audio(audio) => blob("audio", Some(&audio.mime_type), &audio.data),
        ContentBlock::ResourceLink(link) => format!("[link to {}: {}]", link.uri, link.name),
        ContentBlock::Resource(resource) => match resource.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => {
                format!("[resource {uri}]\n{text}")
            }
            ResourceContents::BlobResourceContents {
                uri,
                mime_type,
                blob: data,
                ..
            } => blob(&format!("resource {uri}"), mime_type.as_deref(), &data),
            _ => "[a resource of an unknown kind]".to_owned(),
        },
        _ => "[content of an unknown kind]".to_owned(),
    }
}

/// Bytes are nothing for a model that reads text, and base64 would only fill its context.
fn blob(what: &str, mime_type: Option<&str>, base64: &str) -> String {
    let bytes = base64.trim_end_matches('=').len() * 3 / 4;
    let kind = mime_type.unwrap_or("unknown type");
    format!("[{what}, {kind}, {bytes} bytes, not shown]")
}

/// Cuts a text so that it takes at most `room` bytes as JSON, and says so at its end.
fn fit(text: String, room: usize) -> String {
    let room = room.saturating_sub(MARK);
    let mut size = 0;
    for (at, letter) in text.char_indices() {
        size += escaped(letter);
        if size > room {
            let left = text.len() - at;
            let kept = text.get(..at).unwrap_or_default();
            return format!("{kept}\n[cut here: {left} more bytes]");
        }
    }
    text
}

/// Bytes of a letter inside a JSON string, as serde_json writes it.
fn escaped(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        letter if letter < ' ' => 6,
        letter => letter.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(result: Value) -> Result<Value, String> {
        render(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn texts_are_joined_and_what_is_no_text_is_described() {
        let result = rendered(json!({"content": [
            {"type": "text", "text": "one"},
            {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "a://b", "text": "two"}},
            {"type": "resource_link", "uri": "a://c", "name": "three"},
        ]}));
        assert_eq!(
            result.unwrap(),
            json!(
                "one\n[image, image/png, 5 bytes, not shown]\n[resource a://b]\ntwo\n[link to a://c: three]"
            )
        );
    }

    #[test]
    fn structured_content_is_told_once() {
        let value = json!({"a": [1, 2]});
        let twice = json!({
            "content": [{"type": "text", "text": "{ \"a\": [1,2] }"}], "structuredContent": value
        });
        assert_eq!(rendered(twice).unwrap(), json!("{ \"a\": [1,2] }"));
        let once = json!({"content": [], "structuredContent": value});
        assert_eq!(rendered(once).unwrap(), json!("{\"a\":[1,2]}"));
    }

    #[test]
    fn an_error_is_an_error_with_its_reason() {
        let text = "x".repeat(10_000);
        let result = json!({"content": [{"type": "text", "text": text}], "isError": true});
        assert_eq!(rendered(result).unwrap_err().len(), MAX_ERROR);
        let silent = json!({"content": [], "isError": true});
        assert!(rendered(silent).unwrap_err().contains("did not say"));
    }

    #[test]
    fn a_long_result_fits_also_when_all_of_it_is_escaped() {
        for letter in ["x", "\"", "\u{1}", "ä", "🦀", "\n"] {
            let text = letter.repeat(MAX_RESULT);
            let result = rendered(json!({"content": [{"type": "text", "text": text}]})).unwrap();
            let length = result.to_string().len();
            assert!(
                length <= MAX_RESULT && length > MAX_RESULT - 200,
                "{letter:?}: {length}"
            );
            assert!(result.as_str().unwrap().contains("[cut here: "));
        }
    }
}
