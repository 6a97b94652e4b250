//! Everything of one agent that outlives a connection, opened in order and closed in reverse.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homing_certs::NodeId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::approvals::Approvals;
use crate::attachments::Attachments;
use crate::audit::{Audit, AuditOpenError, Entry, Kind};
use crate::budgets::Budgets;
use crate::config::{AgentSettings, LiveSettings};
use crate::configuration::Configuration;
use crate::confine::Confinement;
use crate::connections::Connections;
use crate::denied::{Denied, DeniedError};
use crate::feed::Feeds;
use crate::files::Files;
use crate::hooks::{HookParts, Hooks};
use crate::idempotency::Idempotency;
use crate::limits::Limits;
use crate::mcp::{McpParts, Mcps};
use crate::models::{Models, Sealer};
use crate::policy::Policy;
use crate::prompt::Prompts;
use crate::providers::BuiltinAssistant;
use crate::revoking::Revoking;
use crate::sessions::{Logs, SessionError, Sessions};
use crate::store::{Store, StoreError};
use crate::system::{Snapshots, SystemProbe};
use crate::tools::{self, Tools};
use crate::turn_driver::Engine;

/// Longest wait for followers and turns at shutdown, below the whole process's deadline of 10 s.
const DRAIN: Duration = Duration::from_secs(7);

/// Why an agent cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its folder cannot be made.
    #[error("the agent's folder {path} cannot be used")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its database.
    #[error("the agent's database cannot be opened")]
    Store(#[source] StoreError),
    /// Its audit log.
    #[error("the agent's audit log cannot be opened")]
    Audit(#[source] AuditOpenError),
    /// The list of devices that this host denies.
    #[error("the list of denied devices cannot be used")]
    Denied(#[source] DeniedError),
    /// The opening thread has gone.
    #[error("the agent was stopped while it started")]
    Stopped,
}

/// One agent's services.
#[derive(Debug)]
pub struct AgentState {
    /// What it was told when it started; what takes effect later is in the services.
    pub settings: AgentSettings,
    /// Where that comes from.
    pub configuration: Configuration,
    /// The database.
    pub store: Store,
    /// The audit log.
    pub audit: Audit,
    /// Rates.
    pub limits: Limits,
    /// Who is connected.
    pub connections: Connections,
    /// Whom this host denies by itself.
    pub denied: Denied,
    /// Revocations that are passed on.
    pub revoking: Revoking,
    /// What concerns each user.
    pub feeds: Feeds,
    /// What models may cost.
    pub budgets: Budgets,
    /// Writes that a client may send again.
    pub idempotency: Idempotency,
    /// Conversations.
    pub sessions: Sessions,
    /// What waits for a person.
    pub approvals: Approvals,
    /// How programs are started.
    pub confinement: Confinement,
    /// Providers and models.
    pub models: Models,
    /// MCP servers.
    pub mcps: Mcps,
    /// What models may ask for.
    pub tools: Tools,
    /// Stored files.
    pub files: Arc<Files>,
    /// The machine.
    pub system: SystemProbe,
    /// Short readings of it for whoever watches.
    pub snapshots: Snapshots,
    /// Every task of this agent that outlives a request.
    pub tasks: TaskTracker,
    /// Raised when the agent goes.
    pub stopping: CancellationToken,
    /// Raised before that: sockets and event streams say goodbye while the connections still carry it.
    pub leaving: CancellationToken,
}

impl AgentState {
    /// Opens the files below `settings.dir` and starts the services. Turns that an earlier process
    /// had accepted wait for [`AgentState::resume`].
    ///
    /// # Errors
    /// When a file cannot be opened or is not one of ours.
    pub async fn open(settings: AgentSettings) -> Result<Arc<Self>, OpenError> {
        let opening = settings.clone();
        let opened = tokio::task::spawn_blocking(move || open_files(&opening)).await;
        let (store, audit, files, denied) = opened.map_err(|_| OpenError::Stopped)??;
        let files = Arc::new(files);
        let system = SystemProbe::default();
        let connections = Connections::default();
        let feeds = Feeds::default();
        let workspace = settings.workspace();
        let confinement = Confinement::new(settings.hidden(), vec![workspace]);
        // One for all: two would each make a key of their own at first use.
        let sealer = Sealer::new(&settings.dir);
        let (mcps, mcps_actor) = Mcps::new(McpParts {
            store: store.clone(),
            feeds: feeds.clone(),
            sealer: sealer.clone(),
            confinement: confinement.clone(),
            home: settings.workspace(),
            pace: settings.mcp,
        });
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        let parts = HookParts {
            own: settings.own_hooks.clone(),
            audit: audit.clone(),
            confinement: confinement.clone(),
            home: settings.workspace(),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
        };
        let hooks = Hooks::new(parts, &settings.hooks);
        let builtin = tools::builtin(&settings, &system, &store, &connections, &confinement);
        let policy = Policy::new(settings.policy.clone());
        let tools = Tools::under(builtin, hooks.clone(), audit.clone(), policy);
        let tools = tools.with_source(mcps.source());
        let logs = Logs::new(store.clone(), feeds.clone());
        let lifetime = settings.policy.approval_lifetime();
        let approvals = Approvals::new(store.clone(), logs, audit.clone(), lifetime);
        let models = match &settings.models {
            Some(models) => models.clone(),
            None => {
                let assistant = BuiltinAssistant::new(settings.pace);
                let times = settings.provider_times;
                let opened = Models::open(store.clone(), sealer, times, assistant);
                opened.await.map_err(OpenError::Store)?
            }
        };
        let budgets = Budgets::new(store.clone(), settings.caps);
        let left_over = budgets.settle_left_over().await.map_err(OpenError::Store)?;
        if left_over > 0 {
            tracing::info!(
                left_over,
                "calls of models that were cut off count as spent in full"
            );
        }
        let engine = Engine {
            models: models.clone(),
            tools: tools.clone(),
            approvals: approvals.clone(),
            budgets: budgets.clone(),
            prompts: Prompts::new(
                settings.name.clone(),
                settings.workspace(),
                settings.context,
            ),
            attachments: Attachments::new(files.clone(), settings.workspace(), feeds.clone()),
            hooks,
        };
        let (sessions, actor) = Sessions::new(store.clone(), feeds.clone(), audit.clone(), engine);
        tasks.spawn(actor.run(stopping.clone()));
        let snapshots = Snapshots::new(system.clone(), tasks.clone(), stopping.clone());
        tasks.spawn(mcps_actor.run(stopping.clone()));
        let limits = Limits::new(settings.rates);
        Ok(Arc::new(Self {
            idempotency: Idempotency::new(store.clone()),
            configuration: Configuration::new(settings.config_file.clone()),
            settings,
            store,
            audit,
            limits,
            connections,
            denied,
            revoking: Revoking::default(),
            feeds,
            budgets,
            sessions,
            approvals,
            confinement,
            models,
            mcps,
            tools,
            files,
            system,
            snapshots,
            tasks,
            stopping,
            leaving: CancellationToken::new(),
        }))
    }

    /// Goes on with the turns that an earlier process had accepted. Call it when the revocation log
    /// is loaded: turns of devices that `revoked` names are cancelled instead.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume(&self, revoked: impl Fn(&NodeId) -> bool) -> Result<usize, SessionError> {
        // Whoever asked them has gone with the earlier process.
        self.store.forget_asked_once().await?;
        self.sessions.resume(revoked).await
    }

    /// Lets settings take effect that can while the agent runs.
    pub fn apply(&self, live: LiveSettings) {
        let settings = self.settings.clone().with(live);
        let builtin = tools::builtin(
            &settings,
            &self.system,
            &self.store,
            &self.connections,
            &self.confinement,
        );
        let policy = Policy::new(settings.policy.clone());
        self.tools.change(builtin, policy);
        self.limits.change(settings.rates);
        self.budgets.change(settings.caps);
        self.files.change_upload(settings.sizes.upload);
        self.sessions.engine().prompts.change(settings.context);
        self.sessions.engine().hooks.change(&settings.hooks);
        self.approvals.change(settings.policy.approval_lifetime());
    }

    /// Ends everything that runs or waits in the name of a device. The device's connections and
    /// their sockets and uploads end by their own tokens (`Caller::revoked`).
    pub async fn device_revoked(&self, device: NodeId) {
        let turns = self.sessions.cancel_device(device).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "turns of a revoked device could not be removed from the queue");
            0
        });
        self.audit.note(
            Entry::new(Kind::Revoked)
                .device(device)
                .detail("turns_cancelled", turns),
        );
    }

    /// Stops in order: sockets and turns, then the database, then the audit log.
    pub async fn shutdown(&self) {
        self.leaving.cancel();
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some sockets or turns did not end in time");
        }
        self.store.shutdown().await;
        self.audit.shutdown().await;
    }
}

fn open_files(settings: &AgentSettings) -> Result<(Store, Audit, Files, Denied), OpenError> {
    let dir = &settings.dir;
    let folder = |source| OpenError::Folder {
        path: dir.clone(),
        source,
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(dir).map_err(folder)?;
    builder.create(settings.workspace()).map_err(folder)?;
    let files = Files::open(dir, settings.sizes).map_err(folder)?;
    let store = Store::open(&dir.join("agent.db")).map_err(OpenError::Store)?;
    let audit = Audit::open(dir).map_err(OpenError::Audit)?;
    let denied = Denied::open(dir).map_err(OpenError::Denied)?;
    Ok((store, audit, files, denied))
}
