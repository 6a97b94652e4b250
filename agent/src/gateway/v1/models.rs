//! `/v1/models`: the agent itself, and the models that may answer by name.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::super::Principal;
use super::super::error::ApiError;
use super::{AGENT_MODEL, no_such_model};
use crate::state::AgentState;

/// A model that may answer.
#[derive(Debug)]
pub(super) struct Known {
    /// As it is named in requests and answers.
    pub(super) label: String,
    /// By which a session is pinned to it; none for one that nobody configured.
    pub(super) id: Option<String>,
}

/// Who may answer in a session: first those that would, best first, then the others.
pub(super) async fn known(
    state: &AgentState,
    principal: &Principal,
    session: &str,
) -> Result<Vec<Known>, ApiError> {
    let choices = state.models.choose(principal.user_id, session).await?;
    // None are configured where none can be.
    let configured = state.models.models().unwrap_or_default();
    let mut others: Vec<(String, String)> = configured
        .into_iter()
        .filter(|model| model.active)
        .map(|model| (model.label(), model.row.id))
        .collect();
    let mut known = Vec::new();
    for choice in choices {
        let at = others.iter().position(|(label, _)| *label == choice.label);
        known.push(Known {
            label: choice.label,
            id: at.map(|at| others.remove(at).1),
        });
    }
    known.extend(others.into_iter().map(|(label, id)| Known {
        label,
        id: Some(id),
    }));
    Ok(known)
}

pub(in super::super) async fn list(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Json<Value>, ApiError> {
    let known = known(&state, &principal, AGENT_MODEL).await?;
    let labels = known.iter().map(|model| model.label.as_str());
    let data: Vec<Value> = std::iter::once(AGENT_MODEL)
        .chain(labels)
        .map(model)
        .collect();
    Ok(Json(json!({ "object": "list", "data": data })))
}

pub(in super::super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let known = known(&state, &principal, AGENT_MODEL).await?;
    if id != AGENT_MODEL && !known.iter().any(|model| model.label == id) {
        return Err(no_such_model(&id, &known));
    }
    Ok(Json(model(&id)))
}

fn model(id: &str) -> Value {
    let owner = id.split_once('/').map_or(AGENT_MODEL, |(owner, _)| owner);
    // When a model was made is not known here, and programs only show it.
    json!({ "id": id, "object": "model", "created": 0, "owned_by": owner })
}
