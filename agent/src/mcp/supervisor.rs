//! Keeps one server as its owner wants it: starts it, watches it, starts it again, replaces it, ends it.
//!
//! A server that is replaced goes on until its successor is ready; then it ends its calls and goes. A
//! successor that does not start takes it along: what runs is always what the owner asked for last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{self, Lifecycle, Live};
use super::config::ServerConfig;
use super::restart::{Failures, McpPace};
use super::shared::{Shared, State};
use super::spawn::Starter;
use crate::store::Store;

/// How long calls of a server that was replaced may go on.
const DRAIN: Duration = Duration::from_secs(10);
/// Servers that were replaced and are still ending; the next replacement waits for one of them.
const MAX_RETIRING: usize = 2;

/// What the owner wants.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// It runs, like this. The number changes when it is to begin anew with the same config.
    Run(Arc<ServerConfig>, u64),
    /// It does not run.
    Stopped,
    /// It is forgotten.
    Gone,
}

/// The task of one server.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) starter: Starter,
    pub(super) pace: McpPace,
    pub(super) store: Store,
    pub(super) stopping: CancellationToken,
}

/// Why watching a live server has ended.
enum Watched {
    /// The owner wants something else, or the agent stops.
    Told,
    /// It has gone, or does not answer any more.
    Lost(&'static str),
}

impl Supervisor {
    pub(super) async fn run(mut self) {
        let mut live: Option<Live> = None;
        let mut retiring = JoinSet::new();
        let mut failures = Failures::default();
        let mut round = None;
        while !self.stopping.is_cancelled() && self.wanted.has_changed().is_ok() {
            let wanted = self.wanted.borrow_and_update().clone();
            let (config, number) = match wanted {
                Wanted::Run(config, number) => (config, number),
                Wanted::Stopped => {
                    self.shared.gone();
                    close(live.take()).await;
                    self.shared.enter(State::Disabled);
                    self.told().await;
                    continue;
                }
                Wanted::Gone => break,
            };
            if round.replace(number) != Some(number) {
                failures = Failures::default();
            }
            if live
                .as_ref()
                .is_none_or(|live| !live.config.same_server(&config))
            {
                while retiring.len() >= MAX_RETIRING {
                    retiring.join_next().await;
                }
                let Some(started) = self.start(config, live.is_none()).await else {
                    continue;
                };
                let old = live.take();
                live = started;
                if live.is_some() {
                    if let Some(old) = old {
                        retiring.spawn(old.retire(DRAIN));
                    }
                } else {
                    self.shared.gone();
                    close(old).await;
                    self.pause(&mut failures, Duration::ZERO).await;
                    continue;
                }
            }
            let Some(current) = live.take() else { continue };
            let since = Instant::now();
            match self.watch(&current).await {
                Watched::Told => live = Some(current),
                Watched::Lost(why) => {
                    self.shared.gone();
                    self.shared.failed(why);
                    current.close().await;
                    self.pause(&mut failures, since.elapsed()).await;
                }
            }
        }
        self.shared.gone();
        close(live).await;
        while retiring.join_next().await.is_some() {}
    }

    /// Starts a server: none when the owner wanted something else meanwhile, or the outcome.
    async fn start(&mut self, config: Arc<ServerConfig>, announce: bool) -> Option<Option<Live>> {
        if announce {
            self.shared.enter(State::Starting);
        }
        let limit = self.pace.start_limit;
        let starting = client::connect(config, self.lifecycle, &self.shared, &self.starter, limit);
        let started = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return None,
            // Gone senders mean that the agent stops; the loop sees that.
            _ = self.wanted.changed() => {
                self.wanted.mark_changed();
                return None;
            }
            started = starting => started,
        };
        match started {
            Ok((live, listing)) => {
                self.remember(live.lifecycle).await;
                self.shared.ready(&live, listing);
                Some(Some(live))
            }
            Err(error) => {
                self.shared.failed(&error.to_string());
                Some(None)
            }
        }
    }

    async fn watch(&mut self, live: &Live) -> Watched {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Watched::Told,
            _ = self.wanted.changed() => {
                self.wanted.mark_changed();
                Watched::Told
            }
            () = live.ended.cancelled() => Watched::Lost("the server has ended"),
            why = attend(&self.shared, live, self.pace.probe_limit) => Watched::Lost(why),
        }
    }

    /// Waits before the next start, or for ever when it failed too often, or until the owner speaks.
    async fn pause(&mut self, failures: &mut Failures, ran: Duration) {
        let Some(pause) = failures.add(&self.pace, ran) else {
            self.shared.enter(State::Failed);
            return self.told().await;
        };
        self.shared.enter(State::Waiting);
        tokio::select! {
            () = self.told() => {}
            () = tokio::time::sleep(pause) => self.shared.restarted(),
        }
    }

    /// Until the owner wants something else, or the agent stops.
    async fn told(&mut self) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            changed = self.wanted.changed() => {
                if changed.is_err() {
                    self.stopping.cancelled().await;
                }
                self.wanted.mark_changed();
            }
        }
    }

    async fn remember(&mut self, lifecycle: Lifecycle) {
        if self.lifecycle.replace(lifecycle) == Some(lifecycle) {
            return;
        }
        let (user, name) = (self.shared.user, self.shared.name.clone());
        let stored = self
            .store
            .remember_mcp_lifecycle(user, name, lifecycle.as_str());
        if let Err(error) = stored.await {
            tracing::warn!(%error, "how an MCP server wants to be greeted could not be stored");
        }
    }
}

/// Lists the tools when they change and asks whether the server lives when that is in doubt. Ends when
/// it does not.
async fn attend(shared: &Shared, live: &Live, limit: Duration) -> &'static str {
    loop {
        tokio::select! {
            () = live.changed.notified() => match live.list().await {
                Ok(listing) => shared.listed(listing),
                Err(error) => {
                    shared.failed(&format!("its tools could not be listed: {error}"));
                    return "the server does not list its tools any more";
                }
            },
            () = live.client.doubt.notified() => if !live.answers(limit).await {
                return "the server does not answer any more";
            },
        }
    }
}

async fn close(live: Option<Live>) {
    if let Some(live) = live {
        live.close().await;
    }
}
