//! `GET /api/whoami`: the caller as the agent sees it.

use std::sync::Arc;

use axum::{Extension, Json};
use serde::Serialize;

use super::Principal;

#[derive(Debug, Serialize)]
pub(super) struct WhoAmI {
    node_id: String,
    user: String,
    role: &'static str,
    scopes: Vec<String>,
    certificate: Certificate,
    path: &'static str,
    capped: bool,
}

#[derive(Debug, Serialize)]
struct Certificate {
    /// Unix seconds.
    expires_at: u64,
    generation: u32,
    serial: String,
}

pub(super) async fn get(Extension(principal): Extension<Arc<Principal>>) -> Json<WhoAmI> {
    let document = principal.certificate.certificate();
    Json(WhoAmI {
        node_id: principal.node_id.to_string(),
        user: principal.handle.clone(),
        role: principal.role.as_str(),
        scopes: principal.scopes.iter().map(str::to_owned).collect(),
        certificate: Certificate {
            expires_at: document.not_after.0,
            generation: document.generation,
            serial: document.serial.to_string(),
        },
        path: principal.path,
        capped: principal.capped,
    })
}
