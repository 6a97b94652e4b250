//! `/api/approvals`: what waits for a person, and the answers. Clients see and answer those of their
//! own user, admins all.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use homing_certs::{Role, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Principal;
use super::error::ApiError;
use crate::approvals::Answerer;
use crate::state::AgentState;
use crate::store::{ApprovalRow, ApprovalState};

/// Approvals on a page by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    cursor: Option<String>,
    limit: Option<usize>,
    state: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    approvals: Vec<Approval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Approval {
    id: i64,
    state: &'static str,
    session_id: String,
    turn_id: i64,
    /// In whose name the turn runs.
    user: String,
    device: String,
    tool: String,
    summary: String,
    arguments: Value,
    bound: Value,
    /// Over tool, arguments and what they are bound to.
    sha256: String,
    /// Unix seconds.
    created_at: i64,
    expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<Answered>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, Serialize)]
struct Answered {
    user: String,
    device: String,
    at: i64,
}

pub(super) async fn list(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Query(paging): Query<Paging>,
) -> Result<Json<List>, ApiError> {
    let before = paging
        .cursor
        .map(|cursor| cursor.parse::<i64>())
        .transpose()
        .map_err(|_| ApiError::bad_request("bad_cursor", "the cursor is not one of ours"))?;
    let wanted = paging.state.as_deref().map(|text| {
        ApprovalState::parse(text).ok_or_else(|| {
            let message = "state is pending, approved, denied, expired or used";
            ApiError::bad_request("bad_state", message)
        })
    });
    let limit = paging.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let rows = state
        .approvals
        .list(owner(&principal), wanted.transpose()?, before, limit)
        .await?;
    let next_cursor = (rows.len() == limit)
        .then(|| rows.last().map(|row| row.id.to_string()))
        .flatten();
    let approvals = rows.into_iter().map(Approval::from).collect();
    Ok(Json(List {
        approvals,
        next_cursor,
    }))
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Approval>, ApiError> {
    let row = state.approvals.get(owner(&principal), number(&id)?).await?;
    Ok(Json(row.into()))
}

pub(super) async fn approve(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Approval>, ApiError> {
    answer(&state, &principal, number(&id)?, true).await
}

pub(super) async fn deny(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Approval>, ApiError> {
    answer(&state, &principal, number(&id)?, false).await
}

/// Also for the frame `approval_answer`.
pub(super) async fn answer(
    state: &AgentState,
    principal: &Principal,
    id: i64,
    approve: bool,
) -> Result<Json<Approval>, ApiError> {
    let by = Answerer {
        device: principal.node_id,
        handle: principal.handle.clone(),
        path: principal.path,
        owner: owner(principal),
    };
    let row = state.approvals.answer(&by, id, approve).await?;
    Ok(Json(row.into()))
}

/// Whose approvals a device may see and answer.
fn owner(principal: &Principal) -> Option<UserId> {
    (principal.role != Role::Admin).then_some(principal.user_id)
}

/// What is no number names no approval.
fn number(id: &str) -> Result<i64, ApiError> {
    id.parse().map_err(|_| ApiError::not_found())
}

impl From<ApprovalRow> for Approval {
    fn from(row: ApprovalRow) -> Self {
        let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Self {
            id: row.id,
            state: row.state.as_str(),
            session_id: row.session,
            turn_id: row.turn_id,
            user: row.handle,
            device: row.device.to_string(),
            tool: row.tool,
            summary: row.summary,
            arguments: json(&row.arguments),
            bound: json(&row.bound),
            sha256: data_encoding::HEXLOWER.encode(&row.hash),
            created_at: row.created_ms / 1_000,
            expires_at: row.expires_ms / 1_000,
            used_at: row.used_ms.map(|ms| ms / 1_000),
            answered: row.answered.map(|by| Answered {
                user: by.handle,
                device: by.device.to_string(),
                at: by.at_ms / 1_000,
            }),
            reason: row.reason,
        }
    }
}
