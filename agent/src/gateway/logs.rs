//! `GET /api/logs`: the newest lines of the audit log.

use std::sync::Arc;

use axum::extract::{Query, State};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use crate::audit::RECENT;
use crate::state::AgentState;

/// Lines by default.
const LINES: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    lines: Option<usize>,
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Query(wanted): Query<Wanted>,
) -> ([(http::HeaderName, HeaderValue); 1], String) {
    let lines = state
        .audit
        .recent(wanted.lines.unwrap_or(LINES).clamp(1, RECENT));
    // Each line is JSON already.
    let body = format!("{{\"lines\":[{}]}}", lines.join(","));
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
    )
}
