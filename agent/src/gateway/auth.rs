//! Who is calling, and whether they may: the gate in front of every route.
//!
//! The identity is the connection's verified certificate. No header adds to it; one header, set by the
//! device's own proxy, may narrow it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::middleware::Next;
use axum::response::IntoResponse;
use homing_certs::{
    CertificateError, NodeId, Role, STALE_AFTER_SECS, Scopes, UserId, VerifiedCertificate,
    effective_rights, scope_needs_freshness,
};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::idempotency;
use super::routes::{self, Class, Need};
use crate::audit::{Decision, Entry, Kind};
use crate::connections::Connected;
use crate::sessions::Speaker;
use crate::state::AgentState;
use crate::store::SeenDevice;

/// Set by the proxy on the device itself: `token` for a caller with the proxy's token, `capped` for
/// one without. Anything but exactly one `token` narrows; absent means that there is no proxy.
pub const LOCAL_HEADER: &str = "homing-local";

/// What a caller without the proxy's token never has, whatever the certificate says.
const NOT_WHEN_CAPPED: &[&str] = &["exec.approve", "config.write", "invite", "devices.revoke"];

/// The device at the other end of an admitted connection.
pub trait Caller: Send + Sync + std::fmt::Debug {
    /// Its key, which the connection has proved.
    fn node_id(&self) -> NodeId;
    /// Checks time, revocation and generation from memory, and gives the certificate in force.
    ///
    /// # Errors
    /// When the certificate does not hold any more.
    fn authorize(&self) -> Result<Arc<VerifiedCertificate>, CertificateError>;
    /// Time since the newest verified heartbeat of the coordinator.
    fn staleness(&self) -> Duration;
    /// `direct` or `relay`.
    fn path(&self) -> &'static str;
    /// Raised when the device is cut off.
    fn revoked(&self) -> CancellationToken;
}

/// Who calls, with the rights of this request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The device.
    pub node_id: NodeId,
    /// Its user.
    pub user_id: UserId,
    /// That user's handle.
    pub handle: String,
    /// Role; an admin without the proxy's token is a client.
    pub role: Role,
    /// Effective scopes.
    pub scopes: Scopes,
    /// Whether the request came without the proxy's token.
    pub capped: bool,
    /// `direct` or `relay`, at the time of this request.
    pub path: &'static str,
    /// The certificate in force.
    pub certificate: Arc<VerifiedCertificate>,
}

impl Principal {
    fn new(certificate: Arc<VerifiedCertificate>, capped: bool, path: &'static str) -> Self {
        let document = certificate.certificate();
        let mut role = document.role;
        let mut scopes = effective_rights(role, &document.scopes);
        if capped {
            if role == Role::Admin {
                role = Role::Client;
            }
            scopes = cap(&scopes);
        }
        Self {
            node_id: document.device,
            user_id: document.user_id,
            handle: document.handle.as_str().to_owned(),
            role,
            scopes,
            capped,
            path,
            certificate,
        }
    }

    /// For a turn that will run in this device's name.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        Speaker {
            node_id: self.node_id,
            user_id: self.user_id,
            handle: self.handle.clone(),
            role: self.role.to_string(),
            scopes: self.scopes.iter().map(str::to_owned).collect(),
            path: self.path.to_owned(),
        }
    }

    /// An audit line about this principal.
    pub(super) fn entry(&self, kind: Kind) -> Entry {
        Entry::new(kind).by(self.node_id, &self.handle, self.path)
    }
}

/// One admitted connection inside the gateway.
#[derive(Debug)]
pub(super) struct CallerContext {
    pub(super) caller: Arc<dyn Caller>,
    state: Arc<AgentState>,
    reads: AtomicU64,
    /// Principals of the newest certificate: with all rights, and capped.
    known: Mutex<Option<(Arc<Principal>, Arc<Principal>)>>,
    _connected: Connected,
}

impl CallerContext {
    pub(super) async fn admit(state: Arc<AgentState>, caller: Arc<dyn Caller>) -> Arc<Self> {
        let connected = state.connections.connected(caller.node_id());
        let context = Arc::new(Self {
            caller,
            state,
            reads: AtomicU64::new(0),
            known: Mutex::new(None),
            _connected: connected,
        });
        if let Ok(principal) = context.principal(false) {
            let line = principal.entry(Kind::Admitted).decision(Decision::Allowed);
            context
                .state
                .audit
                .note(line.detail("role", principal.role.as_str()));
            let seen = seen(&principal);
            if let Err(error) = context.state.store.device_seen(seen).await {
                tracing::error!(%error, "an admitted device could not be remembered");
            }
        }
        context
    }

    /// The principal of a request at this moment.
    pub(super) fn principal(&self, capped: bool) -> Result<Arc<Principal>, CertificateError> {
        let certificate = self.caller.authorize()?;
        let path = self.caller.path();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let current = known
            .as_ref()
            .filter(|(full, _)| Arc::ptr_eq(&full.certificate, &certificate) && full.path == path);
        let (full, narrow) = match current {
            Some(pair) => pair.clone(),
            None => {
                let full = Arc::new(Principal::new(certificate.clone(), false, path));
                let narrow = Arc::new(Principal::new(certificate, true, path));
                known.insert((full, narrow)).clone()
            }
        };
        Ok(if capped { narrow } else { full })
    }

    /// Whether the principal has what is needed, on a fresh enough log.
    pub(super) fn check(&self, principal: &Principal, need: Need) -> Result<(), ApiError> {
        let Need::Scope(scope) = need else {
            return Ok(());
        };
        if !principal.scopes.contains(scope) {
            return Err(ApiError::missing_scope(scope, principal.capped));
        }
        let stale = self.caller.staleness() > Duration::from_secs(STALE_AFTER_SECS);
        if stale && scope_needs_freshness(scope) {
            return Err(ApiError::stale_policy());
        }
        Ok(())
    }
}

impl Drop for CallerContext {
    fn drop(&mut self) {
        let line = Entry::new(Kind::Ended).device(self.caller.node_id());
        self.state
            .audit
            .note(line.detail("reads", self.reads.load(Ordering::Relaxed)));
    }
}

/// Whether a request was narrowed by the device's proxy.
pub(super) fn is_capped(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(LOCAL_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => false,
        (Some(value), None) => value.as_bytes() != b"token",
        _ => true,
    }
}

/// The gate. Everything that reaches a handler has passed it.
pub(super) async fn gate(
    State(state): State<Arc<AgentState>>,
    mut request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let answer = match pass(&state, &mut request).await {
        Ok(Passed {
            write: true,
            device,
        }) => match idempotency::key(request.headers()) {
            Ok(Some(key)) => idempotency::run(state, device, key, request, next).await,
            Ok(None) => Ok(next.run(request).await),
            Err(error) => Err(error),
        },
        Ok(_) => Ok(next.run(request).await),
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

/// A call that may be made.
struct Passed {
    device: NodeId,
    /// Whether it is of the class that a client may send again under a key.
    write: bool,
}

async fn pass(state: &Arc<AgentState>, request: &mut Request<Body>) -> Result<Passed, ApiError> {
    let Some(context) = request.extensions().get::<Arc<CallerContext>>().cloned() else {
        state.audit.count_refusal("cert_missing");
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this connection has no device certificate",
            "",
        ));
    };
    // Its connections are being closed; a request that was on its way ends here.
    if state.denied.contains(&context.caller.node_id()) {
        state.audit.count_refusal("forbidden");
        return Err(ApiError::denied_here());
    }
    let capped = is_capped(request.headers());
    let principal = context.principal(capped).map_err(|error| {
        state.audit.count_refusal(error.code().as_str());
        ApiError::unauthorized(&error)
    })?;
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let route = path
        .as_deref()
        .and_then(|path| routes::find(request.method(), path));
    let now = Instant::now();
    match route.map_or(Class::Read, |route| route.class) {
        Class::Read => {
            context.reads.fetch_add(1, Ordering::Relaxed);
            state.limits.read(principal.node_id, now)?;
        }
        Class::Run => state
            .limits
            .run(principal.node_id, principal.user_id, now)?,
        Class::Write | Class::Stop => state.limits.write(principal.node_id, now)?,
    }
    let Some(route) = route else {
        return match path {
            Some(path) if routes::has_path(&path) => Err(ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this address does not take this method",
                "",
            )),
            Some(_) => {
                let error = ApiError::new(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "nobody may call this",
                    "",
                );
                Err(refuse(state, &principal, request, "", error))
            }
            None => Err(ApiError::not_found()),
        };
    };
    let scope = match route.need {
        Need::Scope(scope) => scope,
        Need::Admitted => "",
    };
    context
        .check(&principal, route.need)
        .map_err(|error| refuse(state, &principal, request, scope, error))?;
    if route.class != Class::Read {
        let line = line(&principal, request, scope, Kind::Call).decision(Decision::Allowed);
        if route.class == Class::Stop {
            state.audit.note(line);
        } else {
            state.audit.record(line).await.map_err(|error| {
                tracing::error!(%error, "a call was refused because it could not be audited");
                ApiError::audit_unavailable()
            })?;
        }
    }
    let passed = Passed {
        device: principal.node_id,
        write: route.class == Class::Write,
    };
    request.extensions_mut().insert(principal);
    Ok(passed)
}

fn refuse(
    state: &AgentState,
    principal: &Principal,
    request: &Request<Body>,
    scope: &str,
    error: ApiError,
) -> ApiError {
    let line = line(principal, request, scope, Kind::Refused).decision(Decision::Refused);
    state.audit.note(line.detail("code", error.code.as_ref()));
    error
}

fn line(principal: &Principal, request: &Request<Body>, scope: &str, kind: Kind) -> Entry {
    principal
        .entry(kind)
        .call(request.method().as_str(), request.uri().path())
        .capability(scope)
}

fn cap(scopes: &Scopes) -> Scopes {
    let client = effective_rights(Role::Client, scopes);
    let kept = client.iter().filter(|scope| {
        !NOT_WHEN_CAPPED.iter().any(|out| {
            scope == out
                || scope
                    .strip_prefix(out)
                    .is_some_and(|rest| rest.starts_with('.'))
        })
    });
    // Scopes that were valid stay valid; no scope at all is the safe reading of anything else.
    Scopes::new(kept.map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
}

fn seen(principal: &Principal) -> SeenDevice {
    let document = principal.certificate.certificate();
    SeenDevice {
        node_id: principal.node_id,
        user_id: principal.user_id,
        handle: principal.handle.clone(),
        role: document.role.to_string(),
        scopes: document.scopes.to_string(),
        generation: document.generation,
        expires_at: i64::try_from(document.not_after.0).unwrap_or(i64::MAX),
        path: principal.path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_exactly_one_token_leaves_the_rights_as_they_are() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LOCAL_HEADER, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(!is_capped(&headers(&[])));
        assert!(!is_capped(&headers(&["token"])));
        for values in [
            &["capped"][..],
            &["token", "capped"],
            &["token", "token"],
            &[""],
            &["Token"],
        ] {
            assert!(is_capped(&headers(values)), "{values:?}");
        }
    }

    #[test]
    fn a_capped_admin_with_every_scope_has_what_a_client_may_have_and_not_more() {
        let capped = cap(&Scopes::new(["*"]).unwrap());
        for scope in ["chat", "status.read", "files", "audit.read"] {
            assert!(capped.contains(scope), "{scope}");
        }
        for scope in NOT_WHEN_CAPPED
            .iter()
            .chain(&["models", "mcp", "exec.approve.x", "*"])
        {
            assert!(!capped.contains(scope), "{scope}");
        }
    }
}
