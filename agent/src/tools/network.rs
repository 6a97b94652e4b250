//! Network interfaces of the agent's machine, with their traffic.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolError, arguments};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::system::SystemProbe;

/// Reads the network interfaces.
#[derive(Debug)]
pub struct NetworkTool {
    probe: SystemProbe,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {}

impl NetworkTool {
    /// Through a probe.
    #[must_use]
    pub fn new(probe: SystemProbe) -> Self {
        Self { probe }
    }
}

impl Tool for NetworkTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "network".to_owned(),
            description: "Network interfaces of the machine that the agent runs on: addresses, \
                state, bytes carried since they came up and bytes a second now."
                .to_owned(),
            parameters: arguments::schema(json!({}), &[]),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        Some("status.read")
    }

    fn run(&self, _: Arc<Speaker>, given: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let probe = self.probe.clone();
        async move {
            let Arguments {} = arguments::read(given)?;
            let reading = probe.network().await.map_err(ToolError::failed)?;
            serde_json::to_value(reading).map_err(ToolError::failed)
        }
        .boxed()
    }
}
