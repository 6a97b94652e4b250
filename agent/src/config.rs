//! What an agent is told when it starts. Checked by whoever reads the config file; the defaults here
//! are the ones that protect a person.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homing_certs::{NetworkId, NodeId};
use tokio_util::sync::CancellationToken;

use crate::budgets::Caps;
use crate::configuration::ConfigFile;
use crate::hooks::{Hook, HookSettings};
use crate::limits::Rates;
use crate::mcp::McpPace;
use crate::models::Models;
use crate::policy::PolicySettings;
use crate::prompt::ContextSettings;
use crate::providers::Times;
use crate::tools::ToolSettings;

/// Identity, place and limits of one agent.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The agent's own directory: database, uploads, audit log.
    pub dir: PathBuf,
    /// Name in the network.
    pub name: String,
    /// Its key.
    pub node_id: NodeId,
    /// Its network.
    pub network_id: NetworkId,
    /// Requests and runs per device and user.
    pub rates: Rates,
    /// Sizes of what devices store.
    pub sizes: Sizes,
    /// What models may cost; nothing is capped by default.
    pub caps: Caps,
    /// When a WebSocket peer counts as dead.
    pub liveness: Liveness,
    /// Pause between two words of the built-in assistant; 5 ms by default, which is a fast reader's
    /// pace and leaves time to interrupt.
    pub pace: Duration,
    /// Built-in tools.
    pub tools: ToolSettings,
    /// What tools may do; by default what reads may run and what changes is asked about.
    pub policy: PolicySettings,
    /// What models are told before a conversation.
    pub context: ContextSettings,
    /// Folders besides the workspace in which the shell tool may start programs; none by default.
    pub shell_roots: Vec<PathBuf>,
    /// Programs that are asked or told at points of a turn; none by default.
    pub hooks: Vec<HookSettings>,
    /// The same as Rust code, asked before those; none by default.
    pub own_hooks: Vec<Arc<dyn Hook>>,
    /// What programs that the agent starts never see: by default the agent's own directory. The
    /// workspace in it is left out of this.
    pub secret_dir: Option<PathBuf>,
    /// Models that answer in place of the configured ones; for tests.
    pub models: Option<Models>,
    /// Deadlines of requests to model providers.
    pub provider_times: Times,
    /// When MCP servers that ended are started again.
    pub mcp: McpPace,
    /// Where the configuration is read and changed; without it nobody can over the network.
    pub config_file: Option<Arc<dyn ConfigFile>>,
    /// Raised when somebody wants the process to be started anew; without it nobody can.
    pub restart: Option<CancellationToken>,
}

/// What of the settings takes effect while the agent runs.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    /// As in [`AgentSettings`].
    pub rates: Rates,
    /// As in [`Sizes`].
    pub upload: u64,
    /// As in [`AgentSettings`].
    pub caps: Caps,
    /// As in [`AgentSettings`].
    pub tools: ToolSettings,
    /// As in [`AgentSettings`].
    pub policy: PolicySettings,
    /// As in [`AgentSettings`].
    pub context: ContextSettings,
    /// As in [`AgentSettings`].
    pub shell_roots: Vec<PathBuf>,
    /// As in [`AgentSettings`].
    pub hooks: Vec<HookSettings>,
}

impl AgentSettings {
    /// The defaults for an agent in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, name: String, node_id: NodeId, network_id: NetworkId) -> Self {
        Self {
            dir,
            name,
            node_id,
            network_id,
            rates: Rates::default(),
            sizes: Sizes::default(),
            caps: Caps::default(),
            liveness: Liveness::default(),
            pace: Duration::from_millis(5),
            tools: ToolSettings::default(),
            policy: PolicySettings::default(),
            context: ContextSettings::default(),
            shell_roots: Vec::new(),
            hooks: Vec::new(),
            own_hooks: Vec::new(),
            secret_dir: None,
            models: None,
            provider_times: Times::default(),
            mcp: McpPace::default(),
            config_file: None,
            restart: None,
        }
    }

    /// The same with these.
    #[must_use]
    pub fn with(mut self, live: LiveSettings) -> Self {
        self.rates = live.rates;
        self.sizes.upload = live.upload;
        self.caps = live.caps;
        self.tools = live.tools;
        self.policy = live.policy;
        self.context = live.context;
        self.shell_roots = live.shell_roots;
        self.hooks = live.hooks;
        self
    }

    /// Where tools work unless they are told otherwise.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.dir.join("workspace")
    }

    /// What programs that the agent starts never see.
    #[must_use]
    pub fn hidden(&self) -> PathBuf {
        self.secret_dir.clone().unwrap_or_else(|| self.dir.clone())
    }
}

/// Limits on stored bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// One body on `/api/upload`, in bytes; 10 MB by default.
    pub upload: u64,
    /// One body on `PUT /api/files/{name}`, in bytes; 1 GiB by default.
    pub file: u64,
    /// All files of one user, in bytes; 10 GiB by default.
    pub user: u64,
    /// Number of files of one user; 10,000 by default, which keeps a listing short.
    pub user_files: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            upload: 10_000_000,
            file: 1 << 30,
            user: 10 << 30,
            user_files: 10_000,
        }
    }
}

/// Timing of pings.
#[derive(Debug, Clone, Copy)]
pub struct Liveness {
    /// Between two pings of ours; 10 s by default.
    pub ping_every: Duration,
    /// Silence after which the peer is gone; 25 s by default, so that it is noticed within 30 s.
    pub dead_after: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(10),
            dead_after: Duration::from_secs(25),
        }
    }
}
