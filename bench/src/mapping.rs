//! Ways to carry a TCP connection's requests over QUIC streams, without certificates: the evidence
//! for the choice in `docs/performance.md`. The far end is the origin served on bi-streams.
//!
//! `pooled` is a hyper proxy with kept-alive bi-streams, `relayed` is the loopback proxy of the
//! product with a bi-stream per TCP connection, `unguarded` the same without its guard, and
//! `splice` an opaque copy of bytes.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use homing_loopback_proxy::{
    LoopbackAddr, Proxy, ProxyAuth, ProxyConfig, ProxyLimits, Upstream, UpstreamError,
    UpstreamStream,
};
use iroh::endpoint::{Connection, QuicTransportConfig, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, EndpointAddr};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes, join};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::origin::Origin;
use crate::role::ready;
use crate::systems::iroh as raw;

mod pooled;

const ALPN: &[u8] = b"homing-bench/http";
/// Streams of the connection, as the product admits them.
const STREAMS: u32 = 1024;
/// Buffer of the opaque copy, in bytes; smaller ones are slower, larger ones are not faster.
const SPLICE_BUFFER: usize = 64 * 1024;

/// The prototypes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Pooled,
    Relayed,
    Unguarded,
    Splice,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Pooled, Self::Relayed, Self::Unguarded, Self::Splice];

    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pooled => "b: pooled streams, hyper twice",
            Self::Relayed => "c: stream per connection, heads parsed, guard",
            Self::Unguarded => "c without its guard",
            Self::Splice => "opaque splice",
        }
    }

    /// The word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pooled => "pooled",
            Self::Relayed => "relayed",
            Self::Unguarded => "unguarded",
            Self::Splice => "splice",
        }
    }
}

/// The far end: the origin on every bi-stream.
pub(crate) async fn agent(origin: Origin) -> Result<()> {
    let endpoint = raw::bind(&[ALPN]).await?;
    ready(&raw::place_of(&endpoint)?)?;
    while let Some(incoming) = endpoint.accept().await {
        let origin = origin.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else {
                return;
            };
            connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS));
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(origin.clone().serve(join(receive, send)));
            }
        });
    }
    Ok(())
}

/// The near end: a listener in front of one connection to the far end.
pub(crate) async fn proxy(kind: Kind, agent: &Value, dir: &Path) -> Result<()> {
    let endpoint = raw::bind(&[]).await?;
    let connection = dial(&endpoint, raw::addr(agent)?).await?;
    match kind {
        Kind::Pooled => pooled::run(connection).await,
        Kind::Relayed => relay(connection, dir, true).await,
        Kind::Unguarded => relay(connection, dir, false).await,
        Kind::Splice => splice(connection).await,
    }
}

async fn dial(endpoint: &Endpoint, to: EndpointAddr) -> Result<Connection> {
    let config = QuicTransportConfig::builder().build();
    let options = iroh::endpoint::ConnectOptions::new().with_transport_config(config);
    let connecting = endpoint.connect_with_opts(to, ALPN, options).await?;
    connecting.await.context("dialing the prototype's far end")
}

/// The product's proxy at a port of its own, without a bound on how fast clients come.
pub(crate) fn proxy_config(dir: &Path, guard: bool) -> ProxyConfig {
    let limits = ProxyLimits {
        accepts_per_second: 100_000,
        accept_burst: 100_000,
        ..ProxyLimits::default()
    };
    ProxyConfig {
        bind: LoopbackAddr::v4(0),
        also_v6: false,
        unix_socket: None,
        unix_needs_token: false,
        token_file: dir.join("proxy.token"),
        auth: ProxyAuth::SameUser,
        limits,
        guard,
    }
}

async fn relay(connection: Connection, dir: &Path, guard: bool) -> Result<()> {
    let config = proxy_config(dir, guard);
    let proxy = Proxy::bind(config, Arc::new(Agent(connection))).await?;
    ready(&json!({ "address": proxy.address() }))?;
    proxy.run(CancellationToken::new()).await?;
    Ok(())
}

async fn splice(connection: Connection) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready(&json!({ "address": listener.local_addr()? }))?;
    loop {
        let (mut client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let connection = connection.clone();
        tokio::spawn(async move {
            let Ok((send, receive)) = connection.open_bi().await else {
                return;
            };
            let mut stream = join(receive, send);
            // Whichever side ends it, both are dropped here.
            let _ = copy_bidirectional_with_sizes(
                &mut client,
                &mut stream,
                SPLICE_BUFFER,
                SPLICE_BUFFER,
            )
            .await;
        });
    }
}

struct Agent(Connection);

#[derive(Debug)]
struct Stream {
    send: SendStream,
    receive: RecvStream,
    finished: bool,
}

impl Upstream for Agent {
    type Stream = Stream;

    async fn open(&self) -> Result<Stream, UpstreamError> {
        let opened = self.0.open_bi().await;
        let (send, receive) = opened.map_err(|error| UpstreamError {
            code: "not_reachable".to_owned(),
            message: error.to_string(),
            hint: String::new(),
        })?;
        Ok(Stream {
            send,
            receive,
            finished: false,
        })
    }
}

impl UpstreamStream for Stream {
    fn reset(&mut self, code: u32) {
        self.finished = true;
        // Both fail only on a stream that has ended already.
        let _ = self.send.reset(VarInt::from_u32(code));
        let _ = self.receive.stop(VarInt::from_u32(code));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.send.reset(VarInt::from_u32(0));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.finished = true;
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}
