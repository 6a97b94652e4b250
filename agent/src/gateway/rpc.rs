//! `/rpc`: calls over a WebSocket, one JSON envelope for each call, answer and event.
//!
//! The socket itself, its limits and its pulse are those of `/ws`. Here is what a call means: its
//! envelope, its line in the table of methods, its key, and its answer.

mod envelope;
mod methods;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Utf8Bytes, WebSocketUpgrade};
use axum::response::Response;
use http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::Principal;
use super::auth::{CallerContext, is_capped};
use super::routes::{self, Method};
use super::ws::{Ending, Listener, Outgoing, Protocol, Socket, open};
use crate::idempotency::{Begun, Idempotency};
use crate::state::AgentState;
use crate::store::{IdempotencyKey, KeptAnswer};

pub(super) use envelope::{event, session_event};

use envelope::{Call, Refusal, answer};

/// Every `/rpc` socket speaks this and no other.
const VERSION: &str = "1.0";

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(context): Extension<Arc<CallerContext>>,
    Extension(principal): Extension<Arc<Principal>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let capped = principal.capped || is_capped(&headers);
    open(Protocol::Calls, state, context, capped, upgrade)
}

/// One socket's calls.
pub(super) struct Caller<'a> {
    socket: &'a Socket,
    replies: mpsc::Sender<Outgoing>,
    /// Sessions that are followed.
    open: HashSet<String>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(socket: &'a Socket, replies: mpsc::Sender<Outgoing>) -> Self {
        Self {
            socket,
            replies,
            open: HashSet::new(),
        }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Ending> {
        self.replies.send(outgoing).await.map_err(|_| Ending::Gone)
    }

    async fn reply(&self, text: Utf8Bytes) -> Result<(), Ending> {
        self.send(Outgoing::Frame(text)).await
    }

    /// The outer error ends the socket, the inner one is told to the client.
    async fn call(
        &mut self,
        principal: &Arc<Principal>,
        call: Call,
    ) -> Result<Result<Value, Refusal>, Ending> {
        let line = match self.admit(principal, &call).await {
            Ok(line) => line,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !line.keyed {
            return self.perform(principal, line.name, call).await;
        }
        let Some(key) = call.key.clone() else {
            return Ok(Err(Refusal::missing_key()));
        };
        if !Idempotency::is_key(&key) {
            return Ok(Err(Refusal::params("the idempotencyKey is not one")));
        }
        let key = IdempotencyKey {
            device: principal.node_id,
            method: "RPC".to_owned(),
            path: line.name.to_owned(),
            key,
        };
        let fingerprint: [u8; 32] = Sha256::digest(call.params.to_string()).into();
        let begun = match self.socket.state.idempotency.begin(key).await {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(super::error::ApiError::from(error).into())),
        };
        let claim = match begun {
            Begun::First(claim) => claim,
            Begun::Before(kept) => return Ok(again(&kept, fingerprint)),
            Begun::Running => return Ok(Err(Refusal::in_progress())),
            Begun::Unknown => return Ok(Err(Refusal::unknown_outcome())),
        };
        let outcome = self.perform(principal, line.name, call).await?;
        let noted = match &outcome {
            Err(_) => claim.release().await,
            Ok(result) => {
                claim
                    .keep(KeptAnswer {
                        fingerprint,
                        prefix: None,
                        status: Some(200),
                        content_type: String::new(),
                        body: Some(result.to_string().into_bytes()),
                    })
                    .await
            }
        };
        if let Err(error) = noted {
            tracing::error!(%error, "the answer of a call could not be kept");
        }
        Ok(outcome)
    }

    async fn admit(&self, principal: &Principal, call: &Call) -> Result<&'static Method, Refusal> {
        let state = &self.socket.state;
        state
            .limits
            .rpc(principal.node_id, Instant::now())
            .map_err(super::error::ApiError::from)?;
        let line = routes::find_method(&call.method).ok_or_else(Refusal::unknown_method)?;
        let named = ("rpc", line.name);
        // A call without its key is refused before it counts as a run.
        if line.keyed && line.here && call.key.is_none() {
            self.socket.context.check(principal, line.need)?;
            return Err(Refusal::missing_key());
        }
        let class = match line.here {
            true => line.class,
            // It does nothing, so there is nothing to note but who may not even ask.
            false => routes::Class::Read,
        };
        self.socket.gate(principal, named, line.need, class).await?;
        match line.here {
            true => Ok(line),
            false => Err(Refusal::not_implemented(&call.method)),
        }
    }
}

impl Listener for Caller<'_> {
    async fn take(&mut self, text: &str) -> Result<(), Ending> {
        let principal = self.socket.principal()?;
        let call = match Call::parse(text) {
            Ok(call) => call,
            Err((id, refusal)) => return self.reply(answer(&id, Err(refusal))).await,
        };
        let id = call.id.clone();
        let outcome = self.call(&principal, call).await?;
        self.reply(answer(&id, outcome)).await
    }
}

fn again(kept: &KeptAnswer, fingerprint: [u8; 32]) -> Result<Value, Refusal> {
    if kept.fingerprint != fingerprint {
        return Err(Refusal::duplicate());
    }
    let body = kept.body.as_deref().unwrap_or_default();
    serde_json::from_slice(body).map_err(|_| Refusal::unknown_outcome())
}
