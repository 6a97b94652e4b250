//! Admission of a device to an agent: once per connection, before a byte of HTTP is read.
//!
//! Register the connection, then check, then serve: a revocation that runs at the same time either
//! finds the connection or is found by the check. Every request is checked again, from memory, by
//! [`Peer::authorize`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use homing_certs::{
    CertificateError, LEEWAY_SECS, NodeId, ReasonCode, UnixTime, VerifiedCertificate,
};
use homing_protocol::gateway::{ConnectionMessage, Hello, HelloOk};
use homing_protocol::{Document, ErrorBody, version};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::connection::{Connection, PathKind, WeakConnection};
use crate::credentials::Credentials;
use crate::endpoint::{ADMITTED_STREAMS, ADMITTED_WINDOW};
use crate::frames::{FrameIoError, FrameReceiver, FrameSender};
use crate::http::HttpStream;
use crate::registry::{Registration, Registry};
use crate::stream::ByteStream;
use crate::trust::Trust;

/// From the end of the handshake to the verdict.
pub const ADMISSION_DEADLINE: Duration = Duration::from_secs(5);
/// Longest sleep of the expiry timer, so that a corrected clock is noticed.
const EXPIRY_CHECK: Duration = Duration::from_secs(60);

/// Looks up the signed entry that revoked a key.
pub type ProofSource = Arc<dyn Fn(NodeId) -> BoxFuture<'static, Option<Vec<u8>>> + Send + Sync>;

/// The doorkeeper of one agent.
pub struct Admission {
    /// The agent's own certificate and trust state.
    pub credentials: Arc<Credentials>,
    /// The agent's name, for people.
    pub agent: String,
    /// The agent's program version, for people.
    pub program: String,
    /// Live connections.
    pub registry: Registry,
    /// Signed entries for those who are refused as revoked.
    pub proofs: ProofSource,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// Why a connection was not admitted; it has been closed with the reason's code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No message came in time, or it was not a Hello.
    #[error("the device did not introduce itself")]
    NoHello(#[source] FrameIoError),
    /// The connection ended first.
    #[error("the connection ended before its admission")]
    Gone,
    /// No common message version.
    #[error("the device speaks none of our versions")]
    Version,
    /// There was no certificate.
    #[error("the device showed no certificate")]
    NoCertificate,
    /// The certificate is not good here and now.
    #[error("the certificate was refused")]
    Certificate(#[source] CertificateError),
    /// Too many live connections of this device.
    #[error("the device has too many connections")]
    Busy,
}

impl Refusal {
    /// The reason code that the device was told.
    #[must_use]
    pub fn code(&self) -> ReasonCode {
        match self {
            // A slow line is no missing certificate: the device should try again.
            Self::NoHello(
                FrameIoError::Timeout(_) | FrameIoError::Read(_) | FrameIoError::Write(_),
            )
            | Self::Gone => ReasonCode::Busy,
            Self::NoHello(_) | Self::NoCertificate => ReasonCode::CertMissing,
            Self::Version => ReasonCode::UpgradeRequired,
            Self::Certificate(error) => error.code(),
            Self::Busy => ReasonCode::Busy,
        }
    }
}

/// The device on the other side of a connection, as every request sees it.
#[derive(Debug)]
pub struct Peer {
    node_id: NodeId,
    certificate: ArcSwap<VerifiedCertificate>,
    trust: Arc<Trust>,
    connection: WeakConnection,
    cut: CancellationToken,
}

/// An admitted connection. Dropping it takes it out of the registry and closes it.
#[derive(Debug)]
pub struct Admitted {
    connection: Connection,
    peer: Arc<Peer>,
    control: Option<(FrameSender, FrameReceiver)>,
    _registration: Registration,
}

impl Admission {
    /// Decides about one connection. On refusal it has been closed with the reason.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, connection: Connection) -> Result<Admitted, Refusal> {
        let refused = match tokio::time::timeout(ADMISSION_DEADLINE, self.decide(&connection)).await
        {
            Ok(Ok(admitted)) => return Ok(admitted),
            Ok(Err(refusal)) => refusal,
            Err(_) => Refusal::NoHello(FrameIoError::Timeout(ADMISSION_DEADLINE)),
        };
        let code = refused.code();
        let proof = match code {
            ReasonCode::Revoked => (self.proofs)(connection.peer()).await,
            _ => None,
        };
        connection.refuse(code, proof.as_deref());
        Err(refused)
    }

    async fn decide(&self, connection: &Connection) -> Result<Admitted, Refusal> {
        let mut control = connection
            .accept_frames()
            .await
            .map_err(|_| Refusal::Gone)?;
        let hello: Hello = control
            .recv_within(ADMISSION_DEADLINE)
            .await
            .map_err(Refusal::NoHello)?;
        let version = version::agree(&hello.versions).ok_or(Refusal::Version)?;
        let wire = hello.certificate.ok_or(Refusal::NoCertificate)?;
        let trust = self.credentials.trust();
        let certificate = trust
            .verify_certificate(wire.as_ref())
            .map_err(Refusal::Certificate)?;

        // Before the check: see the module's first lines.
        let registration = self
            .registry
            .register(connection)
            .map_err(|_| Refusal::Busy)?;
        let peer = Arc::new(Peer {
            node_id: connection.peer(),
            certificate: ArcSwap::from_pointee(certificate),
            trust: trust.clone(),
            connection: connection.weak(),
            cut: registration.cut_token(),
        });
        peer.authorize().map_err(Refusal::Certificate)?;

        let state = trust.state();
        let ok = HelloOk {
            version,
            agent: self.agent.clone(),
            program: self.program.clone(),
            certificate: Document::from(self.credentials.certificate().wire()),
            root_epoch: state.chain().epoch(),
            log_seq: state.head().seq,
        };
        control.send(&ok).await.map_err(Refusal::NoHello)?;
        connection.set_limits(ADMITTED_STREAMS, ADMITTED_WINDOW);
        let (sender, receiver) = control.split();
        sender.prioritise();
        let control = Some((sender, receiver));
        Ok(Admitted {
            connection: connection.clone(),
            peer,
            control,
            _registration: registration,
        })
    }
}

impl Peer {
    /// The device's key, proved by TLS.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The certificate in force on this connection.
    #[must_use]
    pub fn certificate(&self) -> Arc<VerifiedCertificate> {
        self.certificate.load_full()
    }

    /// Time, revocation, generation and root epoch at this moment, from memory. Call it on every request.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn authorize(&self) -> Result<(), CertificateError> {
        self.trust.check(&self.certificate.load(), &self.node_id)
    }

    /// Time since the newest verified heartbeat of the coordinator.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        self.trust.staleness()
    }

    /// `direct` or `relay`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        let path = self
            .connection
            .upgrade()
            .and_then(|connection| connection.path());
        path.map_or(PathKind::Direct, |path| path.kind).as_str()
    }

    /// Cancelled when this device is cut.
    #[must_use]
    pub fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    fn renew(&self, wire: &Document) -> Result<UnixTime, CertificateError> {
        let renewed = self.trust.verify_certificate(wire.as_ref())?;
        self.trust.check(&renewed, &self.node_id)?;
        let not_after = renewed.certificate().not_after;
        self.certificate.store(Arc::new(renewed));
        Ok(not_after)
    }

    fn time_to_expiry(&self) -> Duration {
        let end = self.certificate.load().certificate().not_after.0 + LEEWAY_SECS;
        Duration::from_secs((end + 1).saturating_sub(self.trust.now().0))
    }
}

impl Admitted {
    /// The device.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What concerns the connection itself, to be awaited in a task of its own: pings, renewed
    /// certificates, expiry, and the notice that the agent is going away.
    pub fn keeper(
        &mut self,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let control = self.control.take();
        let peer = self.peer.clone();
        let connection = self.connection.clone();
        async move {
            let Some((sender, receiver)) = control else {
                return;
            };
            tokio::select! {
                () = answer(sender, receiver, &peer, shutdown) => {}
                () = close_at_expiry(&peer, &connection) => {}
                _ = connection.closed() => {}
            }
        }
    }

    /// The next stream of the device; `None` once the connection has ended.
    pub async fn next_stream(&self) -> Option<HttpStream> {
        let (send, recv) = self.connection.raw().accept_bi().await.ok()?;
        let (stream, flusher) = ByteStream::merging(send, recv);
        Some(HttpStream { stream, flusher })
    }
}

async fn answer(
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
    peer: &Peer,
    shutdown: CancellationToken,
) {
    let (replies, mut outbox) = tokio::sync::mpsc::channel(8);
    let read = async move {
        while let Ok(Some(message)) = receiver.recv::<ConnectionMessage>().await {
            let reply = match message {
                ConnectionMessage::Ping { nonce } => ConnectionMessage::Pong { nonce },
                ConnectionMessage::Certificate { certificate } => match peer.renew(&certificate) {
                    Ok(not_after) => ConnectionMessage::CertificateAccepted {
                        not_after: not_after.0,
                    },
                    Err(error) => ConnectionMessage::Refused {
                        error: ErrorBody::new(
                            error.code().as_str(),
                            "the renewed certificate was refused",
                            "",
                        ),
                    },
                },
                _ => continue,
            };
            if replies.send(reply).await.is_err() {
                break;
            }
        }
    };
    let write = async {
        let mut draining = false;
        loop {
            let message = tokio::select! {
                () = shutdown.cancelled(), if !draining => {
                    draining = true;
                    ConnectionMessage::Draining
                }
                message = outbox.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
            };
            if let Err(error) = sender.send(&message).await {
                return debug!(%error, "the control stream ended");
            }
        }
    };
    tokio::join!(read, write);
    // The control stream is gone, but requests may still run: wait for the connection to end.
    std::future::pending::<()>().await;
}

async fn close_at_expiry(peer: &Peer, connection: &Connection) {
    loop {
        let left = peer.time_to_expiry();
        if left.is_zero() {
            return connection.refuse(ReasonCode::CertExpired, None);
        }
        tokio::time::sleep(left.min(EXPIRY_CHECK)).await;
    }
}
