//! `/api/mcps`: the caller's MCP servers. Values of variables and headers go in and never come out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Principal;
use super::error::ApiError;
use crate::mcp::{Draft, KEPT_LINES, LogLine, MASK, Place, Server, State as McpState, Status};
use crate::state::AgentState;
use crate::tools::Action;

/// Servers on a page by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;
/// Lines of the log by default.
const LINES: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Lines {
    lines: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    mcps: Vec<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// In a list, without its tools.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    config: Config,
    state: McpState,
    restarts: u32,
    last_error: Option<String>,
    tool_count: usize,
}

/// Alone.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    config: Config,
    status: Status,
}

#[derive(Debug, Serialize)]
struct Config {
    name: String,
    kind: &'static str,
    command: Vec<String>,
    args: Vec<String>,
    url: Option<String>,
    cwd: Option<String>,
    env: BTreeMap<String, &'static str>,
    headers: BTreeMap<String, &'static str>,
    timeout_s: u64,
    policy: Action,
    tools: BTreeMap<String, Action>,
    enabled: bool,
}

pub(super) async fn list(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Query(paging): Query<Paging>,
) -> Json<List> {
    let limit = paging.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let after = paging.cursor.unwrap_or_default();
    let servers = state.mcps.list(principal.user_id);
    let page: Vec<Server> = servers
        .into_iter()
        .filter(|server| server.config.name > after)
        .take(limit)
        .collect();
    let next_cursor = (page.len() == limit)
        .then(|| page.last().map(|server| server.config.name.clone()))
        .flatten();
    let mcps = page.into_iter().map(|server| Listed {
        config: config(&server),
        state: server.status.state,
        restarts: server.status.restarts,
        last_error: server.status.last_error,
        tool_count: server.status.tools.len(),
    });
    Json(List {
        mcps: mcps.collect(),
        next_cursor,
    })
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    let server = state.mcps.get(principal.user_id, &name);
    server.map(shown).ok_or_else(ApiError::not_found)
}

pub(super) async fn add(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let server = state.mcps.add(principal.user_id, read(draft)?).await?;
    Ok((StatusCode::CREATED, shown(server)))
}

pub(super) async fn update(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<Json<Shown>, ApiError> {
    let draft = read(draft)?;
    if draft.name.as_ref().is_some_and(|given| *given != name) {
        let text = "a server keeps its name; remove it and add it under another";
        return Err(ApiError::bad_request("bad_mcp", text));
    }
    let server = state.mcps.update(principal.user_id, name, draft).await?;
    Ok(shown(server))
}

pub(super) async fn remove(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    state.mcps.remove(principal.user_id, name.clone()).await?;
    Ok(Json(json!({ "name": name, "deleted": true })))
}

pub(super) async fn enable(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    let server = state.mcps.enable(principal.user_id, name, true).await?;
    Ok(shown(server))
}

pub(super) async fn disable(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    let server = state.mcps.enable(principal.user_id, name, false).await?;
    Ok(shown(server))
}

pub(super) async fn logs(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
    Query(query): Query<Lines>,
) -> Result<Json<Value>, ApiError> {
    let lines = query.lines.unwrap_or(LINES).clamp(1, KEPT_LINES);
    let lines: Option<Vec<LogLine>> = state.mcps.logs(principal.user_id, &name, lines);
    let lines = lines.ok_or_else(ApiError::not_found)?;
    Ok(Json(json!({ "name": name, "lines": lines })))
}

fn read(draft: Result<Json<Draft>, JsonRejection>) -> Result<Draft, ApiError> {
    let Json(draft) = draft.map_err(|rejection| {
        let text = "the body is not an MCP server as JSON, or the content-type does not say so";
        tracing::debug!(status = %rejection.status(), "an MCP server was not understood");
        ApiError::bad_request("bad_mcp", text)
    })?;
    Ok(draft)
}

fn shown(server: Server) -> Json<Shown> {
    Json(Shown {
        config: config(&server),
        status: server.status,
    })
}

fn config(server: &Server) -> Config {
    let config = &server.config;
    let masked = || config.secrets.keys().map(|name| (name.clone(), MASK));
    let (mut command, mut args, mut url, mut cwd) = (vec![], vec![], None, None);
    let (mut env, mut headers) = (BTreeMap::new(), BTreeMap::new());
    match &config.place {
        Place::Command { words, cwd: folder } => {
            let (program, rest) = words.split_at(words.len().min(1));
            (command, args) = (program.to_vec(), rest.to_vec());
            cwd = folder.as_ref().map(|cwd| cwd.display().to_string());
            env = masked().collect();
        }
        Place::Url(address) => {
            url = Some(address.clone());
            headers = masked().collect();
        }
    }
    Config {
        name: config.name.clone(),
        kind: "custom",
        command,
        args,
        url,
        cwd,
        env,
        headers,
        timeout_s: config.timeout.as_secs(),
        policy: config.policy,
        tools: config.tools.clone(),
        enabled: config.enabled,
    }
}
