//! The agent's line to its coordinator: the live revocation log, and renewal of its own certificate.
//!
//! A new entry is handled in the order of `docs/trust.md`: all checks → swap the set → cut the
//! device's connections and everything that it has running → write to disk → acknowledge.

mod history;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

use homing_certs::{Applied, LogError, LogHead, REVOKED, ReasonCode, RevocationEntry};
use homing_protocol::frame::MAX_SNAPSHOT_FRAME;
use homing_protocol::gateway::Reach;
use homing_protocol::revocations::{AgentMessage, HEARTBEAT_SECS, LogMessage};
use homing_protocol::{Document, alpn};
use homing_transport::backoff::Backoff;
use homing_transport::credentials::Credentials;
use homing_transport::frames::{FrameIoError, FrameReceiver, FrameSender};
use homing_transport::{Endpoint, Registry, Trust, TrustError, crash};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::ledger::Ledger;
use crate::state::AgentState;
use crate::store::TrustRow;

/// From the first packet to the end of the handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Silence after which the stream is made anew: three heartbeats.
const SILENCE: Duration = Duration::from_secs(HEARTBEAT_SECS * 3);
/// Between two heartbeats that are written to disk.
const KEEP_HEARTBEAT_EVERY: Duration = Duration::from_secs(60);
/// How long WebSockets may take to say why they close, before the connection is closed.
pub(crate) const FLUSH: Duration = Duration::from_millis(100);
/// Longest wait between two tries to reach the coordinator.
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// First wait.
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// Follows the coordinator's log.
pub(crate) struct Updates {
    /// The agent's endpoint, which dials the coordinator.
    pub(crate) endpoint: Endpoint,
    /// Where the coordinator is.
    pub(crate) coordinator: Reach,
    /// The agent's own certificate and trust state.
    pub(crate) credentials: Arc<Credentials>,
    /// Live connections of devices.
    pub(crate) registry: Registry,
    /// Where the replica is kept, and what a revoked device has running.
    pub(crate) state: Arc<AgentState>,
}

impl std::fmt::Debug for Updates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updates")
            .field("coordinator", &self.coordinator)
            .finish_non_exhaustive()
    }
}

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("the coordinator could not be reached")]
    Connect(#[source] homing_transport::endpoint::ConnectError),
    #[error("the connection to the coordinator ended: {0}")]
    Ended(String),
    #[error("the coordinator's stream failed")]
    Frames(#[source] FrameIoError),
    #[error("the coordinator was silent for too long")]
    Silent,
}

/// What goes on beside the stream, and outlives it.
struct Work {
    ledger: Ledger,
    closing: JoinSet<()>,
    heartbeat_kept: Option<Instant>,
}

/// What a message was.
#[derive(PartialEq, Eq)]
enum Taken {
    /// A heartbeat for the position that is in force: nothing newer is out there.
    Newest,
    Other,
}

impl Updates {
    /// Follows the log until `shutdown`. `current` becomes true when the agent holds the newest log.
    pub(crate) async fn run(self, current: watch::Sender<bool>, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        let mut work = Work {
            ledger: Ledger::new(self.trust().head()),
            closing: JoinSet::new(),
            heartbeat_kept: None,
        };
        loop {
            let ended = tokio::select! {
                () = shutdown.cancelled() => break,
                ended = self.follow(&current, &mut backoff, &mut work) => ended,
            };
            if let Err(error) = ended {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "the revocation stream ended"
                );
            }
            let wait = backoff.next(self.endpoint.id().as_bytes()[0]);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        while work.closing.join_next().await.is_some() {}
    }

    fn trust(&self) -> &Arc<Trust> {
        self.credentials.trust()
    }

    async fn follow(
        &self,
        current: &watch::Sender<bool>,
        backoff: &mut Backoff,
        work: &mut Work,
    ) -> Result<(), StreamError> {
        let connection = self
            .endpoint
            .connect(&self.coordinator, alpn::REVOCATIONS, CONNECT_DEADLINE)
            .await
            .map_err(StreamError::Connect)?;
        let stream = connection
            .open_frames()
            .await
            .map_err(|error| StreamError::Ended(error.to_string()))?;
        let (mut sender, mut receiver) = stream.with_limit(MAX_SNAPSHOT_FRAME).split();
        self.write(work).await;
        // Only what is on disk: the coordinator takes it for an acknowledgement.
        let mut hello = self.credentials.hello();
        hello.log_head = Some(work.ledger.kept().into());
        sender.send(&hello).await.map_err(StreamError::Frames)?;
        let mut reach = self.endpoint.reach();
        send(
            &mut sender,
            AgentMessage::Reach {
                reach: reach.clone(),
            },
        )
        .await?;
        loop {
            let message = receive(&mut receiver).await?;
            while work.closing.try_join_next().is_some() {}
            if self.take(message, &mut sender, work).await? == Taken::Newest {
                backoff.reset();
                current.send_replace(true);
                let now = self.endpoint.reach();
                if now != reach {
                    reach = now;
                    send(
                        &mut sender,
                        AgentMessage::Reach {
                            reach: reach.clone(),
                        },
                    )
                    .await?;
                }
            }
        }
    }

    async fn take(
        &self,
        message: LogMessage,
        sender: &mut FrameSender,
        work: &mut Work,
    ) -> Result<Taken, StreamError> {
        let is_heartbeat = matches!(message, LogMessage::Heartbeat { .. });
        let document = match message {
            LogMessage::Root { document } => {
                self.take_root(&document).await;
                return Ok(Taken::Other);
            }
            LogMessage::Delta { document }
            | LogMessage::Snapshot { document }
            | LogMessage::Heartbeat { document } => document,
            LogMessage::Behind { head } => {
                self.bring_history(head.into(), sender).await?;
                return Ok(Taken::Other);
            }
            _ => return Ok(Taken::Other),
        };
        let applied = match self.trust().apply(document.as_ref()) {
            Ok(applied) => applied,
            Err(TrustError::Log(LogError::Gap { .. })) => {
                let head = self.trust().head().into();
                send(sender, AgentMessage::Gap { head }).await?;
                return Ok(Taken::Other);
            }
            Err(error) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "a document of the coordinator was refused"
                );
                return Ok(Taken::Other);
            }
        };
        let revokes = matches!(applied, Applied::Delta { .. });
        if revokes {
            crash::point("after_swap");
        }
        match applied {
            Applied::Delta { changed, .. } => {
                self.cut(&changed, Some(&document), &mut work.closing);
                work.ledger.add_delta(self.row(document.0), changed);
            }
            Applied::Snapshot { changed, .. } => {
                // Too long for a close frame: the device asks the coordinator for its proof.
                self.cut(&changed, None, &mut work.closing);
                self.keep_chain().await;
                work.ledger.add_snapshot(self.row(document.0), changed);
            }
            Applied::Heartbeat { .. } => self.keep_heartbeat(document, work).await,
            _ => {}
        }
        let before = work.ledger.kept();
        let all_kept = self.write(work).await;
        if revokes {
            crash::point("after_persist");
            crash::point("before_ack");
        }
        // After a heartbeat there is news only when a write was made up for.
        if all_kept && (!is_heartbeat || work.ledger.kept() != before) {
            let head = work.ledger.kept().into();
            send(sender, AgentMessage::Ack { head }).await?;
        }
        Ok(if is_heartbeat {
            Taken::Newest
        } else {
            Taken::Other
        })
    }

    // Whether everything that is in force is on disk.
    async fn write(&self, work: &mut Work) -> bool {
        match work.ledger.write(&self.state.store).await {
            Ok(all) => all,
            Err(error) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "a revocation is in force but could not be written to disk; it is tried again"
                );
                false
            }
        }
    }

    async fn keep_heartbeat(&self, document: Document, work: &mut Work) {
        let recently = work
            .heartbeat_kept
            .is_some_and(|at| at.elapsed() < KEEP_HEARTBEAT_EVERY);
        if recently {
            return;
        }
        work.heartbeat_kept = Some(Instant::now());
        if let Err(error) = self.state.store.save_heartbeat(self.row(document.0)).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "a heartbeat could not be written"
            );
        }
    }

    // The coordinator was set back by a restore: what it has signed and lost is here.
    async fn bring_history(
        &self,
        theirs: LogHead,
        sender: &mut FrameSender,
    ) -> Result<(), StreamError> {
        warn!(
            theirs = theirs.seq,
            ours = self.trust().head().seq,
            "the coordinator asks for a revocation log that it has lost"
        );
        let messages = match history::messages(&self.state.store, theirs).await {
            Ok(messages) => messages,
            Err(error) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "the stored log could not be read"
                );
                return Ok(());
            }
        };
        for message in messages {
            send(sender, message).await?;
        }
        Ok(())
    }

    async fn take_root(&self, document: &Document) {
        let refused = self.trust().extend_root(document.as_ref()).err();
        // One that came with a renewal is in force already and may not be on disk yet.
        let state = self.trust().state();
        let mut epochs = (homing_certs::GENESIS_EPOCH..).zip(state.chain().wires());
        let Some((epoch, _)) = epochs.find(|(_, wire)| **wire == document.0) else {
            if let Some(error) = refused {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "a root document was refused"
                );
            }
            return;
        };
        info!(epoch, "the network has a new root document");
        // No certificate of the old signer counts any more; who is connected renews and comes back.
        self.registry.refuse_all(ReasonCode::UnknownSigner);
        if let Err(error) = self.state.store.save_root(epoch, document.0.clone()).await {
            error!(
                error = &error as &dyn std::error::Error,
                "a root document could not be written"
            );
        }
    }

    // Root documents that came with a renewal are nowhere else; an epoch begins with a snapshot, so
    // they are on disk before anything of their epoch counts after a restart.
    async fn keep_chain(&self) {
        let state = self.trust().state();
        for (epoch, wire) in (homing_certs::GENESIS_EPOCH..).zip(state.chain().wires()) {
            if let Err(error) = self.state.store.save_root(epoch, wire.clone()).await {
                error!(
                    error = &error as &dyn std::error::Error,
                    "a root document could not be written"
                );
            }
        }
    }

    fn cut(
        &self,
        changed: &[RevocationEntry],
        document: Option<&Document>,
        closing: &mut JoinSet<()>,
    ) {
        for entry in changed {
            self.registry.cut(&entry.device);
        }
        let (registry, state) = (self.registry.clone(), self.state.clone());
        let proof = document.map(|document| document.0.clone());
        let changed = changed.to_vec();
        closing.spawn(async move {
            let end_work = async {
                for entry in changed
                    .iter()
                    .filter(|entry| entry.min_generation == REVOKED)
                {
                    state.device_revoked(entry.device).await;
                }
            };
            let close = async {
                if changed
                    .iter()
                    .any(|entry| registry.is_online(&entry.device))
                {
                    tokio::time::sleep(FLUSH).await;
                }
                for entry in &changed {
                    if entry.min_generation == REVOKED {
                        registry.close(&entry.device, proof.as_deref());
                    } else {
                        // Demoted: a new certificate lets it in again.
                        registry.refuse(&entry.device, ReasonCode::CertExpired, None);
                    }
                }
            };
            tokio::join!(end_work, close);
        });
    }

    fn row(&self, wire: Vec<u8>) -> TrustRow {
        TrustRow {
            wire,
            head: self.trust().head(),
            floor: self.trust().floor(),
        }
    }
}

async fn send(sender: &mut FrameSender, message: AgentMessage) -> Result<(), StreamError> {
    sender.send(&message).await.map_err(StreamError::Frames)
}

async fn receive(receiver: &mut FrameReceiver) -> Result<LogMessage, StreamError> {
    match tokio::time::timeout(SILENCE, receiver.recv()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(StreamError::Ended("finished".to_owned())),
        Ok(Err(error)) => Err(StreamError::Frames(error)),
        Err(_) => Err(StreamError::Silent),
    }
}
