//! `GET /api/health`: whether the agent lives and what it costs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::state::AgentState;

/// This build's version, as every surface names it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    agent: String,
    version: &'static str,
    uptime_seconds: u64,
    connections: usize,
    memory_bytes: u64,
}

pub(super) async fn get(State(state): State<Arc<AgentState>>) -> Json<Health> {
    Json(Health {
        status: "ok",
        agent: state.settings.name.clone(),
        version: VERSION,
        uptime_seconds: state.system.process_uptime().as_secs(),
        connections: state.connections.count(),
        memory_bytes: state.system.process_memory(),
    })
}
