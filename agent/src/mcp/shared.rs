//! What is known of one server by everyone who asks: its state, tools and log. Its supervisor writes,
//! the interface and the tools read; locks are short.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use homing_certs::UserId;
use serde::Serialize;
use serde_json::Value;

use super::client::{CallError, Client, Live};
use super::config::ServerConfig;
use super::directory::Directory;
use super::listing::{LeftOut, Listing};
use super::logs::{LogLine, LogRing, cut};
use super::secret::redact;
use super::tool::McpTool;
use crate::clock;
use crate::feed::Feeds;
use crate::tools::Action;

/// Longest error that is kept and shown, in bytes.
const MAX_ERROR: usize = 1_024;

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its owner switched it off.
    Disabled,
    /// It is being started and asked for its tools.
    Starting,
    /// Its tools can be called.
    Ready,
    /// It ended or did not start, and is started again after a pause.
    Waiting,
    /// It failed too often and stays down until somebody enables it again.
    Failed,
}

/// A tool as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolStatus {
    /// The server's name for it.
    pub name: String,
    /// A model's name for it.
    pub model_name: String,
    /// What the server says about it.
    pub description: String,
    /// What holds for it.
    pub policy: Action,
    /// The server says that it changes nothing; nobody else does.
    pub read_only_hint: bool,
    /// Whether models are offered it.
    pub offered: bool,
}

/// A server as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// How often it was started again since it was last added, changed or enabled.
    pub restarts: u32,
    /// Why it ended or did not start.
    pub last_error: Option<String>,
    /// The version of MCP that it speaks.
    pub protocol: Option<String>,
    /// What it calls itself.
    pub title: Option<String>,
    /// Its tools.
    pub tools: Vec<ToolStatus>,
    /// Tools that it has and nobody can use.
    pub left_out: LeftOut,
    /// Tools that models are not offered because the user's servers have too many together.
    pub not_offered: usize,
}

/// One server.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) user: UserId,
    pub(super) name: String,
    feeds: Feeds,
    directory: Weak<Directory>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Arc<ServerConfig>,
    state: State,
    since_ms: i64,
    restarts: u32,
    last_error: Option<String>,
    protocol: Option<String>,
    title: Option<String>,
    client: Option<Arc<Client>>,
    listing: Listing,
    not_offered: usize,
    logs: LogRing,
}

impl Shared {
    pub(super) fn new(
        user: UserId,
        config: Arc<ServerConfig>,
        feeds: Feeds,
        directory: &Arc<Directory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            user,
            name: config.name.clone(),
            feeds,
            directory: Arc::downgrade(directory),
            inner: Mutex::new(Inner {
                config,
                state: State::Disabled,
                since_ms: clock::unix_ms(),
                restarts: 0,
                last_error: None,
                protocol: None,
                title: None,
                client: None,
                listing: Listing::default(),
                not_offered: 0,
                logs: LogRing::default(),
            }),
        })
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.lock().config.clone()
    }

    pub(super) fn status(&self) -> Status {
        let inner = self.lock();
        let hidden = inner.listing.tools.len() - inner.not_offered.min(inner.listing.tools.len());
        let mut allowed = 0;
        let tools = inner.listing.tools.iter().map(|tool| {
            let policy = inner.config.rule(&tool.name);
            // In the order of the offer: those that found no room are the last.
            allowed += usize::from(policy != Action::Deny);
            ToolStatus {
                name: tool.name.clone(),
                model_name: tool.spec.name.clone(),
                description: tool.spec.description.clone(),
                policy,
                read_only_hint: tool.read_only,
                offered: policy != Action::Deny && allowed <= hidden,
            }
        });
        Status {
            state: inner.state,
            since_ms: inner.since_ms,
            restarts: inner.restarts,
            last_error: inner.last_error.clone(),
            protocol: inner.protocol.clone(),
            title: inner.title.clone(),
            tools: tools.collect(),
            left_out: inner.listing.left_out,
            not_offered: inner.not_offered,
        }
    }

    pub(super) fn logs(&self, lines: usize) -> Vec<LogLine> {
        self.lock().logs.newest(lines)
    }

    /// Adds a line to the log, without the secrets that it may hold.
    pub(super) fn log(&self, from: &'static str, text: &str) {
        let config = self.config();
        let text = redact(text.to_owned(), config.secrets.values());
        self.lock().logs.push(clock::unix_ms(), from, &text);
    }

    /// The owner wants it so from now on. Counters begin anew.
    pub(super) fn configured(&self, config: Arc<ServerConfig>) {
        let mut inner = self.lock();
        inner.config = config;
        inner.restarts = 0;
        inner.last_error = None;
        drop(inner);
        self.publish();
    }

    pub(super) fn enter(&self, state: State) {
        let mut inner = self.lock();
        inner.state = state;
        inner.since_ms = clock::unix_ms();
        drop(inner);
        self.announce();
    }

    /// It is there, with these tools.
    pub(super) fn ready(&self, live: &Live, listing: Listing) {
        let mut inner = self.lock();
        inner.client = Some(live.client.clone());
        inner.protocol = Some(live.protocol.clone());
        inner.title = Some(live.title.clone());
        inner.listing = listing;
        drop(inner);
        self.enter(State::Ready);
        self.publish();
    }

    /// Its tools have changed.
    pub(super) fn listed(&self, listing: Listing) {
        self.lock().listing = listing;
        self.publish();
        self.announce();
    }

    /// It is gone, with its tools.
    pub(super) fn gone(&self) {
        let mut inner = self.lock();
        inner.client = None;
        inner.listing = Listing::default();
        drop(inner);
        self.publish();
    }

    /// Why it ended or did not start.
    pub(super) fn failed(&self, error: &str) {
        self.log("agent", error);
        let config = self.config();
        let text = redact(error.to_owned(), config.secrets.values());
        self.lock().last_error = Some(cut(&text, MAX_ERROR).to_owned());
    }

    pub(super) fn restarted(&self) {
        let mut inner = self.lock();
        inner.restarts = inner.restarts.saturating_add(1);
    }

    pub(super) fn not_offered(&self, count: usize) {
        self.lock().not_offered = count;
    }

    /// The tools that models may be offered.
    pub(super) fn tools(self: &Arc<Self>) -> Vec<Arc<McpTool>> {
        let inner = self.lock();
        let config = inner.config.clone();
        let tools = inner.listing.tools.iter().filter_map(|tool| {
            let rule = config.rule(&tool.name);
            let offered = rule != Action::Deny;
            offered.then(|| {
                Arc::new(McpTool::new(
                    self.clone(),
                    tool.clone(),
                    rule,
                    config.timeout,
                ))
            })
        });
        tools.collect()
    }

    /// Calls a tool of whatever connection there is now.
    pub(super) async fn call(
        &self,
        tool: String,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, CallError> {
        let client = self.lock().client.clone();
        let client = client.ok_or(CallError::Gone)?;
        let config = self.config();
        let clean = |text: String| redact(text, config.secrets.values());
        match client.call(tool, arguments, limit).await {
            Ok(Value::String(text)) => Ok(Value::String(clean(text))),
            Err(CallError::Refused(text)) => Err(CallError::Refused(clean(text))),
            Err(CallError::Failed(text)) => Err(CallError::Failed(clean(text))),
            other => other,
        }
    }

    fn publish(&self) {
        if let Some(directory) = self.directory.upgrade() {
            directory.rebuild(self.user);
        }
    }

    fn announce(&self) {
        let feed = self.feeds.of(self.user);
        feed.publish("mcp", "updated", self.name.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
