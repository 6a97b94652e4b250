//! `/api/config` and `/api/restart`: the agent's configuration, and the process anew.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Principal;
use super::body::JsonBody;
use super::error::ApiError;
use crate::audit::{Decision, Kind};
use crate::configuration::{Change, Configured};
use crate::feed::Others;
use crate::state::AgentState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whole {
    toml: String,
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Response, ApiError> {
    Ok(shown(&principal, state.configuration.read().await?))
}

pub(super) async fn put(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    headers: HeaderMap,
    JsonBody(whole): JsonBody<Whole>,
) -> Result<Response, ApiError> {
    let change = Change::Whole(whole.toml);
    changed(&state, &principal, "*", change, &headers).await
}

/// The body is a JSON merge patch (RFC 7396) of the section.
pub(super) async fn patch(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(section): Path<String>,
    headers: HeaderMap,
    JsonBody(patch): JsonBody<Value>,
) -> Result<Response, ApiError> {
    let change = Change::Section {
        name: section.clone(),
        patch,
    };
    changed(&state, &principal, &section, change, &headers).await
}

pub(super) async fn restart(
    State(state): State<Arc<AgentState>>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    begin_restart(&state)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "restarting": true }))))
}

/// Has the process end in its usual order, to be started anew by whoever started it.
pub(super) fn begin_restart(state: &AgentState) -> Result<(), ApiError> {
    let Some(restart) = &state.settings.restart else {
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "not_available",
            "this agent was started in a way that it cannot end by itself",
            "restart the program that runs it",
        ));
    };
    restart.cancel();
    Ok(())
}

/// Goes on when whoever asked has gone: what is in the file must also be in effect.
async fn changed(
    state: &Arc<AgentState>,
    principal: &Arc<Principal>,
    section: &str,
    change: Change,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let revision = revision(headers)?;
    let (agent, by, section) = (state.clone(), principal.clone(), section.to_owned());
    let done = state.tasks.spawn(async move {
        let configured = change_now(&agent, &by, &section, change, revision).await;
        configured.map(|configured| shown(&by, configured))
    });
    done.await.map_err(|_| ApiError::internal())?
}

async fn change_now(
    state: &AgentState,
    principal: &Principal,
    section: &str,
    change: Change,
    revision: Option<String>,
) -> Result<Configured, ApiError> {
    let keys = match &change {
        Change::Section { patch, .. } => keys(patch),
        Change::Whole(_) => vec![],
    };
    let apply = |live| state.apply(live);
    let configured = state.configuration.change(change, revision, apply).await?;
    let entry = principal
        .entry(Kind::Call)
        .call("config", section)
        .decision(Decision::Allowed)
        .detail("keys", keys)
        .detail("revision", configured.revision.as_str());
    state.audit.note(entry);
    let others = Others::WithScope("config.read");
    let change = ("config", "updated");
    state
        .feeds
        .publish(principal.user_id, others, change, section);
    Ok(configured)
}

/// For which state of the file a change is meant; none for whatever it is.
fn revision(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    match text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(revision) => Ok(Some(revision.to_owned())),
        None if text == "*" => Ok(None),
        None => Err(ApiError::bad_request(
            "bad_revision",
            "if-match holds the revision in quotation marks, or *",
        )),
    }
}

/// Names only: values are nobody's business in a log.
fn keys(patch: &Value) -> Vec<Value> {
    let names = patch.as_object().into_iter().flat_map(Map::keys);
    names.map(|name| Value::from(name.as_str())).collect()
}

/// The text, with what people wrote beside the values, is for those who may change it.
fn shown(principal: &Principal, configured: Configured) -> Response {
    let tag = format!("\"{}\"", configured.revision);
    let body = Json(json!({
        "revision": configured.revision,
        "config": configured.sections,
        "toml": principal.scopes.contains("config.write").then_some(configured.text),
        "restart_required": configured.restart_required,
    }));
    ([(ETAG, tag)], body).into_response()
}
