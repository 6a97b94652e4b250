//! What an approval stands for, as one hash: the tool, its exact arguments, and what they are bound to.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// JSON with its keys in order and nothing between, so that equal values are equal texts.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// SHA-256 over the parts, each with its length in front, so that no two lists of parts are one text.
#[must_use]
pub fn digest(tool: &str, arguments: &str, bound: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"homing approval 1");
    for part in [tool, arguments, bound] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            // Whether the map itself is sorted depends on a feature that any dependency may turn on.
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write(&map[key], text);
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_makes_no_difference_and_everything_else_does() {
        let first: Value =
            serde_json::from_str(r#"{"b": [1, {"d": 1, "c": null}], "a": "x"}"#).unwrap();
        let second: Value = serde_json::from_str(r#"{"a":"x","b":[1,{"c":null,"d":1}]}"#).unwrap();
        assert_eq!(canonical(&first), canonical(&second));
        assert_eq!(canonical(&first), r#"{"a":"x","b":[1,{"c":null,"d":1}]}"#);
        assert_ne!(canonical(&json!(["a", "b"])), canonical(&json!(["b", "a"])));
        assert_ne!(canonical(&json!("1")), canonical(&json!(1)));
    }

    #[test]
    fn what_moves_from_one_part_to_the_next_changes_the_hash() {
        let hash = digest("shell", "{}", "{}");
        assert_ne!(hash, digest("shell{", "}", "{}"));
        assert_ne!(hash, digest("shell", "{}{", "}"));
        assert_ne!(hash, digest("shell", "{}", ""));
        assert_eq!(hash, digest("shell", "{}", "{}"));
    }
}
