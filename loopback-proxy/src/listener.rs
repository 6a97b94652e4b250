//! Accepting: the TCP and Unix listeners, who connects, the rate and the number of connections.
//! A connection that passes is handed on; one that does not is answered and closed unread.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::client::Client;
use crate::forward::{Connection, Entry, Service};
use crate::rate::RateLimit;
use crate::refusal::Refusal;
use crate::upstream::Upstream;

/// Refusals a second that are told to other users of the machine; beyond it their connections are
/// closed without a word. They draw on nothing that our own user's connections need.
const FOREIGN_ANSWERS_PER_SECOND: u32 = 100;

/// After a failed accept, most likely for want of file descriptors: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts that may fail in a row, half a minute of pauses, before the listener is given up.
const MAX_FAILED_ACCEPTS: u32 = 600;

pub(crate) struct Listeners {
    pub(crate) tcp: TcpListener,
    pub(crate) tcp_v6: Option<TcpListener>,
    pub(crate) unix: Option<UnixListener>,
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

pub(crate) struct Acceptor<U: Upstream> {
    listeners: Listeners,
    service: Arc<Service<U>>,
    /// The user of a TCP client is looked up.
    checks_owner: bool,
    rate: RateLimit,
    foreign_rate: RateLimit,
    failed: u32,
}

impl<U: Upstream> Acceptor<U> {
    pub(crate) fn new(
        listeners: Listeners,
        service: Arc<Service<U>>,
        checks_owner: bool,
        now: Instant,
    ) -> Self {
        let limits = &service.limits;
        Self {
            rate: RateLimit::new(limits.accepts_per_second, limits.accept_burst, now),
            foreign_rate: RateLimit::new(
                FOREIGN_ANSWERS_PER_SECOND,
                FOREIGN_ANSWERS_PER_SECOND,
                now,
            ),
            listeners,
            service,
            checks_owner,
            failed: 0,
        }
    }

    /// Accepts one connection, while `open` others are served. `None` is one that was refused.
    /// Cancelling it loses none. An error is final.
    pub(crate) async fn accept(&mut self, open: usize) -> io::Result<Option<Connection<U>>> {
        match self.listeners.next().await {
            Ok(accepted) => {
                self.failed = 0;
                Ok(self.take(accepted, open))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
            Err(error) => {
                self.failed += 1;
                if self.failed == 1 {
                    tracing::warn!(%error, "the proxy cannot accept connections for the moment");
                }
                if self.failed > MAX_FAILED_ACCEPTS {
                    return Err(error);
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                Ok(None)
            }
        }
    }

    fn take(&mut self, accepted: Accepted, open: usize) -> Option<Connection<U>> {
        self.service.counters.count_accepted();
        let (entry, client) = match accepted {
            Accepted::Tcp(stream, peer) => {
                let local = self.admit_tcp(&stream, peer, open)?;
                (Entry::Tcp { peer, local }, Client::tcp(stream))
            }
            Accepted::Unix(stream) => {
                if !self.admit_unix(&stream, open) {
                    return None;
                }
                (Entry::Unix, Client::unix(stream))
            }
        };
        Some(Connection::new(Arc::clone(&self.service), entry, client))
    }

    /// Our own address of a connection that may be served.
    fn admit_tcp(
        &mut self,
        stream: &TcpStream,
        peer: SocketAddr,
        open: usize,
    ) -> Option<SocketAddr> {
        // Gone already.
        let local = stream.local_addr().ok()?;
        if self.checks_owner
            && let Err(why) = self.service.owners.check(peer, local)
        {
            tracing::debug!(%peer, %why, "a connection is refused");
            self.refuse_foreign(stream);
            return None;
        }
        if let Some(refusal) = self.over_limit(open) {
            self.refuse(stream, refusal);
            return None;
        }
        // Small answers must not wait for the acknowledgement of the last one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        Some(local)
    }

    fn admit_unix(&mut self, stream: &UnixStream, open: usize) -> bool {
        let uid = rustix::process::geteuid().as_raw();
        if self.service.unix_rules.enabled
            && !stream.peer_cred().is_ok_and(|peer| peer.uid() == uid)
        {
            self.refuse_foreign(stream);
            return false;
        }
        match self.over_limit(open) {
            Some(refusal) => {
                self.refuse(stream, refusal);
                false
            }
            None => true,
        }
    }

    fn over_limit(&mut self, open: usize) -> Option<Refusal> {
        if !self.rate.allow(Instant::now()) {
            Some(Refusal::RateLimited)
        } else if open >= self.service.limits.max_connections {
            Some(Refusal::TooManyConnections)
        } else {
            None
        }
    }

    fn refuse_foreign(&mut self, stream: &impl std::os::fd::AsFd) {
        if self.foreign_rate.allow(Instant::now()) {
            self.refuse(stream, Refusal::NotOurUser);
        } else {
            self.service
                .counters
                .count_refusal(Refusal::NotOurUser.reason());
        }
    }

    /// Answers without reading. A new socket takes these few bytes at once, so nothing waits.
    fn refuse(&self, stream: &impl std::os::fd::AsFd, refusal: Refusal) {
        self.service.counters.count_refusal(refusal.reason());
        let answer = refusal.reply().render(false);
        if let Err(error) = send(stream, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            tracing::debug!(%error, "a refusal was not heard");
        }
    }
}

impl Listeners {
    async fn next(&self) -> io::Result<Accepted> {
        let tcp_v6 = async {
            match &self.tcp_v6 {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        let unix = async {
            match &self.unix {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            accepted = self.tcp.accept() => accepted.map(|(s, peer)| Accepted::Tcp(s, peer)),
            accepted = tcp_v6 => accepted.map(|(s, peer)| Accepted::Tcp(s, peer)),
            accepted = unix => accepted.map(|(s, _)| Accepted::Unix(s)),
        }
    }
}
