//! `Idempotency-Key`: a write that is sent again with its key is answered as before and done once.
//!
//! The request is compared by a hash that is taken while it is read, so bodies of any size pass
//! through. It runs in a task of the agent's, because a client that goes in the middle is the very
//! one that will ask again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::middleware::Next;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::idempotency::{Begun, Claim, Idempotency, MAX_ANSWER, MAX_KEY};
use crate::state::AgentState;
use crate::store::{IdempotencyKey, KeptAnswer};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The request's key, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| Idempotency::is_key(key));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => {
            let message = format!(
                "an Idempotency-Key is 1 to {MAX_KEY} printable characters, and there is one"
            );
            Err(ApiError::bad_request("bad_idempotency_key", message))
        }
    }
}

/// Runs a write under its key, or answers as before.
pub(super) async fn run(
    state: Arc<AgentState>,
    device: homing_certs::NodeId,
    key: String,
    request: Request<Body>,
    next: Next,
) -> Result<Response<Body>, ApiError> {
    let key = IdempotencyKey {
        device,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        key,
    };
    let task = state.tasks.spawn({
        let state = state.clone();
        async move {
            match state.idempotency.begin(key).await? {
                Begun::First(claim) => first(claim, request, next).await,
                Begun::Before(answer) => again(answer, request).await,
                Begun::Running => Err(conflict(
                    "idempotency_in_progress",
                    "a request with this key is at work",
                    "wait for it and send it again",
                )),
                Begun::Unknown => Err(conflict(
                    "idempotency_unknown",
                    "the agent was stopped while it worked at a request with this key",
                    "look whether it was done before you send it with another key",
                )),
            }
        }
    });
    task.await.map_err(|_| ApiError::internal())?
}

async fn first(
    claim: Claim,
    request: Request<Body>,
    next: Next,
) -> Result<Response<Body>, ApiError> {
    let (head, body) = request.into_parts();
    let read = Arc::new(Mutex::new(Read {
        hash: begin_hash(&head),
        bytes: 0,
        whole: body.is_end_stream(),
    }));
    let hashed = Hashed {
        body,
        read: read.clone(),
    };
    let response = next.run(Request::from_parts(head, Body::new(hashed))).await;
    if !response.status().is_success() {
        claim.release().await?;
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let small = body
        .size_hint()
        .upper()
        .is_some_and(|size| size <= MAX_ANSWER as u64);
    let (kept, body) = if small {
        let bytes = body
            .collect()
            .await
            .map_err(|_| ApiError::internal())?
            .to_bytes();
        (Some(bytes.to_vec()), Body::from(bytes))
    } else {
        (None, body)
    };
    let read = read.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let content_type = head.headers.get(CONTENT_TYPE);
    let answer = KeptAnswer {
        fingerprint: read.hash.finalize().into(),
        prefix: (!read.whole).then_some(read.bytes),
        status: Some(head.status.as_u16()),
        content_type: content_type
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        body: kept,
    };
    claim.keep(answer).await?;
    Ok(Response::from_parts(head, body))
}

async fn again(answer: KeptAnswer, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let (head, mut body) = request.into_parts();
    let mut hash = begin_hash(&head);
    let mut left = answer.prefix.unwrap_or(u64::MAX);
    while left > 0
        && let Some(frame) = body.frame().await
    {
        let broken = |_| ApiError::bad_request("bad_request", "the request broke off");
        if let Some(data) = frame.map_err(broken)?.data_ref() {
            let part = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
            hash.update(&data[..part]);
            left -= part as u64;
        }
    }
    if <[u8; 32]>::from(hash.finalize()) != answer.fingerprint {
        return Err(conflict(
            "idempotency_conflict",
            "this key was used for another request",
            "use a new key for each request",
        ));
    }
    let Some(kept) = answer.body else {
        return Err(conflict(
            "idempotency_done",
            "this was done before; its answer was too large to keep",
            "read what it made",
        ));
    };
    let mut response = Response::new(Body::from(kept));
    if let Some(status) = answer
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
    {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&answer.content_type)
        && !kind.is_empty()
    {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// What makes two requests of one path different, besides their bodies.
fn begin_hash(head: &http::request::Parts) -> Sha256 {
    let mut hash = Sha256::new();
    let query = head.uri.query().unwrap_or_default();
    // The length in front, so that no body can look like a part of the query.
    hash.update((query.len() as u64).to_be_bytes());
    hash.update(query);
    hash
}

fn conflict(code: &'static str, message: &str, hint: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code, message, hint)
}

/// A body that is hashed while it is read.
struct Hashed {
    body: Body,
    read: Arc<Mutex<Read>>,
}

#[derive(Clone)]
struct Read {
    hash: Sha256,
    bytes: u64,
    /// Whether the end was seen: not every handler reads so far.
    whole: bool,
}

impl http_body::Body for Hashed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &frame {
            None => read.whole = true,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    read.hash.update(data);
                    read.bytes += data.len() as u64;
                }
            }
            Some(Err(_)) => {}
        }
        drop(read);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
