//! What one line says.

use homing_certs::NodeId;
use serde::Serialize;
use serde_json::{Map, Value};

/// Longest text in a field, in bytes; what is longer is cut, so that a line stays below a few KiB.
const MAX_TEXT: usize = 512;

/// What kind of event a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The log was opened or begun.
    Opened,
    /// A torn last line was cut off.
    Recovered,
    /// A new file continues the chain.
    Rotated,
    /// A device's connection was admitted.
    Admitted,
    /// An admitted connection has ended.
    Ended,
    /// A call was refused.
    Refused,
    /// Connections refused before admission, counted.
    Refusals,
    /// A state-changing call is about to run.
    Call,
    /// A tool is about to run for a turn.
    ToolCall,
    /// Somebody is asked for an approval, answers, or one is used.
    Approval,
    /// A turn has ended.
    Turn,
    /// A device has been cut off.
    Revoked,
}

/// Whether what was asked was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It was, or is about to be.
    Allowed,
    /// It was not.
    Refused,
}

/// One line without its place in the chain.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    handle: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    capability: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    target: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    detail: Map<String, Value>,
}

impl Entry {
    /// A line about nothing but its kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            decision: None,
            device: None,
            handle: String::new(),
            capability: String::new(),
            path: String::new(),
            method: String::new(),
            target: String::new(),
            detail: Map::new(),
        }
    }

    /// Who: the device, the handle of its user, and whether it came directly or by relay.
    #[must_use]
    pub fn by(mut self, device: NodeId, handle: &str, path: &str) -> Self {
        self.device = Some(device.to_string());
        self.handle = cut(handle);
        self.path = cut(path);
        self
    }

    /// Which device, when nothing else of it is known.
    #[must_use]
    pub fn device(mut self, device: NodeId) -> Self {
        self.device = Some(device.to_string());
        self
    }

    /// What was asked: method and target, never a query or a body.
    #[must_use]
    pub fn call(mut self, method: &str, target: &str) -> Self {
        self.method = cut(method);
        self.target = cut(target);
        self
    }

    /// The scope that it needs.
    #[must_use]
    pub fn capability(mut self, scope: &str) -> Self {
        self.capability = cut(scope);
        self
    }

    /// Whether it was done.
    #[must_use]
    pub fn decision(mut self, decision: Decision) -> Self {
        self.decision = Some(decision);
        self
    }

    /// One more fact.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(cut(&text)),
            other => other,
        };
        self.detail.insert(name.to_owned(), value);
        self
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_target_is_cut_at_a_character_and_an_empty_field_is_left_out() {
        let entry = Entry::new(Kind::Call).call("PUT", &"é".repeat(600));
        let text = serde_json::to_string(&entry).unwrap();
        assert!(text.len() < 700);
        assert!(!text.contains("handle"));
    }
}
