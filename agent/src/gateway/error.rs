//! Refusals and failures as HTTP, in one place: status, JSON body, request id, safe headers.
//!
//! What went wrong inside goes to the log with the request id; the client gets the code, a sentence
//! and the next step.

mod configuration;
mod models;
mod revoking;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use data_encoding::HEXLOWER;
use homing_certs::CertificateError;
use homing_protocol::ErrorBody;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};

pub(super) use models::provider_error;

use crate::approvals::ApprovalError;
use crate::files::FileError;
use crate::limits::RateLimited;
use crate::mcp::McpError;
use crate::sessions::SessionError;
use crate::store::{ApprovalRow, StoreError};

/// Names the request in the log; on every answer.
pub const REQUEST_ID_HEADER: &str = "homing-request-id";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// For everything that is not a page: nothing may run, nothing may frame it.
const DEFAULT_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

/// Marks an answer whose error is told by a protocol of its own: its body stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnError;

/// A refusal or failure on its way to [`finish`].
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
    pub(super) hint: String,
    pub(super) retry_after: Option<Duration>,
    /// The field of the request that is wrong, where the answer's shape has a place for it.
    pub(super) param: Option<&'static str>,
}

/// How errors look to the program that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As everywhere on this agent.
    Own,
    /// As programs for OpenAI's interface expect them.
    OpenAi,
}

impl Shape {
    pub(super) fn of(path: &str) -> Self {
        match path.starts_with("/v1/") {
            true => Self::OpenAi,
            false => Self::Own,
        }
    }
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            hint: hint.into(),
            retry_after: None,
            param: None,
        }
    }

    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        let hint = "correct the request and send it again";
        Self::new(StatusCode::BAD_REQUEST, code, message, hint)
    }

    /// A field of the request is wrong.
    pub(super) fn bad_param(
        code: &'static str,
        param: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            param: Some(param),
            ..Self::bad_request(code, message)
        }
    }

    /// As programs for OpenAI's interface read it. The next step is a part of the sentence, for
    /// these programs show nothing else.
    pub(super) fn open_ai(&self, request_id: &str) -> serde_json::Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let message = match self.hint.is_empty() {
            true => self.message.clone(),
            false => format!("{}; {}", self.message, self.hint),
        };
        serde_json::json!({ "error": {
            "message": message,
            "type": kind,
            "param": self.param,
            "code": self.code,
            "request_id": request_id,
        } })
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing here for you",
            "check the address; what belongs to other users is not shown",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the agent failed to answer",
            "the agent's log names the reason under this request id",
        )
    }

    /// No valid identity.
    pub(super) fn unauthorized(error: &CertificateError) -> Self {
        let hint = match error.code().as_str() {
            "cert_expired" => "renew the device's certificate",
            "revoked" => "this device was revoked; enrol it anew with a fresh key",
            _ => "homing dial on the device says more",
        };
        Self::new(
            StatusCode::UNAUTHORIZED,
            error.code().as_str(),
            error.to_string(),
            hint,
        )
    }

    pub(super) fn missing_scope(scope: &str, capped: bool) -> Self {
        let hint = if capped {
            "requests without the local token have fewer rights; send the token of the proxy"
        } else {
            "ask an admin for a certificate with this scope"
        };
        let message = format!("this needs the scope {scope}, which this device does not have");
        Self::new(StatusCode::FORBIDDEN, "forbidden", message, hint)
    }

    pub(super) fn denied_here() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this agent's host denies the device",
            "ask the owner of the agent's host",
        )
    }

    pub(super) fn foreign_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "a page of another site may not call this",
            "call it from a program, or from a page of this agent",
        )
    }

    pub(super) fn stale_policy() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "stale_policy",
            "the agent has not heard from its coordinator for too long to allow this",
            "it works again when the agent reaches its coordinator",
        )
    }

    pub(super) fn audit_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "audit_unavailable",
            "the audit log cannot be written, so nothing may be changed",
            "check the free space on the agent's disk",
        )
    }
}

impl From<RateLimited> for ApiError {
    fn from(limited: RateLimited) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let message = format!("this device sends too many {}", limited.what);
        let error = Self::new(
            status,
            "rate_limited",
            message,
            "wait as long as retry-after says",
        );
        Self {
            retry_after: Some(limited.retry_after),
            ..error
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the database failed a request"
        );
        Self::internal()
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::BadSessionId => Self::bad_request("bad_session_id", text),
            SessionError::BadMessage => Self::bad_request("bad_message", text),
            SessionError::BadClientMsgId => Self::bad_request("bad_client_msg_id", text),
            SessionError::QueueFull => {
                let hint = "wait for an answer, or stop the session";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", text, hint)
            }
            SessionError::Store(error) => error.into(),
            SessionError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                text,
                "try again soon",
            ),
        }
    }
}

impl From<ApprovalError> for ApiError {
    fn from(error: ApprovalError) -> Self {
        let text = error.to_string();
        match error {
            ApprovalError::NotFound => Self::not_found(),
            ApprovalError::Over(row) => {
                let hint = "nothing is left to answer; the approval itself says how it ended";
                Self::new(StatusCode::CONFLICT, "already_answered", ending(&row), hint)
            }
            ApprovalError::Audit(error) => {
                tracing::error!(%error, "an approval was refused because it could not be audited");
                Self::audit_unavailable()
            }
            ApprovalError::Store(error) => error.into(),
            ApprovalError::TooLong | ApprovalError::TooMany | ApprovalError::NotCovered => {
                Self::bad_request("bad_approval", text)
            }
        }
    }
}

/// Who was faster, and with what.
fn ending(row: &ApprovalRow) -> String {
    let state = row.state.as_str();
    match &row.answered {
        Some(by) => format!(
            "{} answered it already from the device {}: it is {state}",
            by.handle, by.device
        ),
        None => format!("it is {state}: {}", row.reason),
    }
}

impl From<McpError> for ApiError {
    fn from(error: McpError) -> Self {
        let text = error.to_string();
        match error {
            McpError::Config(_) => Self::bad_request("bad_mcp", text),
            McpError::NotFound => Self::not_found(),
            McpError::NameTaken => {
                let hint = "choose another name, or update that one with PUT";
                Self::new(StatusCode::CONFLICT, "name_taken", text, hint)
            }
            McpError::TooMany => {
                let hint = "remove one first";
                Self::new(StatusCode::CONFLICT, "too_many", text, hint)
            }
            McpError::Seal(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the secrets of an MCP server could not be sealed"
                );
                Self::internal()
            }
            McpError::Store(error) => error.into(),
            McpError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                text,
                "try again soon",
            ),
        }
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        let text = error.to_string();
        match error {
            FileError::BadName => Self::bad_request("bad_name", text),
            FileError::NotFound => Self::not_found(),
            FileError::TooLarge { .. } => {
                let hint = "send less, or raise the limit in the agent's config";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text, hint)
            }
            FileError::QuotaBytes { .. } | FileError::QuotaFiles { .. } => {
                let hint = "remove files on the agent, or raise the limit in its config";
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "quota_exceeded",
                    text,
                    hint,
                )
            }
            FileError::BrokenOff => Self::bad_request("upload_broken_off", text),
            FileError::Cancelled => {
                let hint = "send it again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", text, hint)
            }
            FileError::Disk { doing, source } if is_full(&source) => {
                tracing::error!(error = %source, doing, "the disk is full");
                let hint = "free some space on the agent's disk";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", text, hint)
            }
            FileError::Disk { doing, source } => {
                tracing::error!(error = %source, doing, "the disk failed a request");
                Self::internal()
            }
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn no_such_route() -> ApiError {
    ApiError::not_found()
}

/// Names a request, for handlers that name something after it.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Ids of requests: random per process, so that two runs do not share them, then counted.
#[derive(Debug)]
pub(super) struct RequestIds {
    prefix: String,
    counter: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let mut bytes = [0; 4];
        // Ids are names, not secrets: without randomness they are only less unique.
        let _ = getrandom::fill(&mut bytes);
        Self {
            prefix: HEXLOWER.encode(&bytes),
            counter: AtomicU64::new(1),
        }
    }

    pub(super) fn next(&self) -> String {
        format!(
            "{}-{}",
            self.prefix,
            self.counter.fetch_add(1, Ordering::Relaxed)
        )
    }
}

/// Fills in the body of an error and the headers that every answer carries.
pub(super) fn finish(
    mut response: Response<Body>,
    request_id: &str,
    shape: Shape,
) -> Response<Body> {
    let error = response.extensions_mut().remove::<ApiError>();
    let error = error.or_else(|| foreign_error(&response));
    if let Some(error) = error {
        write_error(&mut response, error, request_id, shape);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(DEFAULT_POLICY);
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Errors that the router or an extractor made as plain text.
fn foreign_error(response: &Response<Body>) -> Option<ApiError> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    if response.extensions().get::<OwnError>().is_some() {
        return None;
    }
    let (code, message) = match status {
        StatusCode::METHOD_NOT_ALLOWED => (
            "method_not_allowed",
            "this address does not take this method",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the request is too large"),
        StatusCode::UPGRADE_REQUIRED => (
            "upgrade_required",
            "this address speaks WebSocket; ask for an upgrade",
        ),
        StatusCode::RANGE_NOT_SATISFIABLE => ("bad_range", "the file does not have this range"),
        status if status.is_client_error() => ("bad_request", "the request was not understood"),
        _ => {
            return Some(ApiError {
                status,
                ..ApiError::internal()
            });
        }
    };
    let hint = "correct the request and send it again";
    Some(ApiError::new(status, code, message, hint))
}

fn write_error(response: &mut Response<Body>, error: ApiError, request_id: &str, shape: Shape) {
    let retry_after = error.retry_after;
    let body = match shape {
        Shape::OpenAi => error.open_ai(request_id),
        Shape::Own => serde_json::json!({ "error": ErrorBody {
            code: error.code.into_owned(),
            message: error.message,
            hint: error.hint,
            request_id: Some(request_id.to_owned()),
        } }),
    };
    let body = body.to_string();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(after) = retry_after {
        // Whole seconds, rounded up: a client that waits that long is let through.
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs() + 1));
    }
    *response.body_mut() = Body::from(body);
}
