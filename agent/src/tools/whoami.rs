//! Who is asking, as the agent sees it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Tool, ToolError};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;

/// Tells the asking device who it is.
#[derive(Debug)]
pub struct WhoAmITool;

impl Tool for WhoAmITool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "whoami".to_owned(),
            description: "The user, device, role and scopes of whoever is asking.".to_owned(),
            parameters: json!({"type": "object", "properties": {}}),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        None
    }

    fn run(&self, speaker: Arc<Speaker>, _: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let answer = json!({
            "user": speaker.handle,
            "node_id": speaker.node_id.to_string(),
            "role": speaker.role,
            "scopes": speaker.scopes,
            "path": speaker.path,
        });
        async move { Ok(answer) }.boxed()
    }
}
