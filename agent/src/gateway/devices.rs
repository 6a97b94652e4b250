//! `GET /api/devices`: devices that this agent has admitted. Without the scope `devices.read` only
//! those of the caller's own user.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::{Extension, Json};
use homing_certs::NodeId;
use serde::{Deserialize, Serialize};

use super::Principal;
use super::error::ApiError;
use crate::state::AgentState;

/// Devices on a page by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Devices {
    devices: Vec<Device>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Device {
    node_id: String,
    user: String,
    role: String,
    scopes: Vec<String>,
    online: bool,
    revoked: bool,
    path: String,
    /// Unix seconds.
    expires_at: i64,
    first_seen: i64,
    last_seen: i64,
}

pub(super) async fn list(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Query(paging): Query<Paging>,
) -> Result<Json<Devices>, ApiError> {
    let after: Option<NodeId> = paging
        .cursor
        .map(|cursor| cursor.parse())
        .transpose()
        .map_err(|_| ApiError::bad_request("bad_cursor", "the cursor is not one of ours"))?;
    let limit = paging.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let owner = (!principal.scopes.contains("devices.read")).then_some(principal.user_id);
    let rows = state.store.devices(owner, after, limit).await?;
    let next_cursor = (rows.len() == limit)
        .then(|| rows.last().map(|row| row.seen.node_id.to_string()))
        .flatten();
    let devices = rows
        .into_iter()
        .map(|row| Device {
            online: state.connections.online(&row.seen.node_id),
            node_id: row.seen.node_id.to_string(),
            user: row.seen.handle,
            role: row.seen.role,
            scopes: row
                .seen
                .scopes
                .split(',')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            revoked: row.revoked,
            path: row.seen.path,
            expires_at: row.seen.expires_at,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
        })
        .collect();
    Ok(Json(Devices {
        devices,
        next_cursor,
    }))
}
