//! Changes of `homing.toml` that leave everything else in it as it was written, comments included.

use serde_json::Value as Json;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// Applies a JSON merge patch (RFC 7396) to what stands under a name at the top of a document. The
/// error is for people.
pub(super) fn merge(text: &str, name: &str, patch: &Json) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| error.to_string())?;
    merge_key(document.as_table_mut(), name, patch)?;
    Ok(document.to_string())
}

fn merge_key(table: &mut dyn TableLike, key: &str, patch: &Json) -> Result<(), String> {
    match patch {
        Json::Null => {
            table.remove(key);
        }
        Json::Object(fields) => {
            if !table.get(key).is_some_and(Item::is_table_like) {
                let mut made = Table::new();
                // Its own header only where it has something of its own.
                made.set_implicit(fields.values().all(Json::is_object));
                table.insert(key, Item::Table(made));
            }
            let Some(inner) = table.get_mut(key).and_then(Item::as_table_like_mut) else {
                return Err(format!("{key} is not a section"));
            };
            for (name, field) in fields {
                merge_key(inner, name, field).map_err(|error| format!("{key}.{error}"))?;
            }
        }
        plain => set(table, key, value_of(key, plain)?),
    }
    Ok(())
}

/// A comment behind the old value stays behind the new one.
fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => {
            table.insert(key, Item::Value(value));
        }
    }
}

fn value_of(key: &str, json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Bool(flag) => (*flag).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(real)) => real.into(),
            (None, None) => return Err(format!("{key} is a number that is too large")),
        },
        Json::Array(items) => {
            let mut array = Array::new();
            for item in items {
                array.push(value_of(key, item)?);
            }
            array.into()
        }
        Json::Object(fields) => {
            let mut table = InlineTable::new();
            for (name, field) in fields {
                table.insert(name, value_of(name, field)?);
            }
            table.into()
        }
        Json::Null => return Err(format!("{key} holds a null, which this file cannot")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# mine\nrelay = \"none\" # for now\n\n[policy] # strict\n# why\nread_only = true # yes\n\n\
                        [policy.tools]\nshell = \"ask\"\n\n[budgets]\n# day = 20.0\n";

    #[test]
    fn what_is_not_named_stays_as_it_was_written_and_comments_stay_with_their_values() {
        let patch = json!({ "read_only": false, "tools": { "fetch": "deny", "shell": null } });
        let text = merge(TEXT, "policy", &patch).unwrap();
        let expected = TEXT
            .replace("read_only = true # yes", "read_only = false # yes")
            .replace("shell = \"ask\"", "fetch = \"deny\"");
        assert_eq!(text, expected);
        let text = merge(TEXT, "relay", &json!(["https://r.example.org"])).unwrap();
        assert!(text.starts_with("# mine\nrelay = [\"https://r.example.org\"] # for now\n"));
    }

    #[test]
    fn a_section_that_is_not_there_is_made_and_one_that_is_null_goes() {
        let text = merge("", "tools", &json!({ "fetch": { "enabled": true } })).unwrap();
        assert_eq!(text, "[tools.fetch]\nenabled = true\n");
        let text = merge(TEXT, "policy", &json!(null)).unwrap();
        assert!(!text.contains("policy") && text.contains("# day = 20.0"));
        let rules = json!({ "rules": [{ "tool": "shell", "argv": ["git"], "action": "allow" }] });
        let text = merge(TEXT, "policy", &rules).unwrap();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["policy"]["rules"][0]["argv"][0].as_str(), Some("git"));
    }

    #[test]
    fn a_null_in_a_list_is_refused_with_its_key() {
        let error = merge(TEXT, "policy", &json!({ "rules": [null] })).unwrap_err();
        assert!(error.contains("policy.rules"), "{error}");
    }
}
