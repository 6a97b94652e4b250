//! What commands ask of the parts of a running host.

use std::net::SocketAddr;

use homing_agent::{AgentHandle, DenyError};
use homing_coordinator::CoordinatorHandle;
use homing_protocol::control::{AgentInfo, ControlReply, ControlRequest};
use serde_json::{Map, Value, json};

use super::{no_agent, no_coordinator, not_selected};
use crate::failure::Failure;

/// The parts that run in this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HostStatus {
    pub(crate) network_id: String,
    pub(crate) coordinator: Option<CoordinatorHandle>,
    pub(crate) agent: Option<AgentStatus>,
}

/// The agent's half.
#[derive(Clone)]
pub(crate) struct AgentStatus {
    pub(crate) handle: AgentHandle,
    pub(crate) info: AgentInfo,
    pub(crate) sockets: Vec<SocketAddr>,
}

impl HostStatus {
    /// A request as the owner's; an agent alone has nobody to ask.
    pub(crate) async fn request(&self, request: ControlRequest) -> ControlReply {
        match &self.coordinator {
            Some(coordinator) => coordinator.request(request).await,
            None => ControlReply::Error(no_coordinator().0),
        }
    }

    /// Ends the coordinator's recovery.
    pub(crate) async fn resume(&self, without_newest_log: bool) -> Result<(), Failure> {
        let coordinator = self.coordinator.as_ref().ok_or_else(no_coordinator)?;
        coordinator.resume(without_newest_log).await?;
        if let Some(agent) = &self.agent {
            agent.handle.confirm_time().map_err(|error| {
                Failure::new(
                    "storage",
                    format!("the confirmed time could not be written: {error}"),
                    "free some disk space and run it again",
                )
            })?;
        }
        Ok(())
    }

    /// Has the agent read the configuration again; what takes effect at the next start only.
    pub(crate) async fn reload_config(&self) -> Result<Vec<String>, Failure> {
        let agent = self.agent.as_ref().ok_or_else(no_agent)?;
        let reloaded = agent.handle.reload_config().await;
        let configured = reloaded.map_err(|error| {
            tracing::warn!(%error, "the configuration was not read again; what was in effect stays");
            Failure::new(
                "config_invalid",
                format!("{error}; what was in effect stays"),
                "correct homing.toml, or go back to the last one that worked: homing config restore",
            )
        })?;
        Ok(configured.restart_required)
    }

    /// Whether the coordinator here signs nothing until it is told to.
    pub(crate) async fn is_recovering(&self) -> bool {
        match &self.coordinator {
            Some(coordinator) => coordinator.is_recovering().await.unwrap_or(false),
            None => false,
        }
    }

    /// Denies a device at the agent here. Returns its NodeId.
    pub(crate) async fn deny(&self, device: &str) -> anyhow::Result<String> {
        let agent = self.agent.as_ref().ok_or_else(no_agent)?;
        let key = self.key_of(device).await;
        let denied = agent.handle.deny(key.as_deref().unwrap_or(device)).await;
        match denied {
            Ok(node_id) => Ok(node_id.to_string()),
            Err(DenyError::Select(error)) => Err(not_selected(&error).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// One document for `homing status`.
    pub(crate) async fn document(&self) -> Value {
        let mut document = Map::new();
        let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
        put("network_id", self.network_id.clone().into());
        if let Some(agent) = &self.agent {
            let trust = agent.handle.trust();
            put("agent", agent.info.agent.clone().into());
            put("agent_node_id", agent.info.reach.node_id.to_string().into());
            put("agent_connections", agent.handle.connections().into());
            put("agent_sockets", json!(agent.sockets));
            put("log_seq", trust.head().seq.into());
            put("log_staleness_seconds", trust.staleness().as_secs().into());
            put("revoked_devices", trust.state().revoked_len().into());
        }
        if let Some(coordinator) = &self.coordinator {
            let reach = coordinator.reach();
            put("coordinator_node_id", reach.node_id.to_string().into());
            put("coordinator_connections", coordinator.connections().into());
            put("coordinator_addresses", json!(reach.addresses));
            put("recovering", self.is_recovering().await.into());
        }
        document.into()
    }

    // The coordinator knows names; an agent alone knows keys.
    async fn key_of(&self, device: &str) -> Option<String> {
        let coordinator = self.coordinator.as_ref()?;
        let ControlReply::Devices(devices) = coordinator.request(ControlRequest::Devices).await
        else {
            return None;
        };
        let found = devices.into_iter().find(|known| known.device == device);
        found.map(|known| known.node_id.to_string())
    }
}
