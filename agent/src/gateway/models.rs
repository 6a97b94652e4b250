//! `/api/models`: the models that may answer, which of them does, and what they cost.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Principal;
use super::body::JsonBody;
use super::error::{ApiError, provider_error};
use crate::feed::Others;
use crate::models::{Available, ModelChange, ModelInfo, NewModel, prices_as_of};
use crate::state::AgentState;

const RESOURCE: &str = "model";

/// Micro-dollars in a dollar.
const MICRO: f64 = 1_000_000.0;

pub(super) async fn list(State(state): State<Arc<AgentState>>) -> Result<Json<Value>, ApiError> {
    let models = state.models.models()?;
    let models: Vec<Value> = models.iter().map(document).collect();
    // The service bounds their number: all of them are one page.
    Ok(Json(json!({ "models": models })))
}

pub(super) async fn catalog(State(state): State<Arc<AgentState>>) -> Result<Json<Value>, ApiError> {
    let models = state.models.models()?;
    let active = models.iter().filter(|model| model.active);
    let models: Vec<Value> = active.map(document).collect();
    Ok(Json(
        json!({ "prices_as_of": prices_as_of(), "models": models }),
    ))
}

pub(super) async fn available(
    State(state): State<Arc<AgentState>>,
) -> Result<Json<Value>, ApiError> {
    let listed = state.models.available().await?;
    let providers: Vec<Value> = listed.iter().map(listing).collect();
    Ok(Json(json!({ "providers": providers })))
}

pub(super) async fn add(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    JsonBody(new): JsonBody<NewModel>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let added = state.models.add_model(new).await?;
    changed(&state, &principal, "created", &added.row.id);
    Ok((StatusCode::CREATED, Json(document(&added))))
}

pub(super) async fn change(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
    JsonBody(change): JsonBody<ModelChange>,
) -> Result<Json<Value>, ApiError> {
    save(&state, &principal, &id, change).await
}

pub(super) async fn enable(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    save(&state, &principal, &id, enabled(true)).await
}

pub(super) async fn disable(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    save(&state, &principal, &id, enabled(false)).await
}

pub(super) async fn remove(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    state.models.remove_model(&id).await?;
    changed(&state, &principal, "deleted", &id);
    Ok(Json(json!({ "id": id, "deleted": true })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    /// Id of a model; null ends the pin.
    model: Option<String>,
}

pub(super) async fn pin(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(session): Path<String>,
    JsonBody(pin): JsonBody<Pin>,
) -> Result<Json<Value>, ApiError> {
    let user = principal.user_id;
    crate::sessions::check_session_id(&session)?;
    state.models.pin(user, &session, pin.model.clone()).await?;
    let feed = state.feeds.of(user);
    feed.publish("session", "updated", session.as_str());
    Ok(Json(json!({ "session_id": session, "model": pin.model })))
}

async fn save(
    state: &AgentState,
    principal: &Principal,
    id: &str,
    change: ModelChange,
) -> Result<Json<Value>, ApiError> {
    let saved = state.models.change_model(id, change).await?;
    changed(state, principal, "updated", &saved.row.id);
    Ok(Json(document(&saved)))
}

fn enabled(enabled: bool) -> ModelChange {
    ModelChange {
        enabled: Some(enabled),
        ..ModelChange::default()
    }
}

fn changed(state: &AgentState, principal: &Principal, action: &'static str, id: &str) {
    let others = Others::WithScope("models");
    let change = (RESOURCE, action);
    state.feeds.publish(principal.user_id, others, change, id);
}

fn document(model: &ModelInfo) -> Value {
    let row = &model.row;
    let dollars = |micro: u64| {
        #[allow(
            clippy::cast_precision_loss,
            reason = "for people; the exact number is in price"
        )]
        let micro = micro as f64;
        micro / MICRO
    };
    json!({
        "id": row.id,
        "provider_id": row.provider_id,
        "provider_name": model.provider,
        "kind": "llm",
        "runtime_id": format!("{}:{}", model.provider, row.model),
        "label": model.label(),
        "model": row.model,
        "display_name": row.display_name,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "images": model.images,
        "price": model.price,
        "input_cost_per_million": model.price.map(|price| dollars(price.input)),
        "output_cost_per_million": model.price.map(|price| dollars(price.output)),
        "rank": row.rank,
        "is_default": row.is_default,
        "enabled": row.enabled,
        "active": model.active,
    })
}

fn listing(listed: &Available) -> Value {
    let entry = json!({
        "provider_id": listed.provider_id,
        "provider_name": listed.provider,
        "profile": listed.profile,
    });
    let (key, value) = match &listed.models {
        Ok(models) => ("models", json!(models)),
        Err(error) => ("error", json!(provider_error(error))),
    };
    let mut entry = entry;
    entry[key] = value;
    entry
}
