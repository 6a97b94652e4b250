//! Whether a JSON value has a shape: fields with types, or what a schema of the interface's document
//! says. Only the words of JSON Schema that the document uses are known; any other one is an error,
//! so that nothing is passed over.

use serde_json::Value;

/// Holds an object's fields against `{"name": "type"}`, or `"type|type"`.
pub(super) fn has_fields(value: &Value, fields: &Value) -> Result<(), String> {
    for (name, kinds) in fields.as_object().into_iter().flatten() {
        let kinds = kinds.as_str().ok_or("a type is a word")?;
        let field = value.get(name).ok_or(format!("no {name} in {value}"))?;
        if !kinds.split('|').any(|kind| is(field, kind)) {
            return Err(format!("{name} is not {kinds}: {field}"));
        }
    }
    Ok(())
}

/// Holds a value against a schema of this document.
pub(super) fn fits(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    let Some(words) = schema.as_object() else {
        return Err(format!("not a schema: {schema}"));
    };
    for (word, rule) in words {
        let fault = || format!("{word} {rule} does not hold for {value}");
        let holds = match word.as_str() {
            "description" | "format" | "pattern" => true,
            "$ref" => {
                let path = rule.as_str().unwrap_or_default().trim_start_matches('#');
                let target = document.pointer(path).ok_or_else(fault)?;
                fits(value, target, document)?;
                true
            }
            "type" => match rule {
                Value::String(kind) => is(value, kind),
                kinds => strings(kinds).any(|kind| is(value, kind)),
            },
            "const" => value == rule,
            "enum" => rule.as_array().is_some_and(|all| all.contains(value)),
            "anyOf" => {
                let mut any = rule.as_array().into_iter().flatten();
                any.any(|schema| fits(value, schema, document).is_ok())
            }
            "required" => strings(rule).all(|name| value.get(name).is_some()),
            "properties" => {
                for (name, schema) in rule.as_object().into_iter().flatten() {
                    if let Some(field) = value.get(name) {
                        fits(field, schema, document)
                            .map_err(|error| format!("{name}: {error}"))?;
                    }
                }
                true
            }
            "additionalProperties" => others(value, schema, rule, document)?,
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(item, rule, document)?;
                }
                true
            }
            "minimum" => value.as_f64().is_none_or(|is| Some(is) >= rule.as_f64()),
            "maximum" => value.as_f64().is_none_or(|is| Some(is) <= rule.as_f64()),
            "minItems" => length(value.as_array().map(Vec::len)) >= rule.as_u64(),
            "minLength" => length(value.as_str().map(|text| text.chars().count())) >= rule.as_u64(),
            "maxLength" => length(value.as_str().map(|text| text.chars().count())) <= rule.as_u64(),
            other => return Err(format!("{other} is not known here")),
        };
        if !holds {
            return Err(fault());
        }
    }
    Ok(())
}

/// Fields that the schema does not name.
fn others(value: &Value, schema: &Value, rule: &Value, document: &Value) -> Result<bool, String> {
    let others = value.as_object().into_iter().flatten();
    let mut others = others.filter(|(name, _)| schema["properties"].get(name.as_str()).is_none());
    match rule {
        Value::Bool(allowed) => Ok(*allowed || others.next().is_none()),
        rule => {
            for (_, field) in others {
                fits(field, rule, document)?;
            }
            Ok(true)
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Other kinds of values have no length, and fit.
fn length(count: Option<usize>) -> Option<u64> {
    count.and_then(|count| u64::try_from(count).ok())
}

#[test]
fn a_schema_refuses_what_does_not_fit_and_words_that_nobody_reads() {
    let document = serde_json::json!({ "a": { "type": "object", "required": ["n"],
        "properties": { "n": { "type": ["integer", "null"] } }, "additionalProperties": false } });
    let schema = serde_json::json!({ "$ref": "#/a" });
    let fits = |value: Value| fits(&value, &schema, &document);
    fits(serde_json::json!({ "n": 1 })).unwrap();
    for wrong in ["{}", "[]", r#"{"n":"1"}"#, r#"{"n":1,"m":1}"#] {
        fits(serde_json::from_str(wrong).unwrap()).unwrap_err();
    }
    let unknown = serde_json::json!({ "uniqueItems": true });
    super::shape::fits(&Value::Null, &unknown, &document).unwrap_err();
    has_fields(&document, &serde_json::json!({ "a": "array|null" })).unwrap_err();
}
