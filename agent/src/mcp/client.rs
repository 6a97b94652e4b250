//! One live connection to a server: greeting, listing, calling, the end.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation,
    ProtocolVersion, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, Peer, RoleClient, RunningService, ServiceError,
    serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::Transport;
use rmcp::{ClientHandler, ClientLifecycleMode};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::config::{Place, ServerConfig};
use super::http::{self, HttpSetupError};
use super::listing::{self, Listing};
use super::logs::cut;
use super::result;
use super::shared::Shared;
use super::spawn::{Program, Starter};
use super::stdio::StdioTransport;
use crate::confine::LaunchError;

/// Longest end of a connection: what a program has to leave by itself and when told, and some more.
const CLOSE: Duration = Duration::from_secs(5);
/// Longest name or version of a server that is shown, in bytes.
const MAX_TITLE: usize = 128;

/// How a server wants to be greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// With a handshake, as before 2026-07-28.
    Initialize,
    /// With `server/discover`.
    Discover,
}

impl Lifecycle {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Discover => "discover",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "initialize" => Some(Self::Initialize),
            "discover" => Some(Self::Discover),
            _ => None,
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum StartError {
    /// The program.
    #[error("{0}")]
    Spawn(#[source] LaunchError),
    /// The HTTP client.
    #[error("{0}")]
    Http(#[source] HttpSetupError),
    /// The greeting.
    #[error("it does not speak MCP with us: {0}")]
    Greet(#[source] Box<ClientInitializeError>),
    /// The list of tools.
    #[error("its tools could not be listed: {0}")]
    List(#[source] ServiceError),
    /// It took too long.
    #[error("it was not ready within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Why a call gave nothing. The texts are for a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CallError {
    /// No answer in time; the server was told that nobody waits any more.
    #[error("the server did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The connection is gone.
    #[error("the server has gone")]
    Gone,
    /// It wants something that this agent does not do.
    #[error("the server asks for {0}, which is not supported")]
    Unsupported(&'static str),
    /// The protocol's own error.
    #[error("{0}")]
    Refused(String),
    /// The tool itself failed.
    #[error("{0}")]
    Failed(String),
}

/// What can be asked of a live server. Calls in flight hold it.
#[derive(Debug)]
pub(super) struct Client {
    peer: Peer<RoleClient>,
    calls: TaskTracker,
    /// Raised when a call gives reason to doubt that the server lives.
    pub(super) doubt: Notify,
}

/// A live server, from its greeting to its end.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) client: Arc<Client>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) lifecycle: Lifecycle,
    pub(super) protocol: String,
    /// What it calls itself.
    pub(super) title: String,
    /// Raised when the connection has ended.
    pub(super) ended: CancellationToken,
    /// Raised when its tools may have changed.
    pub(super) changed: Arc<Notify>,
    /// Ends it, also when this is dropped.
    stop: DropGuard,
    tasks: JoinSet<()>,
}

/// Starts or reaches a server, greets it and asks for its tools. Dropping the future ends what it had
/// started.
pub(super) async fn connect(
    config: Arc<ServerConfig>,
    remembered: Option<Lifecycle>,
    shared: &Arc<Shared>,
    starter: &Starter,
    limit: Duration,
) -> Result<(Live, Listing), StartError> {
    tokio::time::timeout(limit, try_connect(config, remembered, shared, starter))
        .await
        .map_err(|_| StartError::TimedOut(limit))?
}

async fn try_connect(
    config: Arc<ServerConfig>,
    remembered: Option<Lifecycle>,
    shared: &Arc<Shared>,
    starter: &Starter,
) -> Result<(Live, Listing), StartError> {
    // What was remembered may be of an older version of the server, and some older servers end when
    // they are asked what they do not know: each way gets a connection of its own.
    let modes = match remembered {
        None => [auto(), ClientLifecycleMode::Initialize],
        Some(Lifecycle::Initialize) => [ClientLifecycleMode::Initialize, auto()],
        Some(Lifecycle::Discover) => [auto(), ClientLifecycleMode::Initialize],
    };
    let [first, second] = modes;
    let live = match open(config.clone(), first, shared, starter).await {
        Err(StartError::Greet(error)) => {
            shared.log("agent", &format!("the first greeting failed: {error}"));
            open(config, second, shared, starter).await?
        }
        other => other?,
    };
    match listing::ask(&live.config.name, &live.client.peer).await {
        Ok(listing) => Ok((live, listing)),
        Err(error) => {
            live.close().await;
            Err(StartError::List(error))
        }
    }
}

fn auto() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::LATEST],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    }
}

async fn open(
    config: Arc<ServerConfig>,
    mode: ClientLifecycleMode,
    shared: &Arc<Shared>,
    starter: &Starter,
) -> Result<Live, StartError> {
    match &config.place {
        Place::Command { words, cwd } => {
            let secrets = config.secrets.iter();
            let program = Program {
                words,
                cwd: cwd.as_deref(),
                env: secrets
                    .map(|(name, value)| (name.as_str(), value.reveal()))
                    .collect(),
            };
            let started = starter.start(&program).await.map_err(StartError::Spawn)?;
            let transport = StdioTransport::new(started, shared.clone());
            greet(config.clone(), mode, transport).await
        }
        Place::Url(url) => {
            let transport = http::transport(url, &config).map_err(StartError::Http)?;
            greet(config.clone(), mode, transport).await
        }
    }
}

async fn greet<T: Transport<RoleClient> + 'static>(
    config: Arc<ServerConfig>,
    mode: ClientLifecycleMode,
    transport: T,
) -> Result<Live, StartError> {
    let changed = Arc::new(Notify::new());
    let handler = Handler {
        changed: changed.clone(),
    };
    let stop = CancellationToken::new();
    let service = serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone())
        .await
        .map_err(|error| StartError::Greet(Box::new(error)))?;
    let peer = service.peer().clone();
    let info = peer.peer_info();
    let version = info.as_ref().map(|info| info.protocol_version.clone());
    let version = version.unwrap_or(ProtocolVersion::LATEST_WITH_INITIALIZE);
    let title = info.as_ref().and_then(|info| info.server_info.as_ref());
    let title = title.map(|server| format!("{} {}", server.name, server.version));
    let announces = info.is_some_and(|info| {
        let tools = info.capabilities.tools.as_ref();
        tools.is_some_and(|tools| tools.list_changed == Some(true))
    });
    let lifecycle = if version.has_initialize() {
        Lifecycle::Initialize
    } else {
        Lifecycle::Discover
    };
    let ended = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(wait(service, ended.clone()));
    if lifecycle == Lifecycle::Discover && announces {
        tasks.spawn(listen(peer.clone(), changed.clone(), ended.clone()));
    }
    Ok(Live {
        client: Arc::new(Client {
            peer,
            calls: TaskTracker::new(),
            doubt: Notify::new(),
        }),
        config,
        lifecycle,
        protocol: cut(version.as_str(), MAX_TITLE).to_owned(),
        title: cut(&title.unwrap_or_default(), MAX_TITLE).to_owned(),
        ended,
        changed,
        stop: stop.drop_guard(),
        tasks,
    })
}

impl Live {
    /// Lists the tools again.
    pub(super) async fn list(&self) -> Result<Listing, ServiceError> {
        listing::ask(&self.config.name, &self.client.peer).await
    }

    /// Whether it still answers.
    pub(super) async fn answers(&self, limit: Duration) -> bool {
        listing::probe(&self.client.peer, limit).await
    }

    /// Lets calls in flight end, then ends the connection and the program.
    pub(super) async fn retire(self, drain: Duration) {
        self.client.calls.close();
        let _ = tokio::time::timeout(drain, self.client.calls.wait()).await;
        self.close().await;
    }

    /// Ends the connection and the program.
    pub(super) async fn close(mut self) {
        drop(self.stop);
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE, tasks).await.is_err() {
            tracing::warn!(
                server = self.config.name,
                "an MCP server did not end in time"
            );
        }
    }
}

impl Client {
    /// Calls a tool. Dropping the future tells the server that nobody waits any more.
    pub(super) async fn call(
        &self,
        tool: String,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, CallError> {
        let _in_flight = self.calls.token();
        let params = CallToolRequestParams::new(tool);
        let params = match arguments {
            Value::Object(arguments) => params.with_arguments(arguments),
            _ => params,
        };
        let answer = tokio::time::timeout(limit, self.peer.call_tool_once(params)).await;
        match answer {
            Ok(Ok(CallToolResponse::Complete(result))) => {
                result::render(result).map_err(CallError::Failed)
            }
            Ok(Ok(CallToolResponse::InputRequired(_))) => Err(CallError::Unsupported("more input")),
            Ok(Ok(_)) => Err(CallError::Unsupported("a task")),
            Ok(Err(ServiceError::McpError(error))) => {
                let text = cut(&error.message, result::MAX_ERROR);
                Err(CallError::Refused(text.to_owned()))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "an MCP server broke off");
                self.doubt.notify_one();
                Err(CallError::Gone)
            }
            Err(_) => {
                self.doubt.notify_one();
                Err(CallError::TimedOut(limit))
            }
        }
    }
}

/// Offers servers nothing: no files, no model, no questions to a person.
#[derive(Debug)]
struct Handler {
    changed: Arc<Notify>,
}

impl ClientHandler for Handler {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("homing", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us)
    }
}

async fn wait(service: RunningService<RoleClient, Handler>, ended: CancellationToken) {
    let _ = service.waiting().await;
    ended.cancel();
}

/// Servers without a handshake tell of changes only to those who listen.
async fn listen(peer: Peer<RoleClient>, changed: Arc<Notify>, ended: CancellationToken) {
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let follow = async {
        let mut subscription = peer.listen(filter).await?;
        while let Some(_change) = subscription.next().await? {
            changed.notify_one();
        }
        Ok::<_, ServiceError>(())
    };
    tokio::select! {
        () = ended.cancelled() => {}
        outcome = follow => if let Err(error) = outcome {
            tracing::debug!(%error, "an MCP server does not tell of changes any more");
        }
    }
}
