//! Devices that the agent has seen: all of them for whoever may read them, else only the asking user's.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Tool, ToolError};
use crate::connections::Connections;
use crate::providers::ToolSpec;
use crate::sessions::Speaker;
use crate::store::Store;

/// Devices told to a model: more would only fill its context.
const MOST: usize = 50;

/// Lists devices.
#[derive(Debug)]
pub struct DevicesTool {
    store: Store,
    connections: Connections,
}

impl DevicesTool {
    /// From the agent's own records.
    #[must_use]
    pub fn new(store: Store, connections: Connections) -> Self {
        Self { store, connections }
    }
}

impl Tool for DevicesTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "devices".to_owned(),
            description:
                "Devices that have connected to this agent, and whether they are online or revoked."
                    .to_owned(),
            parameters: json!({"type": "object", "properties": {}}),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        None
    }

    fn run(&self, speaker: Arc<Speaker>, _: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let store = self.store.clone();
        let connections = self.connections.clone();
        async move {
            let owner = (!speaker.scopes().contains("devices.read")).then_some(speaker.user_id);
            let rows = store.devices(owner, None, MOST).await.map_err(|error| {
                tracing::error!(%error, "the devices could not be listed for a turn");
                ToolError::Failed("the list could not be read".to_owned())
            })?;
            let devices: Vec<Value> = rows
                .iter()
                .map(|row| {
                    json!({
                        "node_id": row.seen.node_id.to_string(),
                        "user": row.seen.handle,
                        "role": row.seen.role,
                        "online": connections.online(&row.seen.node_id),
                        "revoked": row.revoked,
                    })
                })
                .collect();
            Ok(json!({ "devices": devices }))
        }
        .boxed()
    }
}
