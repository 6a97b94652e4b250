//! MCP servers of users: which there are, whether they run, what their tools are called.
//!
//! A server belongs to the user who added it, and only turns of that user see its tools. One actor
//! makes the changes, in order; one supervisor per server keeps it as it is wanted. What a server says
//! of itself is a stranger's word: its tools ask before they run unless the owner has said otherwise.
//! Knows nothing of HTTP but the client side of MCP's own transport.

mod actor;
mod client;
mod config;
mod directory;
mod http;
mod lines;
mod listing;
mod logs;
mod names;
mod restart;
mod result;
mod secret;
mod shared;
mod spawn;
mod stdio;
mod supervisor;
mod tool;

use std::path::PathBuf;
use std::sync::Arc;

use homing_certs::UserId;
use tokio::sync::{mpsc, oneshot};

pub use actor::McpsActor;
pub use config::{ConfigError, Draft, Place, SecretText, ServerConfig, Words};
pub use directory::{MAX_OFFERED, MAX_OFFERED_BYTES};
pub use listing::{LeftOut, MAX_DESCRIPTION, MAX_SCHEMA, MAX_TOOLS};
pub use logs::{KEPT_LINES, LogLine};
pub use names::{is_server_name, tool_name};
pub use restart::McpPace;
pub use secret::{MASK, Secret};
pub use shared::{State, Status, ToolStatus};

use crate::confine::Confinement;
use crate::feed::Feeds;
use crate::models::{SealError, Sealer};
use crate::store::{Store, StoreError};
use crate::tools::ToolSource;
use directory::Directory;

/// Servers of one user: each may be a program of a hundred megabytes.
pub const MAX_SERVERS: usize = 32;
/// Changes that may wait for the actor; callers wait beyond that.
const INBOX: usize = 32;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum McpError {
    /// The config.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The user has one of this name.
    #[error("there is an MCP server of this name already")]
    NameTaken,
    /// The user has as many as may be.
    #[error("there are {MAX_SERVERS} MCP servers already")]
    TooMany,
    /// The user has none of this name.
    #[error("there is no MCP server of this name")]
    NotFound,
    /// Its secrets could not be sealed.
    #[error("the secrets could not be sealed")]
    Seal(#[source] SealError),
    /// The database.
    #[error("the MCP server could not be stored")]
    Store(#[from] StoreError),
    /// The agent is shutting down.
    #[error("the agent is shutting down")]
    Closed,
}

/// A server as its owner sees it.
#[derive(Debug, Clone)]
pub struct Server {
    /// How it is reached.
    pub config: Arc<ServerConfig>,
    /// What it is doing.
    pub status: Status,
}

/// What servers need of the agent.
#[derive(Debug)]
pub struct McpParts {
    /// Where they are stored.
    pub store: Store,
    /// Where changes are told.
    pub feeds: Feeds,
    /// Keeps their secrets.
    pub sealer: Sealer,
    /// How their programs are started.
    pub confinement: Confinement,
    /// Where their programs start unless they are told otherwise.
    pub home: PathBuf,
    /// When they are started again.
    pub pace: McpPace,
}

/// A cloneable handle to all servers.
#[derive(Debug, Clone)]
pub struct Mcps {
    directory: Arc<Directory>,
    inbox: mpsc::Sender<actor::Command>,
}

impl Mcps {
    /// A handle and the actor behind it, which somebody must run.
    #[must_use]
    pub fn new(parts: McpParts) -> (Self, McpsActor) {
        let directory = Arc::new(Directory::default());
        let (inbox, commands) = mpsc::channel(INBOX);
        let actor = McpsActor::new(directory.clone(), commands, parts);
        (Self { directory, inbox }, actor)
    }

    /// The tools of all servers, for the engine.
    #[must_use]
    pub fn source(&self) -> Arc<dyn ToolSource> {
        self.directory.clone()
    }

    /// The user's servers in the order of their names.
    #[must_use]
    pub fn list(&self, user: UserId) -> Vec<Server> {
        let servers = self.directory.of(user);
        servers.iter().map(view).collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, user: UserId, name: &str) -> Option<Server> {
        self.directory.get(user, name).map(|server| view(&server))
    }

    /// The newest lines of its log.
    #[must_use]
    pub fn logs(&self, user: UserId, name: &str, lines: usize) -> Option<Vec<LogLine>> {
        self.directory
            .get(user, name)
            .map(|server| server.logs(lines))
    }

    /// Adds a server and starts it.
    ///
    /// # Errors
    /// [`McpError`]; nothing has happened then.
    pub async fn add(&self, user: UserId, draft: Draft) -> Result<Server, McpError> {
        self.ask(|reply| actor::Command::Add { user, draft, reply })
            .await
    }

    /// Replaces a server's config. What runs is replaced without a gap.
    ///
    /// # Errors
    /// [`McpError`]; nothing has happened then.
    pub async fn update(
        &self,
        user: UserId,
        name: String,
        draft: Draft,
    ) -> Result<Server, McpError> {
        self.ask(|reply| actor::Command::Update {
            user,
            name,
            draft,
            reply,
        })
        .await
    }

    /// Switches a server on or off. On also starts one anew that stays down.
    ///
    /// # Errors
    /// [`McpError`].
    pub async fn enable(
        &self,
        user: UserId,
        name: String,
        enabled: bool,
    ) -> Result<Server, McpError> {
        self.ask(|reply| actor::Command::Enable {
            user,
            name,
            enabled,
            reply,
        })
        .await
    }

    /// Forgets a server and ends it.
    ///
    /// # Errors
    /// [`McpError`].
    pub async fn remove(&self, user: UserId, name: String) -> Result<(), McpError> {
        self.ask(|reply| actor::Command::Remove { user, name, reply })
            .await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, McpError>>) -> actor::Command,
    ) -> Result<T, McpError> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .send(command(reply))
            .await
            .map_err(|_| McpError::Closed)?;
        answer.await.map_err(|_| McpError::Closed)?
    }
}

fn view(server: &Arc<shared::Shared>) -> Server {
    Server {
        config: server.config(),
        status: server.status(),
    }
}
