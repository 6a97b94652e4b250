//! The agent's HTTP and WebSocket interface: the only place with HTTP words.
//!
//! One router serves every authenticated stream. Nothing here decides who is who: a [`Caller`] comes
//! with each connection, from its verified certificate, and one gate in front of all routes turns it
//! into a [`Principal`] and checks the table in [`routes`]. Resources have a file each.

mod agent_info;
mod auth;
mod devices;
mod diagnostics;
mod error;
mod events;
mod files;
mod health;
mod logs;
mod page;
mod routes;
mod sessions;
mod upload;
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
use axum::routing::{get, post};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

pub use auth::{Caller, LOCAL_HEADER, Principal};
pub use error::REQUEST_ID_HEADER;
pub use routes::{Class, FRAMES, Frame, Need, ROUTES, Route};
pub use ws::close_code;

use auth::CallerContext;
use error::{ApiError, RequestIds};

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
        Self { router: router(state.clone(), Router::new()), state, ids: Arc::new(RequestIds::new()) }
    }

    /// A gateway with more routes, for a test of what the gate does with a route that is in no table.
    #[must_use]
    pub fn with_routes(state: Arc<AgentState>, more: Router<Arc<AgentState>>) -> Self {
        Self { router: router(state.clone(), more), state, ids: Arc::new(RequestIds::new()) }
    }

    /// Takes over an admitted connection: counts it, remembers the device and writes the audit line.
    /// Its end is noted when the service and all its clones are gone.
    pub async fn connect(&self, caller: Arc<dyn Caller>) -> ConnectionService {
        let context = CallerContext::admit(self.state.clone(), caller).await;
        ConnectionService { router: self.router.clone(), context, ids: self.ids.clone() }
    }
}

/// The service of one admitted connection, for a server that has one gateway.
pub async fn service(state: &Arc<AgentState>, caller: Arc<dyn Caller>) -> ConnectionService {
    Gateway::new(state.clone()).connect(caller).await
}

impl ConnectionService {
    /// Answers one request. Never fails: a panic becomes a 500.
    pub fn serve(&self, mut request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let id = self.ids.next();
        let context = self.context.clone();
        let mut router = self.router.clone();
        async move {
            request.extensions_mut().insert(context);
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
            error::finish(response, &id)
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
    Router::new()
        .route("/", get(page::index))
        .route("/assets/app.js", get(page::script))
        .route("/assets/app.css", get(page::style))
        .route("/api/health", get(health::get))
        .route("/api/whoami", get(whoami::get))
        .route("/api/agent-info", get(agent_info::get))
        .route("/api/devices", get(devices::list))
        .route("/api/sessions", get(sessions::list))
        .route("/api/sessions/{id}/clear", post(sessions::clear))
        .route("/api/upload", post(upload::post).layer(DefaultBodyLimit::disable()))
        .route("/api/files/{name}", get(files::get).put(files::put))
        .route("/api/events", get(events::get))
        .route("/api/echo", post(diagnostics::echo))
        .route("/api/blob", get(diagnostics::blob))
        .route("/api/logs", get(logs::get))
        .route("/ws", get(ws::get))
        .merge(more)
        .fallback(error::no_such_route)
        .layer(middleware::from_fn_with_state(state.clone(), auth::gate))
        .with_state(state)
}
