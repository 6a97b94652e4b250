//! A QUIC connection whose peer key TLS has proved, with homing's close reasons.

use std::net::SocketAddr;
use std::time::Duration;

use homing_certs::{NodeId, ReasonCode};
use homing_protocol::close;
use iroh::TransportAddr;
use iroh::endpoint::{ConnectionError, VarInt, WeakConnectionHandle};

use crate::frames::FrameStream;

/// A live connection. Cheap to clone; it closes when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: iroh::endpoint::Connection,
}

/// A handle that does not keep its connection open.
#[derive(Debug, Clone)]
pub struct WeakConnection {
    inner: WeakConnectionHandle,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The peer's refusal, when it closed with one of ours.
    pub reason: Option<ReasonCode>,
    /// The signed log entry that came with `revoked`; not verified here.
    pub proof: Option<Vec<u8>>,
    /// Whether the peer closed without refusing anything.
    pub clean: bool,
    /// For the log.
    pub text: String,
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Straight to the peer's socket.
    Direct,
    /// Through a relay.
    Relay,
}

impl PathKind {
    /// `direct` or `relay`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

/// The path in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathReport {
    /// Direct or relayed.
    pub kind: PathKind,
    /// Socket address or relay URL.
    pub remote: String,
    /// The socket address of a direct path.
    pub address: Option<SocketAddr>,
    /// Smoothed round-trip time.
    pub rtt: Duration,
}

impl Connection {
    pub(crate) fn new(inner: iroh::endpoint::Connection) -> Self {
        Self { inner }
    }

    /// The peer's key, proved by its TLS handshake.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        NodeId::from(*self.inner.remote_id().as_bytes())
    }

    /// The protocol that was negotiated.
    #[must_use]
    pub fn alpn(&self) -> &[u8] {
        self.inner.alpn()
    }

    /// Opens a stream for framed messages. The peer learns of it with the first message.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn open_frames(&self) -> Result<FrameStream, ConnectionError> {
        let (send, recv) = self.inner.open_bi().await?;
        Ok(FrameStream::new(send, recv))
    }

    /// Waits for the peer to open a stream for framed messages.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn accept_frames(&self) -> Result<FrameStream, ConnectionError> {
        let (send, recv) = self.inner.accept_bi().await?;
        Ok(FrameStream::new(send, recv))
    }

    /// Closes at once with a refusal. `proof` is the signed log entry for [`ReasonCode::Revoked`].
    pub fn refuse(&self, reason: ReasonCode, proof: Option<&[u8]>) {
        self.inner.close(
            VarInt::from_u32(close::code(reason)),
            &close::reason_bytes(reason, proof),
        );
    }

    /// Closes because both sides are done.
    pub fn close_done(&self) {
        self.inner.close(VarInt::from_u32(close::DONE), b"done");
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> Closed {
        Closed::from(&self.inner.closed().await)
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<Closed> {
        self.inner.close_reason().as_ref().map(Closed::from)
    }

    /// A handle that does not keep the connection open.
    #[must_use]
    pub fn weak(&self) -> WeakConnection {
        WeakConnection {
            inner: self.inner.weak_handle(),
        }
    }

    /// Number of this connection within the process.
    #[must_use]
    pub fn stable_id(&self) -> usize {
        self.inner.stable_id()
    }

    /// The path in use; `None` before one is selected.
    #[must_use]
    pub fn path(&self) -> Option<PathReport> {
        let paths = self.inner.paths();
        let path = paths
            .iter()
            .find(|path| path.is_selected())
            .or_else(|| paths.iter().next())?;
        let (kind, remote, address) = match path.remote_addr() {
            TransportAddr::Ip(addr) => (PathKind::Direct, addr.to_string(), Some(*addr)),
            TransportAddr::Relay(url) => (PathKind::Relay, url.to_string(), None),
            other => (PathKind::Direct, format!("{other:?}"), None),
        };
        Some(PathReport {
            kind,
            remote,
            address,
            rtt: path.rtt(),
        })
    }

    /// Changes what the peer may open and send from here on.
    pub fn set_limits(&self, streams: u32, window: u32) {
        self.inner
            .set_max_concurrent_bi_streams(VarInt::from_u32(streams));
        self.inner.set_receive_window(VarInt::from_u32(window));
    }

    pub(crate) fn raw(&self) -> &iroh::endpoint::Connection {
        &self.inner
    }
}

impl WeakConnection {
    /// The connection, unless it has been dropped or has ended.
    #[must_use]
    pub fn upgrade(&self) -> Option<Connection> {
        let inner = self.inner.upgrade()?;
        inner
            .close_reason()
            .is_none()
            .then_some(Connection { inner })
    }
}

impl From<&ConnectionError> for Closed {
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(frame) => {
                let (reason, proof) = match close::parse_reason(&frame.reason) {
                    Some((reason, proof)) => (Some(reason), proof.map(<[u8]>::to_vec)),
                    None => (None, None),
                };
                let clean = reason.is_none();
                Self {
                    reason,
                    proof,
                    clean,
                    text: error.to_string(),
                }
            }
            ConnectionError::LocallyClosed => Self {
                reason: None,
                proof: None,
                clean: true,
                text: error.to_string(),
            },
            _ => Self {
                reason: None,
                proof: None,
                clean: false,
                text: error.to_string(),
            },
        }
    }
}
