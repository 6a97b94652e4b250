//! Arguments as a model writes them: read strictly, so that a word that means nothing is answered
//! and not passed over.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ToolError;

/// Reads the arguments of a call.
pub(super) fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolError> {
    // Some models send null where there is nothing to say.
    let arguments = match arguments {
        Value::Null => json!({}),
        other => other,
    };
    serde_json::from_value(arguments)
        .map_err(|error| ToolError::Failed(format!("the arguments are not right: {error}")))
}

/// The schema of an object with these properties, and none besides.
pub(super) fn schema(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

impl ToolError {
    /// With the words of another error. Not for one whose words hold more than a model may read.
    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}
