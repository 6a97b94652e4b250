//! `/api/providers`: the model APIs that this agent may ask. Keys go in and never come out.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Value, json};

use super::Principal;
use super::body::JsonBody;
use super::error::{ApiError, provider_error};
use crate::feed::Others;
use crate::models::{NewProvider, ProviderChange, ProviderInfo};
use crate::state::AgentState;

const RESOURCE: &str = "provider";

pub(super) async fn list(State(state): State<Arc<AgentState>>) -> Result<Json<Value>, ApiError> {
    let providers = state.models.providers()?;
    let providers: Vec<Value> = providers.iter().map(document).collect();
    // The service bounds their number: all of them are one page.
    Ok(Json(json!({ "providers": providers })))
}

pub(super) async fn add(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    JsonBody(new): JsonBody<NewProvider>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let added = state.models.add_provider(new).await?;
    changed(&state, &principal, "created", &added.id);
    Ok((StatusCode::CREATED, Json(document(&added))))
}

pub(super) async fn change(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
    JsonBody(change): JsonBody<ProviderChange>,
) -> Result<Json<Value>, ApiError> {
    let saved = state.models.change_provider(&id, change).await?;
    changed(&state, &principal, "updated", &saved.id);
    Ok(Json(document(&saved)))
}

pub(super) async fn remove(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    state.models.remove_provider(&id).await?;
    changed(&state, &principal, "deleted", &id);
    Ok(Json(json!({ "id": id, "deleted": true })))
}

pub(super) async fn test(
    State(state): State<Arc<AgentState>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let report = state.models.test_provider(&id).await?;
    Ok(Json(match report.result {
        Ok(models) => json!({ "id": id, "ok": true, "models": models, "took_ms": report.took_ms }),
        Err(error) => json!({
            "id": id,
            "ok": false,
            "error": provider_error(&error),
            "took_ms": report.took_ms,
        }),
    }))
}

pub(super) async fn detect(State(state): State<Arc<AgentState>>) -> Result<Json<Value>, ApiError> {
    let found = state.models.detect().await?;
    let found = found.into_iter().map(
        |one| json!({ "profile": one.profile, "base_url": one.base_url, "models": one.models }),
    );
    Ok(Json(json!({ "found": found.collect::<Vec<_>>() })))
}

fn changed(state: &AgentState, principal: &Principal, action: &'static str, id: &str) {
    let others = Others::WithScope("models");
    let change = (RESOURCE, action);
    state.feeds.publish(principal.user_id, others, change, id);
}

fn document(provider: &ProviderInfo) -> Value {
    json!({
        "id": provider.id,
        "name": provider.name,
        "kind": "llm",
        "profile": provider.profile,
        "base_url": provider.base_url,
        "api_key_display": provider.key_display,
        "enabled": provider.enabled,
        "usable": provider.usable,
        "created_ms": provider.created_ms,
        "updated_ms": provider.updated_ms,
    })
}
