//! `POST /api/upload`: stores a file under a fresh name. The body is the file itself with
//! `?filename=`, or a multipart form whose first file part is taken.

use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Query, State};
use axum::{Extension, Json};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use serde::Deserialize;

use super::Principal;
use super::auth::CallerContext;
use super::error::ApiError;
use crate::files::{FileError, StoredFile, Target};
use crate::state::AgentState;

/// What a form may weigh besides its file: boundaries and headers.
const FORM_OVERHEAD: u64 = 64 << 10;

#[derive(Debug, Deserialize)]
pub(super) struct Naming {
    filename: Option<String>,
}

pub(super) async fn post(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Extension(context): Extension<Arc<CallerContext>>,
    Query(naming): Query<Naming>,
    request: Request<Body>,
) -> Result<Json<StoredFile>, ApiError> {
    let limit = state.files.sizes().upload;
    let cancel = context.caller.revoked();
    let user = principal.user_id;
    let stored = if is_form(request.headers()) {
        refuse_announced(request.headers(), limit, FORM_OVERHEAD)?;
        let mut form = Multipart::from_request(request, &())
            .await
            .map_err(|_| bad_form())?;
        loop {
            let part = form
                .next_field()
                .await
                .map_err(|_| bad_form())?
                .ok_or_else(bad_form)?;
            let Some(name) = part.file_name().map(str::to_owned) else {
                continue;
            };
            let target = Target::Fresh(naming.filename.unwrap_or(name));
            break state
                .files
                .store(user, target, pin!(part), limit, &cancel)
                .await?;
        }
    } else {
        refuse_announced(request.headers(), limit, 0)?;
        let target = Target::Fresh(naming.filename.unwrap_or_default());
        let body = request.into_body().into_data_stream();
        state
            .files
            .store(user, target, body, limit, &cancel)
            .await?
    };
    state
        .feeds
        .of(user)
        .publish("file", "created", stored.filename.clone());
    Ok(Json(stored))
}

/// Refuses a body by its announced length, before anything of it is read.
pub(super) fn refuse_announced(
    headers: &HeaderMap,
    limit: u64,
    extra: u64,
) -> Result<(), ApiError> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let length = length.and_then(|value| value.parse::<u64>().ok());
    match length {
        Some(length) if length > limit.saturating_add(extra) => {
            Err(FileError::TooLarge { limit }.into())
        }
        _ => Ok(()),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("multipart/form-data")
}

fn bad_form() -> ApiError {
    ApiError::bad_request(
        "bad_form",
        "the form has no part with a file, or is not well-formed",
    )
}
