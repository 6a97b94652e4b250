//! `GET /api/openapi.json`: the routes as OpenAPI 3.1. What each takes and gives is written down in
//! `openapi/document.json`; scope, class and what all have in common come from the code.

use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::health::VERSION;
use super::routes::{Class, Need, ROUTES, Route};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

pub(super) async fn get() -> ([(http::HeaderName, HeaderValue); 1], Bytes) {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], DOCUMENT.clone())
}

fn written() -> Value {
    // A test reads the same text; what is broken there does not get this far.
    serde_json::from_str(include_str!("openapi/document.json")).unwrap_or_default()
}

fn document() -> Value {
    let mut document = written();
    document["info"]["version"] = VERSION.into();
    for route in ROUTES {
        let Some(operation) = operation(&mut document, route) else {
            continue;
        };
        operation["operationId"] = operation_id(route).into();
        if let Need::Scope(scope) = route.need {
            operation["x-scope"] = scope.into();
        }
        operation["x-class"] = match route.class {
            Class::Read => "read",
            Class::Write => "write",
            Class::Run => "run",
            Class::Stop => "stop",
        }
        .into();
        let error = match route.path.starts_with("/v1/") {
            true => "OpenAiError",
            false => "Error",
        };
        operation["responses"]["default"] =
            json!({ "$ref": format!("#/components/responses/{error}") });
        if route.class == Class::Write
            && let Value::Array(parameters) = &mut operation["parameters"]
        {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
    }
    document
}

fn operation<'a>(document: &'a mut Value, route: &Route) -> Option<&'a mut Value> {
    let method = route.method.to_ascii_lowercase();
    let operation = document
        .get_mut("paths")?
        .get_mut(path(route.path))?
        .get_mut(method)?;
    if operation["parameters"].is_null() {
        operation["parameters"] = json!([]);
    }
    Some(operation)
}

/// OpenAPI knows no parameter that spans several parts of a path.
fn path(path: &str) -> String {
    path.replace("{*", "{")
}

fn operation_id(route: &Route) -> String {
    let mut id = route.method.to_ascii_lowercase();
    for part in route.path.split(|c: char| !c.is_ascii_alphanumeric()) {
        if !part.is_empty() {
            id.push('_');
            id.push_str(part);
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_describes_every_line_of_the_table_and_nothing_else() {
        let document = written();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(|method| (method.to_ascii_uppercase(), path.clone()))
            })
            .collect();
        let table: BTreeSet<(String, String)> = ROUTES
            .iter()
            .map(|route| (route.method.to_owned(), path(route.path)))
            .collect();
        let missing: Vec<_> = table.difference(&described).collect();
        let stale: Vec<_> = described.difference(&table).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "openapi/document.json lacks {missing:?} and has {stale:?}"
        );
    }

    #[test]
    fn every_operation_has_a_summary_its_path_parameters_and_an_answer() {
        let document = document();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let at = format!("{method} {path}");
                assert!(operation["summary"].is_string(), "{at}");
                assert!(
                    operation["responses"].as_object().unwrap().len() > 1,
                    "{at}"
                );
                for part in path.split('/').filter(|part| part.starts_with('{')) {
                    let name = part.trim_matches(['{', '}']);
                    let named = |parameter: &&Value| {
                        let resolved = resolve(&document, parameter);
                        resolved["name"] == name && resolved["in"] == "path"
                    };
                    let parameters = operation["parameters"].as_array().unwrap();
                    assert!(parameters.iter().any(|one| named(&one)), "{at}: {name}");
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(document: &Value, value: &Value) {
            match value {
                Value::Object(fields) => {
                    if fields.contains_key("$ref") {
                        assert!(!resolve(document, value).is_null(), "{value}");
                    }
                    fields.values().for_each(|value| walk(document, value));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(document, value)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }

    fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => document
                .pointer(to.trim_start_matches('#'))
                .unwrap_or(&Value::Null),
            None => value,
        }
    }
}
