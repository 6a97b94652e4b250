//! `homing/revocations/1`: an agent follows the log. Sends what it lacks, then every document as it is
//! signed; hears how far the agent enforces it, and where the agent can be dialed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use homing_certs::{LogHash, LogHead, NodeId, ReasonCode};
use homing_protocol::frame::{self, MAX_SNAPSHOT_FRAME};
use homing_protocol::gateway::{Head, Hello, Reach};
use homing_protocol::revocations::{AgentMessage, LogMessage, MAX_HISTORY};
use homing_protocol::{Document, alpn, version};
use homing_transport::{Connection, FrameReceiver, FrameSender, FrameStream, Protocol};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::feed::{Item, Kind};
use super::replicas::Following;
use super::{FIRST_MESSAGE, Shared};
use crate::authority::{Authority, AuthorityError, CatchUp, Refusal};
use crate::moment::Moment;

/// An agent that does not read for this long is let go; it comes back and asks for what it lacks.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Between two snapshots, or two addresses, of one agent.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes that an agent may have on the way to us: a few acknowledgements, or one history.
const WINDOW: u32 = 256 * 1024;

/// The protocol.
#[derive(Debug)]
pub(crate) struct Revocations {
    shared: Arc<Shared>,
}

/// The sending half of one agent's stream.
struct Line<'s> {
    shared: &'s Shared,
    sender: FrameSender,
    /// Where the agent is with all that was sent.
    sent: LogHead,
    /// The newest root document that it has.
    root_epoch: u32,
    snapshot_at: Option<Instant>,
}

/// Why a stream ends.
enum End {
    /// The agent does not read, or is gone.
    Gone,
    /// The coordinator shuts down.
    Stopped,
}

impl Revocations {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn converse(self: Arc<Self>, connection: Connection, shutdown: CancellationToken) {
        let shared = &self.shared;
        let Ok(registration) = shared.registry.register(&connection) else {
            return connection.refuse(ReasonCode::Busy, None);
        };
        let Some(name) = shared
            .member(&connection, |authority, peer| authority.agent_name(peer))
            .await
        else {
            return;
        };
        let Some((stream, hello)) = greet(&connection).await else {
            return;
        };
        debug!(agent = name, "an agent follows the log");
        connection.set_limits(1, WINDOW);
        // Listening before the look into the database, so that nothing falls in between.
        let feed = shared.feed.subscribe();
        let following = shared.replicas.follow(connection.peer());
        // After a restore an agent may bring a whole snapshot.
        let (sender, receiver) = stream.with_limit(MAX_SNAPSHOT_FRAME).split();
        sender.prioritise();
        let (gaps, gap) = mpsc::channel(1);
        let theirs = hello.log_head.map_or(NOTHING, LogHead::from);
        // What it comes with is on its disk.
        shared.hear(&name, &following, theirs);
        let line = Line {
            shared,
            sender,
            sent: theirs,
            root_epoch: hello.root_epoch,
            snapshot_at: None,
        };
        let cut = registration.cut_token();
        tokio::select! {
            () = shutdown.cancelled() => connection.refuse(ReasonCode::Draining, None),
            () = cut.cancelled() => {}
            _ = connection.closed() => {}
            () = shared.listen(connection.peer(), &name, receiver, &following, gaps) => connection.close_done(),
            end = line.follow(feed, gap) => match end {
                End::Gone => connection.refuse(ReasonCode::Busy, None),
                End::Stopped => connection.refuse(ReasonCode::Draining, None),
            },
        }
    }
}

impl Protocol for Revocations {
    fn alpn(&self) -> &'static [u8] {
        alpn::REVOCATIONS
    }

    fn serve(
        self: Arc<Self>,
        connection: Connection,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        self.converse(connection, shutdown).boxed()
    }
}

/// The position of a replica that has nothing.
const NOTHING: LogHead = LogHead {
    root_epoch: homing_certs::GENESIS_EPOCH,
    seq: 0,
    hash: LogHash::ZERO,
};

impl Line<'_> {
    async fn follow(
        mut self,
        mut feed: broadcast::Receiver<Item>,
        mut gap: mpsc::Receiver<LogHead>,
    ) -> End {
        if let Err(end) = self.start(self.sent).await {
            return end;
        }
        loop {
            let done = tokio::select! {
                item = feed.recv() => match item {
                    Ok(item) => self.pass_on(item).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up(self.sent).await,
                    Err(broadcast::error::RecvError::Closed) => Err(End::Stopped),
                },
                Some(theirs) = gap.recv() => self.fill(theirs).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    // An agent that has seen more than we have is the witness of a restore: nothing is sent but the
    // question for what it knows.
    async fn start(&mut self, theirs: LogHead) -> Result<(), End> {
        let now = self.shared.now();
        let heard = self
            .shared
            .ask(move |authority| Ok((authority.observe_head(theirs, now)?, authority.head())))
            .await;
        if let Ok((true, head)) = heard {
            return self
                .send(&LogMessage::Behind {
                    head: Head::from(head),
                })
                .await;
        }
        self.catch_up(theirs).await?;
        self.first_heartbeat().await
    }

    async fn pass_on(&mut self, item: Item) -> Result<(), End> {
        if item.head.root_epoch != self.sent.root_epoch {
            self.catch_up(self.sent).await?;
            return self.first_heartbeat().await;
        }
        let (at, sent) = (item.head.seq, self.sent.seq);
        match item.kind {
            Kind::Delta if at == sent + 1 => {
                self.send_frame(&item.frame).await?;
                self.sent = item.head;
                Ok(())
            }
            // Sent from the database already.
            Kind::Delta if at <= sent => Ok(()),
            Kind::Heartbeat if at == sent => self.send_frame(&item.frame).await,
            // Signed before what was sent from the database: its position is history.
            Kind::Heartbeat if at < sent => Ok(()),
            Kind::Delta | Kind::Heartbeat => {
                self.catch_up(self.sent).await?;
                self.first_heartbeat().await
            }
        }
    }

    async fn fill(&mut self, theirs: LogHead) -> Result<(), End> {
        if self.snapshot_at.is_some_and(|at| at.elapsed() < PAUSE) {
            // It asks again at the next heartbeat, if it still has to.
            return Ok(());
        }
        self.start(theirs).await
    }

    async fn catch_up(&mut self, theirs: LogHead) -> Result<(), End> {
        let (now, known) = (self.shared.now(), self.root_epoch);
        let Some((roots, news, head)) = self
            .ask(move |authority| what_is_missing(authority, theirs, known, now))
            .await?
        else {
            return Ok(());
        };
        for document in roots {
            self.send(&LogMessage::Root { document }).await?;
        }
        self.root_epoch = self.root_epoch.max(head.root_epoch);
        match news {
            CatchUp::Deltas(deltas) => {
                for delta in deltas {
                    let document = Document(delta.wire.to_vec());
                    self.send(&LogMessage::Delta { document }).await?;
                }
            }
            CatchUp::Snapshot(wire) => {
                self.snapshot_at = Some(Instant::now());
                self.send(&LogMessage::Snapshot {
                    document: Document(wire.to_vec()),
                })
                .await?;
            }
        }
        self.sent = head;
        Ok(())
    }

    async fn first_heartbeat(&mut self) -> Result<(), End> {
        let now = self.shared.now();
        let Some(beat) = self.ask(move |authority| authority.heartbeat(now)).await? else {
            return Ok(());
        };
        if beat.head.seq != self.sent.seq {
            // The log moved on; the feed brings the step and a later heartbeat.
            return Ok(());
        }
        self.send(&LogMessage::Heartbeat {
            document: Document(beat.wire.to_vec()),
        })
        .await
    }

    // Nothing is signed while recovering or while the clock is in doubt: the line stays open then.
    async fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Authority) -> Result<R, AuthorityError> + Send + 'static,
    ) -> Result<Option<R>, End> {
        match self.shared.authority.call(call).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(AuthorityError::Refused(Refusal::Recovering | Refusal::ClockDeparted))) => {
                Ok(None)
            }
            Ok(Err(error)) => {
                super::describe(&error);
                Err(End::Gone)
            }
            Err(_) => Err(End::Stopped),
        }
    }

    async fn send(&mut self, message: &LogMessage) -> Result<(), End> {
        match frame::encode(message, MAX_SNAPSHOT_FRAME) {
            Ok(bytes) => self.send_frame(&bytes).await,
            Err(error) => {
                warn!(%error, "a log document does not fit a frame");
                Err(End::Gone)
            }
        }
    }

    async fn send_frame(&mut self, bytes: &[u8]) -> Result<(), End> {
        match tokio::time::timeout(SEND_DEADLINE, self.sender.send_encoded(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

impl Shared {
    /// Hears an agent until it ends or says something unreadable.
    async fn listen(
        &self,
        node_id: NodeId,
        name: &str,
        mut receiver: FrameReceiver,
        following: &Following<'_>,
        gaps: mpsc::Sender<LogHead>,
    ) {
        let mut moved_at: Option<Instant> = None;
        loop {
            match receiver.recv::<AgentMessage>().await {
                Ok(Some(AgentMessage::Ack { head })) => self.hear(name, following, head.into()),
                Ok(Some(AgentMessage::Reach { reach })) => {
                    if let Some(early) = moved_at.and_then(|at| PAUSE.checked_sub(at.elapsed())) {
                        tokio::time::sleep(early).await;
                    }
                    moved_at = Some(Instant::now());
                    self.agent_moved(node_id, name, reach).await;
                }
                Ok(Some(AgentMessage::Gap { head })) => {
                    debug!(agent = name, seq = head.seq, "an agent has a gap");
                    // Full means that it has asked already.
                    let _ = gaps.try_send(head.into());
                }
                Ok(Some(AgentMessage::History { documents })) => {
                    self.take_history(name, documents).await
                }
                Ok(Some(_)) => debug!(agent = name, "a message of a newer version is ignored"),
                Ok(None) => return,
                Err(error) => return debug!(agent = name, %error, "the log stream ended"),
            }
        }
    }

    fn hear(&self, name: &str, following: &Following<'_>, head: LogHead) {
        // Accepted, it would count as a confirmation of revocations that are not made yet.
        if head.seq > self.feed.newest() {
            warn!(
                agent = name,
                seq = head.seq,
                "an agent claims a position that the log does not have"
            );
        } else {
            following.acknowledge(head);
        }
    }

    async fn agent_moved(&self, node_id: NodeId, name: &str, reach: Reach) {
        let now = self.now();
        let moved = self
            .ask(move |authority| authority.agent_moved(node_id, &reach, now))
            .await;
        if let Err(error) = moved {
            warn!(agent = name, %error, "an agent's address could not be noted");
        }
    }

    // Believed only for its signatures, so any agent may bring it.
    async fn take_history(&self, name: &str, documents: Vec<Document>) {
        let now = self.now();
        let imported = self
            .ask(move |authority| {
                for document in documents.iter().take(MAX_HISTORY) {
                    authority.import(document.as_ref(), now)?;
                }
                Ok(authority.head())
            })
            .await;
        match imported {
            Ok(head) => debug!(agent = name, seq = head.seq, "an agent brought log entries"),
            Err(error) => warn!(agent = name, %error, "an agent's log entries were refused"),
        }
    }
}

fn what_is_missing(
    authority: &mut Authority,
    theirs: LogHead,
    root_epoch: u32,
    now: Moment,
) -> Result<(Vec<Document>, CatchUp, LogHead), AuthorityError> {
    // Old deltas could be sent without a new signature, but not while a newer log may exist.
    if authority.is_recovering()? {
        return Err(Refusal::Recovering.into());
    }
    let news = authority.catch_up(theirs, now)?;
    let roots = authority.root_chain_after(root_epoch);
    Ok((roots, news, authority.head()))
}

async fn greet(connection: &Connection) -> Option<(FrameStream, Hello)> {
    let opened = tokio::time::timeout(FIRST_MESSAGE, connection.accept_frames()).await;
    let mut stream = opened.ok()?.ok()?;
    match stream.recv_within::<Hello>(FIRST_MESSAGE).await {
        Ok(hello) if version::agree(&hello.versions).is_some() => Some((stream, hello)),
        Ok(_) => {
            connection.refuse(ReasonCode::UpgradeRequired, None);
            None
        }
        Err(error) => {
            debug!(%error, "no Hello");
            connection.refuse(ReasonCode::CertInvalid, None);
            None
        }
    }
}
