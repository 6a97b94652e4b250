//! The busiest processes of the agent's machine, by name: command lines may hold secrets.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolError, arguments};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::system::{MAX_PROCESSES, ProcessOrder, SystemProbe};

/// Told when no number is asked for.
const USUAL: usize = 10;

/// Lists processes.
#[derive(Debug)]
pub struct ProcessesTool {
    probe: SystemProbe,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    by: By,
    limit: usize,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Cpu,
    Memory,
}

impl ProcessesTool {
    /// Through a probe.
    #[must_use]
    pub fn new(probe: SystemProbe) -> Self {
        Self { probe }
    }
}

impl Tool for ProcessesTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "processes".to_owned(),
            description: "Processes that use most CPU or memory on the machine that the agent \
                runs on: pid, name without arguments, user, CPU (100 is one core), memory."
                .to_owned(),
            parameters: arguments::schema(
                json!({
                    "by": {"type": "string", "enum": ["cpu", "memory"], "default": "cpu"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PROCESSES, "default": USUAL},
                }),
                &[],
            ),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        Some("status.read")
    }

    fn run(&self, _: Arc<Speaker>, given: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let probe = self.probe.clone();
        async move {
            let Arguments { by, limit } = arguments::read(given)?;
            let order = match by {
                By::Cpu => ProcessOrder::Cpu,
                By::Memory => ProcessOrder::Memory,
            };
            let reading = probe
                .processes(order, limit.max(1))
                .await
                .map_err(ToolError::failed)?;
            serde_json::to_value(reading).map_err(ToolError::failed)
        }
        .boxed()
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            by: By::Cpu,
            limit: USUAL,
        }
    }
}
