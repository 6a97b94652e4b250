//! `/v1/models`: the agent itself, and the models that may answer by name.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::super::Principal;
use super::super::error::ApiError;
use super::{AGENT_MODEL, no_such_model};
use crate::state::AgentState;

pub(in super::super) async fn list(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Json<Value>, ApiError> {
    let known = state
        .sessions
        .models(principal.user_id, AGENT_MODEL)
        .await?;
    let names = std::iter::once(AGENT_MODEL).chain(known.iter().map(String::as_str));
    let data: Vec<Value> = names.map(model).collect();
    Ok(Json(json!({ "object": "list", "data": data })))
}

pub(in super::super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let known = state
        .sessions
        .models(principal.user_id, AGENT_MODEL)
        .await?;
    if id != AGENT_MODEL && !known.contains(&id) {
        return Err(no_such_model(&id, &known));
    }
    Ok(Json(model(&id)))
}

fn model(id: &str) -> Value {
    let owner = id.split_once('/').map_or(AGENT_MODEL, |(owner, _)| owner);
    // When a model was made is not known here, and programs only show it.
    json!({ "id": id, "object": "model", "created": 0, "owned_by": owner })
}
