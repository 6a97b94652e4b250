//! The accept loop of an endpoint: who may start a handshake, which protocol gets the connection.
//!
//! A handler that panics loses its own connection; the loop goes on. Nothing about certificates is
//! decided here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use homing_certs::ReasonCode;
use iroh::endpoint::{Incoming, IncomingAddr};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connection::Connection;
use crate::endpoint::Endpoint;

/// A handshake that takes longer is given up.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long handlers may take to end once the server stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Addresses whose buckets are remembered; the map is emptied of full buckets when it is full.
const MAX_BUCKETS: usize = 4_096;

/// Serves the connections of one ALPN.
pub trait Protocol: Send + Sync + 'static {
    /// The ALPN.
    fn alpn(&self) -> &'static [u8];

    /// Serves one connection until it ends or `shutdown` is cancelled.
    fn serve(
        self: Arc<Self>,
        connection: Connection,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()>;
}

/// What may be started before any certificate was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLimits {
    /// Handshakes that one address may start at once. Default 60.
    pub burst_per_address: u32,
    /// Handshakes per second that an address earns back. Default 2.
    pub rate_per_address: f64,
    /// Handshakes at once over all addresses. Default 600.
    pub burst: u32,
    /// Handshakes per second over all addresses. Default 200.
    pub rate: f64,
    /// Connections in all, admitted or not. Default 4,096.
    pub max_connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            burst_per_address: 60,
            rate_per_address: 2.0,
            burst: 600,
            rate: 200.0,
            max_connections: 4_096,
        }
    }
}

/// The accept loop.
pub struct Server {
    endpoint: Endpoint,
    protocols: Vec<Arc<dyn Protocol>>,
    limits: ServerLimits,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("endpoint", &self.endpoint.id())
            .finish_non_exhaustive()
    }
}

/// Why an accept loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Shutdown,
    /// The endpoint stopped accepting; it must be bound again.
    EndpointLost,
}

impl Server {
    /// A server of these protocols on this endpoint, which must have been bound with their ALPNs.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        protocols: Vec<Arc<dyn Protocol>>,
        limits: ServerLimits,
    ) -> Self {
        Self {
            endpoint,
            protocols,
            limits,
        }
    }

    /// Accepts until `shutdown`, then waits a bounded time for the handlers.
    pub async fn run(self, shutdown: CancellationToken) -> Ended {
        let protocols: Arc<[Arc<dyn Protocol>]> = self.protocols.into();
        let mut gate = Gate::new(self.limits.clone());
        let mut handlers = JoinSet::new();
        let ended = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ended::Shutdown,
                Some(done) = handlers.join_next(), if !handlers.is_empty() => {
                    if let Err(error) = done && error.is_panic() {
                        warn!("a connection's handler panicked; the others go on");
                    }
                }
                incoming = self.endpoint.iroh().accept() => {
                    let Some(incoming) = incoming else { break Ended::EndpointLost };
                    let full = handlers.len() >= self.limits.max_connections;
                    let Some(incoming) = gate.pass(incoming, full, Instant::now()) else { continue };
                    handlers.spawn(serve(incoming, protocols.clone(), shutdown.clone()));
                }
            }
        };
        let drain = async { while handlers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_DEADLINE, drain).await.is_err() {
            debug!("some connections did not end in time");
        }
        handlers.shutdown().await;
        ended
    }
}

async fn serve(
    incoming: Incoming,
    protocols: Arc<[Arc<dyn Protocol>]>,
    shutdown: CancellationToken,
) {
    let handshake = async {
        let accepting = incoming.accept().map_err(|error| error.to_string())?;
        accepting.await.map_err(|error| error.to_string())
    };
    let connection = match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await {
        Ok(Ok(connection)) => Connection::new(connection),
        Ok(Err(error)) => return debug!(%error, "a handshake failed"),
        Err(_) => return debug!("a handshake took too long"),
    };
    match protocols
        .iter()
        .find(|protocol| protocol.alpn() == connection.alpn())
    {
        Some(protocol) => protocol.clone().serve(connection, shutdown).await,
        // Cannot happen while the endpoint's ALPNs are those of its protocols.
        None => connection.refuse(ReasonCode::UpgradeRequired, None),
    }
}

/// Decides who may start a handshake.
struct Gate {
    limits: ServerLimits,
    all: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
}

impl Gate {
    fn new(limits: ServerLimits) -> Self {
        let all = Bucket {
            tokens: f64::from(limits.burst),
            at: None,
        };
        Self {
            limits,
            all,
            addresses: HashMap::new(),
        }
    }

    fn pass(&mut self, incoming: Incoming, full: bool, now: Instant) -> Option<Incoming> {
        let address = match incoming.remote_addr() {
            IncomingAddr::Ip(addr) => Some(addr.ip()),
            _ => None,
        };
        let burst = f64::from(self.limits.burst);
        // The address first: one that floods must not drain what all others share.
        let allowed = !full
            && address.is_none_or(|ip| self.take_address(ip, now))
            && self.all.take(burst, self.limits.rate, now);
        if allowed {
            return Some(incoming);
        }
        // An address that was not validated may be forged: it must first prove that it can receive.
        if !full && address.is_some() && !incoming.remote_addr_validated() {
            let _ = incoming.retry();
        } else {
            incoming.refuse();
        }
        None
    }

    fn take_address(&mut self, ip: IpAddr, now: Instant) -> bool {
        let burst = f64::from(self.limits.burst_per_address);
        let rate = self.limits.rate_per_address;
        if self.addresses.len() >= MAX_BUCKETS && !self.addresses.contains_key(&ip) {
            self.addresses
                .retain(|_, bucket| !bucket.is_full(burst, rate, now));
            if self.addresses.len() >= MAX_BUCKETS {
                return false;
            }
        }
        let bucket = self.addresses.entry(ip).or_insert(Bucket {
            tokens: burst,
            at: None,
        });
        bucket.take(burst, rate, now)
    }
}

/// A token bucket whose clock is an argument.
#[derive(Debug, Clone)]
struct Bucket {
    tokens: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn refill(&self, burst: f64, rate: f64, now: Instant) -> f64 {
        let since = self
            .at
            .map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        (self.tokens + since * rate).min(burst)
    }

    fn take(&mut self, burst: f64, rate: f64, now: Instant) -> bool {
        self.tokens = self.refill(burst, rate, now);
        self.at = Some(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    fn is_full(&self, burst: f64, rate: f64, now: Instant) -> bool {
        self.refill(burst, rate, now) >= burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_burst_and_then_its_rate() {
        let mut bucket = Bucket {
            tokens: 3.0,
            at: None,
        };
        let start = Instant::now();
        let taken = (0..5).filter(|_| bucket.take(3.0, 2.0, start)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(3.0, 2.0, start + Duration::from_millis(400)));
        assert!(bucket.take(3.0, 2.0, start + Duration::from_millis(600)));
        assert!(bucket.is_full(3.0, 2.0, start + Duration::from_secs(10)));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_map_without_end() {
        let mut gate = Gate::new(ServerLimits::default());
        let now = Instant::now();
        for n in 0..(MAX_BUCKETS as u32 + 100) {
            gate.take_address(IpAddr::V4(n.into()), now);
        }
        assert!(gate.addresses.len() <= MAX_BUCKETS);
        assert!(gate.take_address(
            IpAddr::V4(0xffff_ffffu32.into()),
            now + Duration::from_secs(60)
        ));
    }
}
