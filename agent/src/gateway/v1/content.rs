//! What a message holds: text, or parts of which only text is understood.

use serde::Deserialize;
use serde_json::Value;

use super::super::error::ApiError;
use super::Conversation;

/// A message of either interface. Fields that are not known are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    refusal: Option<Value>,
}

impl Conversation {
    /// Adds a message of `param`.
    pub(super) fn add(&mut self, message: Message, param: &'static str) -> Result<(), ApiError> {
        if message
            .kind
            .as_deref()
            .is_some_and(|kind| kind != "message")
        {
            let text = "items other than messages belong to tools of the program that asks";
            return Err(ApiError::bad_param("tools_not_supported", param, text));
        }
        let text = message
            .content
            .map_or(Ok(String::new()), |content| content.text(param))?;
        if text.is_empty() {
            return Ok(());
        }
        match message.role.as_deref() {
            Some("system" | "developer") => self.instructions.push(text),
            Some("user") => self.said.push((false, text)),
            Some("assistant") => self.said.push((true, text)),
            Some("tool" | "function") => {
                let text = "the agent calls no tools of the program that asks";
                return Err(ApiError::bad_param("tools_not_supported", param, text));
            }
            _ => {
                let text = "a role is system, developer, user or assistant";
                return Err(ApiError::bad_param("bad_messages", param, text));
            }
        }
        Ok(())
    }
}

impl Content {
    fn text(self, param: &'static str) -> Result<String, ApiError> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::Parts(parts) => parts,
        };
        let mut texts = Vec::with_capacity(parts.len());
        for part in parts {
            match (part.kind.as_str(), part.text) {
                ("text" | "input_text" | "output_text", Some(text)) => texts.push(text),
                ("refusal", _) if part.refusal.is_some() => {}
                _ => {
                    let text = "only parts of text are understood";
                    return Err(ApiError::bad_param("unsupported_content", param, text));
                }
            }
        }
        Ok(texts.join("\n"))
    }
}
