//! `/mcp`: the agent as an MCP server, over streamable HTTP without sessions.
//!
//! Offers the built-in tools that only read and, to who may chat, a turn of the agent. Calls go the
//! way that a turn's own calls go; an agent run is limited and audited like a message on `/ws`.

mod ask;

use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value};

use super::Principal;
use super::auth::CallerContext;
use super::error::{ApiError, OwnError};
use super::health::VERSION;
use crate::approvals::Origin;
use crate::providers::ToolSpec;
use crate::state::AgentState;
use crate::turn::ToolCall;

/// Longest request, in bytes: the same as a frame of `/ws`.
const MAX_REQUEST: usize = 1 << 20;

/// The service behind the route.
#[derive(Clone)]
pub(super) struct Server(Arc<StreamableHttpService<Handler, NeverSessionManager>>);

impl Server {
    pub(super) fn new(state: &Arc<AgentState>) -> Self {
        // Only whoever has an admitted certificate gets here. The names still close the way that a page
        // in a browser would take through the device's own proxy.
        let hosts = [
            "localhost",
            "127.0.0.1",
            "::1",
            "agent",
            &state.settings.name,
            &state.settings.node_id.to_string(),
        ];
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_allowed_hosts(hosts)
            .with_max_request_body_bytes(MAX_REQUEST)
            .with_cancellation_token(state.leaving.clone());
        let handler = Handler(state.clone());
        let sessions = Arc::new(NeverSessionManager::default());
        let service = StreamableHttpService::new(move || Ok(handler.clone()), sessions, config);
        Self(Arc::new(service))
    }

    pub(super) async fn serve(self, request: Request<Body>) -> Response<Body> {
        if !own_origin(request.headers()) {
            return ApiError::foreign_origin().into_response();
        }
        let mut response = self.0.handle(request).await.map(Body::new);
        let kind = response.headers().get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
            response.extensions_mut().insert(OwnError);
        }
        response
    }
}

/// Whether no page sends this, or one of the very address that it is sent to.
fn own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    host.is_some() && origin.as_bytes().strip_prefix(b"http://") == host
}

/// Answers one request; what it may do is in the request's principal.
#[derive(Debug, Clone)]
struct Handler(Arc<AgentState>);

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let tools = ServerCapabilities::builder().enable_tools().build();
        let text =
            "The tools of a personal agent. They act with the rights of the device that asks.";
        ServerConfig::new(tools)
            .with_server_info(Implementation::new("homing", VERSION))
            .with_instructions(text)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (principal, _) = caller(&context)?;
        let mut tools = self.0.tools.readers(&principal.speaker());
        if principal.scopes.contains(ask::SCOPE) {
            tools.push(ask::spec());
        }
        let reads = |tool: &ToolSpec| tool.name != ask::NAME;
        let tools = tools.into_iter().map(|tool| {
            let reads = reads(&tool);
            described(tool, reads)
        });
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (principal, caller) = caller(&context)?;
        let arguments = params.arguments.unwrap_or_default();
        let answer = if params.name == ask::NAME {
            let ask = ask::run(&self.0, &principal, &caller, arguments);
            tokio::select! {
                answer = ask => answer,
                () = context.ct.cancelled() => Err("cancelled".to_owned()),
            }
        } else {
            self.read(&principal, &params.name, arguments).await?
        };
        let result = match answer {
            Ok(Value::String(text)) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Ok(value) => {
                let text = ContentBlock::text(value.to_string());
                let mut result = CallToolResult::success(vec![text]);
                result.structured_content = value.is_object().then_some(value);
                result
            }
            Err(reason) => CallToolResult::error(vec![ContentBlock::text(reason)]),
        };
        Ok(result.into())
    }
}

impl Handler {
    async fn read(
        &self,
        principal: &Principal,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<Result<Value, String>, ErrorData> {
        let speaker = Arc::new(principal.speaker());
        let tools = &self.0.tools;
        // What is not listed does not exist here, also when turns have it.
        if !tools.readers(&speaker).iter().any(|tool| tool.name == name) {
            return Err(ErrorData::invalid_params("there is no such tool", None));
        }
        let call = ToolCall {
            id: "mcp".to_owned(),
            name: name.to_owned(),
            arguments: Value::Object(arguments),
        };
        // No turn: the session is the one that `ask_agent` uses.
        let origin = Origin {
            session: ask::session(&speaker.node_id),
            speaker,
            turn_id: 0,
        };
        if let Err(error) = tools.permit(&origin, &call).await {
            return Ok(Err(error.to_string()));
        }
        Ok(tools.run(&origin, call).await.result)
    }
}

/// Who asks, from the connection. The gate has put both there.
fn caller(
    context: &RequestContext<RoleServer>,
) -> Result<(Arc<Principal>, Arc<CallerContext>), ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let principal = parts.and_then(|parts| parts.extensions.get::<Arc<Principal>>());
    let caller = parts.and_then(|parts| parts.extensions.get::<Arc<CallerContext>>());
    match (principal, caller) {
        (Some(principal), Some(caller)) => Ok((principal.clone(), caller.clone())),
        _ => Err(ErrorData::internal_error("nobody asks", None)),
    }
}

fn described(spec: ToolSpec, reads: bool) -> Tool {
    let schema = match spec.parameters {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    let hints = rmcp::model::ToolAnnotations::new().read_only(reads);
    Tool::new(spec.name, spec.description, Arc::new(schema)).with_annotations(hints)
}
