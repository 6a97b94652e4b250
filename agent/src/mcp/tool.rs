//! A tool of an MCP server among the agent's tools.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::listing::ListedTool;
use super::shared::Shared;
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::tools::{Action, Tool, ToolEffect, ToolError};

/// What the tools' own limit has more than the server's, so that the server's is the one that is hit
/// and the server hears of it.
const MARGIN: Duration = Duration::from_secs(5);

/// One tool.
#[derive(Debug)]
pub(super) struct McpTool {
    server: Arc<Shared>,
    listed: ListedTool,
    rule: Action,
    limit: Duration,
}

impl McpTool {
    pub(super) fn new(
        server: Arc<Shared>,
        listed: ListedTool,
        rule: Action,
        limit: Duration,
    ) -> Self {
        Self {
            server,
            listed,
            rule,
            limit,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.listed.spec.name
    }

    /// Bytes that it takes of a model's context.
    pub(super) fn size(&self) -> usize {
        let spec = &self.listed.spec;
        spec.name.len() + spec.description.len() + spec.parameters.to_string().len()
    }
}

impl Tool for McpTool {
    fn spec(&self) -> ToolSpec {
        self.listed.spec.clone()
    }

    /// That it changes nothing is the server's word alone. It counts only for a server whose owner has
    /// allowed the tool anyway.
    fn effect(&self, _: &Value) -> ToolEffect {
        if self.rule == Action::Allow && self.listed.read_only {
            ToolEffect::Reads
        } else {
            ToolEffect::Changes
        }
    }

    fn action(&self, _: &Value) -> Option<Action> {
        Some(self.rule)
    }

    /// An approval is for this tool of this server as both are now: not for what another program under
    /// the same name would do, nor for a tool that says something else of itself.
    fn bind(&self, _: &Speaker, _: &Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let place = serde_json::to_vec(&self.server.config().place).unwrap_or_default();
        let spec = &self.listed.spec;
        let parts = [
            place.as_slice(),
            self.listed.name.as_bytes(),
            spec.description.as_bytes(),
            spec.parameters.to_string().as_bytes(),
        ]
        .map(Sha256::digest)
        .concat();
        let hash = HEXLOWER.encode(&Sha256::digest(parts));
        let bound = json!({"server": self.server.name, "as_now": hash});
        async move { Ok(bound) }.boxed()
    }

    fn timeout(&self, _: &Value) -> Duration {
        self.limit + MARGIN
    }

    /// The tools of a user's servers are for that user's turns, and turns are for who may chat.
    fn scope(&self) -> Option<&'static str> {
        Some("chat")
    }

    fn run(
        &self,
        _: Arc<Speaker>,
        arguments: Value,
    ) -> BoxFuture<'static, Result<Value, ToolError>> {
        let server = self.server.clone();
        let (tool, limit) = (self.listed.name.clone(), self.limit);
        async move {
            let answer = server.call(tool, arguments, limit).await;
            answer.map_err(|error| ToolError::Failed(error.to_string()))
        }
        .boxed()
    }
}
