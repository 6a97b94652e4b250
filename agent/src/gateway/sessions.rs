//! `/api/sessions`: the caller's conversations.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Principal;
use super::error::ApiError;
use crate::state::AgentState;

/// Sessions on a page by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    sessions: Vec<Session>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Session {
    session_id: String,
    /// Unix milliseconds.
    created_ms: i64,
    updated_ms: i64,
    messages: i64,
    last_seq: u64,
    running: bool,
}

pub(super) async fn list(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Query(paging): Query<Paging>,
) -> Result<Json<List>, ApiError> {
    let limit = paging.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let rows = state
        .sessions
        .list(principal.user_id, paging.cursor, limit)
        .await?;
    let next_cursor = (rows.len() == limit)
        .then(|| rows.last().map(|(row, _)| row.id.clone()))
        .flatten();
    let sessions = rows
        .into_iter()
        .map(|(row, running)| Session {
            session_id: row.id,
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            messages: row.messages,
            last_seq: row.last_seq,
            running,
        })
        .collect();
    Ok(Json(List {
        sessions,
        next_cursor,
    }))
}

pub(super) async fn clear(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    if !state.sessions.clear(principal.user_id, &id).await? {
        return Err(ApiError::not_found());
    }
    Ok(Json(json!({ "session_id": id, "cleared": true })))
}
