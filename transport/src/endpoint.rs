//! One QUIC endpoint of this process: its key, sockets and what it may contact.
//!
//! Built on an empty preset, so that nothing is contacted that was not named: with
//! [`Relay::None`] no relay, no look-up, no port mapping, no captive-portal probe, no DNS fallback.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use homing_certs::{NodeId, SigningKey};
use homing_protocol::gateway::{MAX_ADDRESSES, Reach};
use iroh::dns::DnsResolver;
use iroh::endpoint::{
    ConnectOptions, NetReportConfig, PortmapperConfig, QuicTransportConfig, VarInt, presets,
};
use iroh::{EndpointAddr, RelayMode, RelayUrl, SecretKey, TransportAddr};

use crate::connection::Connection;

/// Largest window of one stream, in bytes. noq 1.4 closes a whole connection when a stream gathers
/// more than about 2,000 unread chunks; a window of this size holds fewer chunks of full packets.
pub const STREAM_WINDOW: u32 = 1_250_000;
/// Receive window of a connection that has not been admitted, in bytes.
pub const UNADMITTED_WINDOW: u32 = 64 * 1024;
/// Receive window of an admitted connection, in bytes: bounds what one device can make us hold.
pub const ADMITTED_WINDOW: u32 = 16 * 1024 * 1024;
/// Bidirectional streams before the verdict: stream 0 and a few requests that wait.
pub const UNADMITTED_STREAMS: u32 = 4;
/// Receive window of a connection that this side dialed. Each body that a local program has left
/// unread keeps a stream's window of it, so it has room for 128 of them before the others wait.
pub const DIALED_WINDOW: u32 = 128 * STREAM_WINDOW;
/// Bidirectional streams of an admitted connection.
pub const ADMITTED_STREAMS: u32 = 1_024;
/// A path that is silent for this long is given up; 15 s, iroh's default, is a long time on a phone.
const PATH_IDLE: Duration = Duration::from_secs(6);
/// A connection over which nothing has come for this long is gone: the peer was killed and started
/// again, which nothing tells. noq's 30 s would be waited for by every request that is on its way.
const IDLE_MS: VarInt = VarInt::from_u32(10_000);
/// Keeps a path from being given up; below a third of [`PATH_IDLE`].
const PATH_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// What an endpoint may contact beside the addresses that it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Relay {
    /// Nothing: this machine and the local network.
    #[default]
    None,
    /// iroh's public relays and address look-up.
    Public,
    /// Only these relays.
    Own(Vec<String>),
}

/// How to bind an [`Endpoint`].
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// The endpoint's identity.
    pub key: SigningKey,
    /// The protocols that it serves; empty for one that only dials.
    pub alpns: Vec<Vec<u8>>,
    /// Address to bind. Port 0 picks one; an unspecified IPv4 address binds IPv6 as well where it exists.
    pub bind: SocketAddr,
    /// What it may contact.
    pub relay: Relay,
}

/// Why an endpoint could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be used.
    #[error("cannot use {addr} for QUIC")]
    Address {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A relay's URL does not parse.
    #[error("{url:?} is not the URL of a relay")]
    RelayUrl {
        /// The text.
        url: String,
    },
}

/// Why a dial did not end in a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The key is not a valid NodeId.
    #[error("{0} is not a valid NodeId")]
    InvalidKey(NodeId),
    /// No address or relay is known for it.
    #[error("no address is known for {}", .0.short())]
    NoAddress(NodeId),
    /// Nothing answered in time.
    #[error("nothing answered within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The handshake failed.
    #[error("the connection failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A bound endpoint. Cheap to clone; [`Endpoint::close`] ends it for all.
#[derive(Debug, Clone)]
pub struct Endpoint {
    inner: iroh::Endpoint,
    id: NodeId,
    dials_by_lookup: bool,
    has_relay: bool,
}

impl Endpoint {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`BindError`]; the address is taken or a relay's URL is wrong.
    pub async fn bind(config: EndpointConfig) -> Result<Self, BindError> {
        let id = NodeId::from(config.key.verifying_key().to_bytes());
        let secret = SecretKey::from_bytes(&config.key.to_bytes());
        let dials_by_lookup = config.relay == Relay::Public;
        let has_relay = config.relay != Relay::None;
        let mut builder = match &config.relay {
            Relay::Public => iroh::Endpoint::builder(presets::N0),
            Relay::None | Relay::Own(_) => iroh::Endpoint::builder(presets::Minimal)
                .portmapper_config(PortmapperConfig::Disabled)
                .dns_resolver(
                    DnsResolver::builder()
                        .with_system_defaults()
                        .disable_fallback()
                        .build(),
                ),
        };
        builder = match &config.relay {
            Relay::Public => builder,
            Relay::None => builder
                .relay_mode(RelayMode::Disabled)
                .net_report_config(NetReportConfig::minimal()),
            Relay::Own(urls) => {
                // Without address discovery over QUIC the HTTP probe is what chooses the home relay.
                let mut net_report = NetReportConfig::minimal();
                net_report.https_probes = true;
                builder
                    .relay_mode(RelayMode::custom(parse_urls(urls)?))
                    .net_report_config(net_report)
            }
        };
        builder = builder
            .secret_key(secret)
            .alpns(config.alpns)
            .transport_config(transport_config(UNADMITTED_WINDOW, UNADMITTED_STREAMS));
        builder = bind_sockets(builder, config.bind)?;
        let inner = builder.bind().await.map_err(|source| BindError::Address {
            addr: config.bind,
            source: Box::new(source),
        })?;
        Ok(Self {
            inner,
            id,
            dials_by_lookup,
            has_relay,
        })
    }

    /// The endpoint's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where it may be reached, as far as it knows: its sockets, the loopback address of a wildcard
    /// socket, its relay.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let known = self.inner.addr();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut seen = BTreeSet::new();
        let wildcard_loopback = |socket: &SocketAddr| match socket.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let bound = self.inner.bound_sockets();
        let loopback = bound
            .iter()
            .map(|socket| SocketAddr::new(wildcard_loopback(socket), socket.port()));
        for address in known.ip_addrs().copied().chain(loopback) {
            if addresses.len() < MAX_ADDRESSES && seen.insert(address) {
                addresses.push(address);
            }
        }
        Reach {
            node_id: self.id,
            relay: known.relay_urls().next().map(ToString::to_string),
            addresses,
        }
    }

    /// The bound UDP sockets.
    #[must_use]
    pub fn bound_sockets(&self) -> Vec<SocketAddr> {
        self.inner.bound_sockets()
    }

    /// Dials a key at the addresses given, within `deadline`.
    ///
    /// # Errors
    /// [`ConnectError`]. Nothing about certificates is decided here.
    pub async fn connect(
        &self,
        to: &Reach,
        alpn: &[u8],
        deadline: Duration,
    ) -> Result<Connection, ConnectError> {
        let key = iroh::PublicKey::from_bytes(to.node_id.as_bytes())
            .map_err(|_| ConnectError::InvalidKey(to.node_id))?;
        let relay = to
            .relay
            .as_deref()
            .and_then(|url| url.parse::<RelayUrl>().ok());
        let addresses = to.addresses.iter().copied().map(TransportAddr::Ip);
        let addr = EndpointAddr::from_parts(
            key,
            addresses.chain(relay.into_iter().map(TransportAddr::Relay)),
        );
        if addr.is_empty() && !self.dials_by_lookup {
            return Err(ConnectError::NoAddress(to.node_id));
        }
        // The dialed side opens no streams, so the accept limits stay small here.
        let options = ConnectOptions::new()
            .with_transport_config(transport_config(DIALED_WINDOW, UNADMITTED_STREAMS));
        let dial = async {
            self.inner
                .connect_with_opts(addr, alpn, options)
                .await
                .map_err(|error| ConnectError::Failed(Box::new(error)))?
                .await
                .map_err(|error| ConnectError::Failed(Box::new(error)))
        };
        match tokio::time::timeout(deadline, dial).await {
            Ok(connection) => connection.map(Connection::new),
            Err(_) => Err(ConnectError::Timeout(deadline)),
        }
    }

    /// Waits until the endpoint has found its home relay; at once where there is none to find, and at
    /// most `limit`. Returns whether others can reach it through one.
    pub async fn relayed(&self, limit: Duration) -> bool {
        // Without a relay iroh waits for ever.
        self.has_relay
            && tokio::time::timeout(limit, self.inner.online())
                .await
                .is_ok()
    }

    /// Tells iroh that the network may have changed (after a suspend).
    pub async fn network_changed(&self) {
        self.inner.network_change().await;
    }

    /// Closes all connections and the sockets; takes up to three seconds.
    pub async fn close(&self) {
        self.inner.close().await;
    }

    pub(crate) fn iroh(&self) -> &iroh::Endpoint {
        &self.inner
    }
}

fn bind_sockets(
    builder: iroh::endpoint::Builder,
    bind: SocketAddr,
) -> Result<iroh::endpoint::Builder, BindError> {
    let address = |addr: SocketAddr| {
        move |source: iroh::endpoint::InvalidSocketAddr| BindError::Address {
            addr,
            source: Box::new(source),
        }
    };
    if bind.ip().is_unspecified() && bind.is_ipv4() {
        // The default IPv6 socket stays; iroh tolerates its absence.
        return builder.bind_addr(bind).map_err(address(bind));
    }
    builder
        .clear_ip_transports()
        .bind_addr(bind)
        .map_err(address(bind))
}

fn parse_urls(urls: &[String]) -> Result<Vec<RelayUrl>, BindError> {
    urls.iter()
        .map(|url| {
            url.parse()
                .map_err(|_| BindError::RelayUrl { url: url.clone() })
        })
        .collect()
}

fn transport_config(window: u32, streams: u32) -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(window))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IDLE_MS.into()))
        .default_path_max_idle_timeout(PATH_IDLE)
        .default_path_keep_alive_interval(PATH_KEEP_ALIVE)
        .datagram_receive_buffer_size(None)
        .build()
}
