//! Temperatures of the agent's machine.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolError, arguments};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::system::SystemProbe;

/// Reads the sensors.
#[derive(Debug)]
pub struct SensorsTool {
    probe: SystemProbe,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {}

impl SensorsTool {
    /// Through a probe.
    #[must_use]
    pub fn new(probe: SystemProbe) -> Self {
        Self { probe }
    }
}

impl Tool for SensorsTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "sensors".to_owned(),
            description: "Temperatures of the machine that the agent runs on, the hottest first. \
                An empty list means that the machine tells none, as virtual machines do."
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
            let reading = probe.sensors().await.map_err(ToolError::failed)?;
            serde_json::to_value(reading).map_err(ToolError::failed)
        }
        .boxed()
    }
}
