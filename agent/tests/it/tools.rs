//! The built-in tools, each run as a turn would run it.

mod containers;
mod fetch;
#[cfg(target_os = "linux")]
mod files;
mod machine;
#[cfg(target_os = "linux")]
mod offered;
mod services;

use std::sync::Arc;

use homing_agent::sessions::Speaker;
use homing_agent::tools::Tool;
use homing_certs::{NodeId, UserId};
use serde_json::Value;

use crate::rig::LIMIT;

/// What the tool answers, or the words that a model reads instead.
pub(crate) async fn run(tool: &impl Tool, arguments: Value) -> Result<Value, String> {
    let speaker = Speaker {
        node_id: NodeId::from([3; 32]),
        user_id: UserId::from([4; 16]),
        handle: "ann".to_owned(),
        role: "admin".to_owned(),
        scopes: vec![],
        path: "direct".to_owned(),
    };
    tokio::time::timeout(LIMIT, tool.run(Arc::new(speaker), arguments))
        .await
        .unwrap()
        .map_err(|error| error.to_string())
}
