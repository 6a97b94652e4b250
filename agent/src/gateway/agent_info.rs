//! `GET /api/agent-info`: which agent this is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::health::VERSION;
use crate::state::AgentState;

#[derive(Debug, Serialize)]
pub(super) struct AgentInfo {
    name: String,
    node_id: String,
    network_id: String,
    version: &'static str,
}

pub(super) async fn get(State(state): State<Arc<AgentState>>) -> Json<AgentInfo> {
    let settings = &state.settings;
    Json(AgentInfo {
        name: settings.name.clone(),
        node_id: settings.node_id.to_string(),
        network_id: settings.network_id.to_string(),
        version: VERSION,
    })
}
