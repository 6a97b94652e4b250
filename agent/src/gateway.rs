//! The agent's HTTP and WebSocket interface: the only place with HTTP words.
//!
//! One router serves every authenticated stream. Nothing here decides who is who: a [`Caller`] comes
//! with each connection, from its verified certificate, and one gate in front of all routes turns it
//! into a [`Principal`] and checks the table in `routes`. Resources have a file each.

mod agent_info;
mod approvals;
mod asking;
mod auth;
mod body;
mod chat;
mod config;
mod devices;
mod diagnostics;
mod error;
mod events;
mod files;
mod health;
mod idempotency;
mod logs;
mod mcp_server;
mod mcps;
mod models;
mod openapi;
mod page;
mod providers;
mod routes;
mod rpc;
mod sessions;
mod upload;
mod usage;
mod v1;
mod whoami;
mod ws;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, patch, post, put};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

pub use auth::{Caller, LOCAL_HEADER, Principal};
pub use error::REQUEST_ID_HEADER;
pub use routes::{Class, FRAMES, Frame, METHODS, Method, Need, ROUTES, Route};
pub use ws::{SUBPROTOCOL, close_code};

use auth::CallerContext;
use error::{ApiError, RequestId, RequestIds};

use crate::state::AgentState;

/// The gateway of one agent.
#[derive(Debug, Clone)]
pub struct Gateway {
    state: Arc<AgentState>,
    router: Router,
    ids: Arc<RequestIds>,
}

/// The HTTP service of one admitted connection; clone it for each of its streams.
#[derive(Debug, Clone)]
pub struct ConnectionService {
    router: Router,
    context: Arc<CallerContext>,
    ids: Arc<RequestIds>,
}

impl Gateway {
    /// The gateway in front of an agent's services.
    #[must_use]
    pub fn new(state: Arc<AgentState>) -> Self {
        Self {
            router: router(state.clone(), Router::new()),
            state,
            ids: Arc::new(RequestIds::new()),
        }
    }

    /// A gateway with more routes, for a test of what the gate does with a route that is in no table.
    #[must_use]
    pub fn with_routes(state: Arc<AgentState>, more: Router<Arc<AgentState>>) -> Self {
        Self {
            router: router(state.clone(), more),
            state,
            ids: Arc::new(RequestIds::new()),
        }
    }

    /// Takes over an admitted connection: counts it, remembers the device and writes the audit line.
    /// Its end is noted when the service and all its clones are gone.
    pub async fn connect(&self, caller: Arc<dyn Caller>) -> ConnectionService {
        let context = CallerContext::admit(self.state.clone(), caller).await;
        ConnectionService {
            router: self.router.clone(),
            context,
            ids: self.ids.clone(),
        }
    }
}

impl ConnectionService {
    /// Answers one request. Never fails: a panic becomes a 500.
    pub fn serve(&self, mut request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let id = self.ids.next();
        let shape = error::Shape::of(request.uri().path());
        let context = self.context.clone();
        let mut router = self.router.clone();
        async move {
            request.extensions_mut().insert(context);
            request.extensions_mut().insert(RequestId(id.clone()));
            let answer = AssertUnwindSafe(async move {
                match tower::Service::call(&mut router, request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            });
            let response = answer.catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(request_id = %id, "a handler panicked");
                axum::response::IntoResponse::into_response(ApiError::internal())
            });
            error::finish(response, &id, shape)
        }
        .boxed()
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.serve(request.map(Body::new)).map(Ok).boxed()
    }
}

impl tower::Service<Request<Body>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.serve(request).map(Ok).boxed()
    }
}

fn router(state: Arc<AgentState>, more: Router<Arc<AgentState>>) -> Router {
    let mcp = mcp_server::Server::new(&state);
    Router::new()
        .route("/", get(page::index))
        .route("/assets/app.js", get(page::script))
        .route("/assets/app.css", get(page::style))
        .route("/assets/icon.svg", get(page::icon))
        .route("/api/openapi.json", get(openapi::get))
        .route("/api/health", get(health::get))
        .route("/api/whoami", get(whoami::get))
        .route("/api/agent-info", get(agent_info::get))
        .route("/api/devices", get(devices::list))
        .route("/api/approvals", get(approvals::list))
        .route("/api/approvals/{id}", get(approvals::get))
        .route("/api/approvals/{id}/approve", post(approvals::approve))
        .route("/api/approvals/{id}/deny", post(approvals::deny))
        .route("/api/sessions", get(sessions::list))
        .route("/api/sessions/{id}/clear", post(sessions::clear))
        .route("/api/sessions/{id}/pin", post(models::pin))
        .route("/api/providers", get(providers::list).post(providers::add))
        .route("/api/providers/detect", post(providers::detect))
        .route(
            "/api/providers/{id}",
            put(providers::change).delete(providers::remove),
        )
        .route("/api/providers/{id}/test", post(providers::test))
        .route("/api/models", get(models::list).post(models::add))
        .route("/api/models/catalog", get(models::catalog))
        .route("/api/models/available", get(models::available))
        .route(
            "/api/models/{id}",
            put(models::change).delete(models::remove),
        )
        .route("/api/models/{id}/enable", post(models::enable))
        .route("/api/models/{id}/disable", post(models::disable))
        .route(
            "/api/upload",
            post(upload::post).layer(DefaultBodyLimit::disable()),
        )
        .route("/api/files/{name}", get(files::get).put(files::put))
        .route("/api/events", get(events::get))
        .route("/api/echo", post(diagnostics::echo))
        .route("/api/blob", get(diagnostics::blob))
        .route("/api/logs", get(logs::get))
        .route("/api/usage", get(usage::summary))
        .route("/api/usage/daily", get(usage::daily))
        .route("/api/config", get(config::get).put(config::put))
        .route("/api/config/{section}", patch(config::patch))
        .route("/api/restart", post(config::restart))
        .route("/chat", post(chat::post))
        .route(
            "/v1/chat/completions",
            post(v1::chat::post).layer(DefaultBodyLimit::max(v1::MAX_BODY)),
        )
        .route(
            "/v1/responses",
            post(v1::responses::post).layer(DefaultBodyLimit::max(v1::MAX_BODY)),
        )
        .route("/v1/models", get(v1::models::list))
        .route("/v1/models/{*id}", get(v1::models::get))
        .route("/api/mcps", get(mcps::list).post(mcps::add))
        .route(
            "/api/mcps/{name}",
            get(mcps::get).put(mcps::update).delete(mcps::remove),
        )
        .route("/api/mcps/{name}/enable", post(mcps::enable))
        .route("/api/mcps/{name}/disable", post(mcps::disable))
        .route("/api/mcps/{name}/logs", get(mcps::logs))
        .route("/mcp", post(move |request| mcp.clone().serve(request)))
        .route("/ws", get(ws::get))
        .route("/rpc", get(rpc::get))
        .merge(more)
        .fallback(error::no_such_route)
        .layer(middleware::from_fn_with_state(state.clone(), auth::gate))
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use homing_certs::{NetworkId, NodeId};
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::config::AgentSettings;

    async fn agent(dir: &std::path::Path) -> Arc<AgentState> {
        let (node_id, network) = (NodeId::from([1; 32]), NetworkId::from([2; 16]));
        let settings = AgentSettings::new(dir.to_owned(), "attic".into(), node_id, network);
        AgentState::open(settings).await.unwrap()
    }

    async fn code(response: Response<Body>) -> (StatusCode, String) {
        let status = response.status();
        let body = error::finish(response, "1", error::Shape::Own).into_body();
        let body = body.collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["request_id"], "1");
        (status, body["error"]["code"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_request_that_came_over_no_admitted_connection_reaches_no_route() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::new(agent(dir.path()).await);
        for route in ROUTES {
            let request = Request::builder()
                .method(route.method)
                .uri(route.path.replace(['{', '}'], ""))
                .header("peer-id", "01".repeat(32))
                .header("x-forwarded-for", "127.0.0.1")
                .body(Body::empty())
                .unwrap();
            let response = gateway.router.clone().oneshot(request).await.unwrap();
            let expected = (StatusCode::UNAUTHORIZED, "unauthorized".to_owned());
            assert_eq!(code(response).await, expected, "{route:?}");
        }
    }

    #[derive(Debug)]
    struct Stranger;

    impl Caller for Stranger {
        fn node_id(&self) -> NodeId {
            NodeId::from([3; 32])
        }

        fn authorize(
            &self,
        ) -> Result<Arc<homing_certs::VerifiedCertificate>, homing_certs::CertificateError>
        {
            Err(homing_certs::CertificateError::Revoked {
                device: self.node_id(),
            })
        }

        fn staleness(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }

        fn path(&self) -> &'static str {
            "direct"
        }

        fn revoked(&self) -> tokio_util::sync::CancellationToken {
            tokio_util::sync::CancellationToken::new()
        }
    }

    #[tokio::test]
    async fn a_handler_that_panics_answers_500_and_the_connection_goes_on() {
        async fn panics() -> &'static str {
            panic!("on purpose")
        }
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::new(agent(dir.path()).await);
        let mut service = gateway.connect(Arc::new(Stranger)).await;
        service.router = Router::new()
            .route("/panics", get(panics))
            .route("/fine", get(|| async { "fine" }));
        let ask = |path: &str| service.serve(Request::get(path).body(Body::empty()).unwrap());
        let response = ask("/panics").await;
        let id = response.headers()[REQUEST_ID_HEADER]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "internal");
        assert_eq!(body["error"]["request_id"], id);
        assert!(!body.to_string().contains("on purpose"));
        assert_eq!(ask("/fine").await.status(), StatusCode::OK);
    }
}
