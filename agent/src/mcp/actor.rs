//! Makes the changes to the list of servers, one after the other: checks, stores, then tells the
//! server's supervisor.

use std::collections::HashMap;
use std::sync::Arc;

use homing_certs::UserId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Lifecycle;
use super::config::{Draft, ServerConfig};
use super::directory::Directory;
use super::restart::McpPace;
use super::shared::{Shared, State};
use super::spawn::Starter;
use super::supervisor::{Supervisor, Wanted};
use super::{MAX_SERVERS, McpError, McpParts, Server, view};
use crate::feed::Feeds;
use crate::models::Sealer;
use crate::store::{McpAdded, McpRow, Store};

type Reply<T> = oneshot::Sender<Result<T, McpError>>;

/// A change.
#[derive(Debug)]
pub(super) enum Command {
    Add {
        user: UserId,
        draft: Draft,
        reply: Reply<Server>,
    },
    Update {
        user: UserId,
        name: String,
        draft: Draft,
        reply: Reply<Server>,
    },
    Enable {
        user: UserId,
        name: String,
        enabled: bool,
        reply: Reply<Server>,
    },
    Remove {
        user: UserId,
        name: String,
        reply: Reply<()>,
    },
}

/// Owns the supervisors.
#[derive(Debug)]
pub struct McpsActor {
    directory: Arc<Directory>,
    commands: mpsc::Receiver<Command>,
    store: Store,
    feeds: Feeds,
    sealer: Sealer,
    starter: Starter,
    pace: McpPace,
    wanted: HashMap<(UserId, String), watch::Sender<Wanted>>,
    supervisors: JoinSet<()>,
    /// Told apart from the same config that was wanted before.
    number: u64,
}

impl McpsActor {
    pub(super) fn new(
        directory: Arc<Directory>,
        commands: mpsc::Receiver<Command>,
        parts: McpParts,
    ) -> Self {
        Self {
            directory,
            commands,
            store: parts.store,
            feeds: parts.feeds,
            sealer: parts.sealer,
            starter: Starter {
                confinement: parts.confinement,
                home: parts.home,
            },
            pace: parts.pace,
            wanted: HashMap::new(),
            supervisors: JoinSet::new(),
            number: 0,
        }
    }

    /// Starts the stored servers and takes changes until `stopping`; then ends all servers and waits
    /// for them.
    pub async fn run(mut self, stopping: CancellationToken) {
        match self.store.all_mcps().await {
            Ok(rows) => {
                for row in rows {
                    self.load(row, &stopping);
                }
            }
            Err(error) => tracing::error!(%error, "the MCP servers could not be read"),
        }
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(_) = self.supervisors.join_next(), if !self.supervisors.is_empty() => {}
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command, &stopping).await,
                    None => break,
                },
            }
        }
        stopping.cancelled().await;
        while self.supervisors.join_next().await.is_some() {}
    }

    async fn obey(&mut self, command: Command, stopping: &CancellationToken) {
        // Whoever asked may have gone; the change stays.
        match command {
            Command::Add { user, draft, reply } => {
                let _ = reply.send(self.add(user, draft, stopping).await);
            }
            Command::Update {
                user,
                name,
                draft,
                reply,
            } => {
                let _ = reply.send(self.update(user, name, draft).await);
            }
            Command::Enable {
                user,
                name,
                enabled,
                reply,
            } => {
                let _ = reply.send(self.enable(user, name, enabled).await);
            }
            Command::Remove { user, name, reply } => {
                let _ = reply.send(self.remove(user, name).await);
            }
        }
    }

    async fn add(
        &mut self,
        user: UserId,
        draft: Draft,
        stopping: &CancellationToken,
    ) -> Result<Server, McpError> {
        let config = draft.check(None)?;
        let row = self.row(user, &config).await?;
        match self.store.add_mcp(row, MAX_SERVERS).await? {
            McpAdded::Done => {}
            McpAdded::NameTaken => return Err(McpError::NameTaken),
            McpAdded::TooMany => return Err(McpError::TooMany),
        }
        let shared = self.supervise(user, Arc::new(config), None, stopping);
        self.publish(user, "created", &shared.name);
        Ok(view(&shared))
    }

    async fn update(
        &mut self,
        user: UserId,
        name: String,
        mut draft: Draft,
    ) -> Result<Server, McpError> {
        let shared = self.directory.get(user, &name).ok_or(McpError::NotFound)?;
        let before = shared.config();
        draft.name = Some(name);
        draft.enabled = draft.enabled.or(Some(before.enabled));
        let config = Arc::new(draft.check(Some(&before))?);
        let row = self.row(user, &config).await?;
        if !self.store.update_mcp(row).await? {
            return Err(McpError::NotFound);
        }
        self.want(&shared, config);
        Ok(view(&shared))
    }

    async fn enable(
        &mut self,
        user: UserId,
        name: String,
        enabled: bool,
    ) -> Result<Server, McpError> {
        let shared = self.directory.get(user, &name).ok_or(McpError::NotFound)?;
        if !self.store.enable_mcp(user, name, enabled).await? {
            return Err(McpError::NotFound);
        }
        let config = ServerConfig {
            enabled,
            ..(*shared.config()).clone()
        };
        self.want(&shared, Arc::new(config));
        Ok(view(&shared))
    }

    async fn remove(&mut self, user: UserId, name: String) -> Result<(), McpError> {
        if !self.store.delete_mcp(user, name.clone()).await? {
            return Err(McpError::NotFound);
        }
        self.directory.remove(user, &name);
        self.publish(user, "deleted", &name);
        if let Some(wanted) = self.wanted.remove(&(user, name)) {
            wanted.send_replace(Wanted::Gone);
        }
        Ok(())
    }

    fn load(&mut self, row: McpRow, stopping: &CancellationToken) {
        let stored = (row.config.as_str(), row.secret.as_slice());
        let owner = row.user.to_string();
        let loaded = ServerConfig::load(&row.name, &owner, stored, row.enabled, &self.sealer);
        let (config, error) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(%error, server = row.name, "a stored MCP server cannot be read");
                return;
            }
        };
        let lifecycle = row.lifecycle.as_deref().and_then(Lifecycle::parse);
        let config = ServerConfig {
            // Without what it is given in secret it would only fail, or do something else.
            enabled: config.enabled && error.is_none(),
            ..config
        };
        let shared = self.supervise(row.user, Arc::new(config), lifecycle, stopping);
        if let Some(error) = error {
            shared.failed(&format!("{error}; set its secrets again"));
        }
    }

    fn supervise(
        &mut self,
        user: UserId,
        config: Arc<ServerConfig>,
        lifecycle: Option<Lifecycle>,
        stopping: &CancellationToken,
    ) -> Arc<Shared> {
        let shared = Shared::new(user, config.clone(), self.feeds.clone(), &self.directory);
        if config.enabled {
            shared.enter(State::Starting);
        }
        let (sender, wanted) = watch::channel(self.wanted(config));
        self.wanted.insert((user, shared.name.clone()), sender);
        self.directory.insert(shared.clone());
        let supervisor = Supervisor {
            shared: shared.clone(),
            wanted,
            lifecycle,
            starter: self.starter.clone(),
            pace: self.pace,
            store: self.store.clone(),
            stopping: stopping.clone(),
        };
        self.supervisors.spawn(supervisor.run());
        shared
    }

    fn want(&mut self, shared: &Arc<Shared>, config: Arc<ServerConfig>) {
        shared.configured(config.clone());
        let wanted = self.wanted(config);
        if let Some(sender) = self.wanted.get(&(shared.user, shared.name.clone())) {
            sender.send_replace(wanted);
        }
        self.publish(shared.user, "updated", &shared.name);
    }

    fn wanted(&mut self, config: Arc<ServerConfig>) -> Wanted {
        self.number += 1;
        if config.enabled {
            Wanted::Run(config, self.number)
        } else {
            Wanted::Stopped
        }
    }

    fn publish(&self, user: UserId, action: &'static str, name: &str) {
        self.feeds.of(user).publish("mcp", action, name);
    }

    async fn row(&self, user: UserId, config: &ServerConfig) -> Result<McpRow, McpError> {
        let (sealing, sealer) = (config.clone(), self.sealer.clone());
        let stored = tokio::task::spawn_blocking(move || sealing.store(&user.to_string(), &sealer));
        let (text, secret) = stored
            .await
            .map_err(|_| McpError::Closed)?
            .map_err(McpError::Seal)?;
        Ok(McpRow {
            user,
            name: config.name.clone(),
            config: text,
            secret,
            enabled: config.enabled,
            lifecycle: None,
        })
    }
}
