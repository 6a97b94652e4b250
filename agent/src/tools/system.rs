//! CPU, memory, disks, load and uptime of the agent's machine.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Tool, ToolError};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::system::SystemProbe;

/// Reads the machine.
#[derive(Debug)]
pub struct SystemTool {
    probe: SystemProbe,
}

impl SystemTool {
    /// Through a probe.
    #[must_use]
    pub fn new(probe: SystemProbe) -> Self {
        Self { probe }
    }
}

impl Tool for SystemTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "system".to_owned(),
            description:
                "CPU (all cores and each), memory, swap, disks, load and uptime of the machine that \
                the agent runs on."
                    .to_owned(),
            parameters: json!({"type": "object", "properties": {}}),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        Some("status.read")
    }

    fn run(&self, _: Arc<Speaker>, _: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let probe = self.probe.clone();
        async move {
            let reading = probe
                .read()
                .await
                .map_err(|error| ToolError::Failed(error.to_string()))?;
            serde_json::to_value(reading).map_err(|error| ToolError::Failed(error.to_string()))
        }
        .boxed()
    }
}
