//! The proxy as a service: `bind`, `run`, and the orderly end. It owns the token file and the
//! socket file for the time of its run.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::address::LoopbackAddr;
use crate::counters::Counters;
use crate::forward::Service;
use crate::guard::Rules;
use crate::limits::ProxyLimits;
use crate::listener::{Acceptor, Listeners};
use crate::owner::Owners;
use crate::token::{Token, TokenError};
use crate::unix_socket::{self, UnixSocketError};
use crate::upstream::Upstream;

/// The port that a `Host` may leave out.
const HTTP_PORT: u16 = 80;

/// How often another free port is asked for when IPv4's is taken on IPv6.
const FREE_PORT_TRIES: u32 = 8;

/// Who may use the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyAuth {
    /// Every program of the user who started it. Where the system does not tell whose a TCP
    /// connection is, the token is required there.
    #[default]
    SameUser,
    /// Whoever presents the token.
    Token,
}

/// What a proxy is started with.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// The TCP address; port 0 asks the system for a free one.
    pub bind: LoopbackAddr,
    /// Listen on `[::1]` with the same port as well, so that nobody else can be `localhost` there.
    pub also_v6: bool,
    /// The path of the Unix socket, in a directory of this user alone.
    pub unix_socket: Option<PathBuf>,
    /// Whether the Unix socket needs the token whatever `auth` says: where programs are confined that
    /// can reach a socket by its path, but not read the token file.
    pub unix_needs_token: bool,
    /// Where the token of this run is written.
    pub token_file: PathBuf,
    /// Who may use the proxy.
    pub auth: ProxyAuth,
    /// What it allows.
    pub limits: ProxyLimits,
    /// Off for tests and measurements alone: then anybody may connect and every head passes.
    pub guard: bool,
}

/// A bound proxy.
pub struct Proxy<U: Upstream> {
    address: SocketAddr,
    service: Arc<Service<U>>,
    acceptor: Acceptor<U>,
    token_file: PathBuf,
    unix_socket: Option<PathBuf>,
}

impl<U: Upstream> Proxy<U> {
    /// Binds every listener and writes the token file. Nothing is accepted before [`Self::run`].
    pub async fn bind(config: ProxyConfig, upstream: Arc<U>) -> Result<Self, BindError> {
        let (tcp, tcp_v6, address) = bind_tcp(&config).await?;
        let unix = config
            .unix_socket
            .as_deref()
            .map(unix_socket::bind)
            .transpose()?;
        let token = Token::generate()?;
        token.write(&config.token_file)?;

        let owners = Owners::probe();
        let by_token = config.auth == ProxyAuth::Token;
        if !by_token && !owners.can_tell() {
            tracing::warn!(
                "this system does not tell whose a connection is: the token is required"
            );
        }
        let checks_owner = config.guard && !by_token && owners.can_tell();
        let rules = |unix: bool, token_required: bool| Rules {
            authorities: authorities(address, unix),
            token_required,
            enabled: config.guard,
        };
        let service = Arc::new(Service {
            upstream,
            counters: Arc::new(Counters::default()),
            token,
            limits: config.limits,
            tcp_rules: rules(false, by_token || !owners.can_tell()),
            unix_rules: rules(true, by_token || config.unix_needs_token),
            owners,
            drain: CancellationToken::new(),
        });
        let listeners = Listeners { tcp, tcp_v6, unix };
        let acceptor = Acceptor::new(
            listeners,
            Arc::clone(&service),
            checks_owner,
            Instant::now(),
        );
        let (token_file, unix_socket) = (config.token_file, config.unix_socket);
        Ok(Self {
            address,
            service,
            acceptor,
            token_file,
            unix_socket,
        })
    }

    /// What a client is given: `http://127.0.0.1:7070`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The TCP address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The live counters, which outlast the proxy.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.service.counters)
    }

    /// Serves until `shutdown`; then requests in flight have the drain deadline to complete, while
    /// upgraded and event streams end at once.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self {
            address,
            service,
            mut acceptor,
            token_file,
            unix_socket,
        } = self;
        tracing::info!(%address, "the proxy listens");
        let mut connections = JoinSet::new();
        let mut result = Ok(());
        let stop = shutdown.cancelled();
        tokio::pin!(stop);
        loop {
            let open = connections.len();
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => note(ended),
                accepted = acceptor.accept(open) => match accepted {
                    Ok(Some(connection)) => drop(connections.spawn(connection.run())),
                    Ok(None) => {}
                    Err(source) => {
                        result = Err(RunError::Accept { address, source });
                        break;
                    }
                },
            }
        }
        drop(acceptor);
        service.drain.cancel();
        let drained = timeout(service.limits.drain_timeout, async {
            while let Some(ended) = connections.join_next().await {
                note(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                open = connections.len(),
                "requests did not end in time and are reset"
            );
            connections.shutdown().await;
        }
        service.token.remove(&token_file);
        if let Some(path) = unix_socket
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "the socket file stays behind");
        }
        result
    }
}

impl<U: Upstream> fmt::Debug for Proxy<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The TCP listeners. On a machine without IPv6 nobody can be `localhost` there, so its absence is no
/// error; somebody else who is there is one.
async fn bind_tcp(
    config: &ProxyConfig,
) -> Result<(TcpListener, Option<TcpListener>, SocketAddr), BindError> {
    let mut tries = FREE_PORT_TRIES;
    loop {
        tries -= 1;
        let tcp = listen(config.bind).await?;
        let address = tcp.local_addr().map_err(|source| BindError::Listen {
            address: config.bind.socket_addr(),
            source,
        })?;
        if !config.also_v6 || !address.is_ipv4() {
            return Ok((tcp, None, address));
        }
        match listen(LoopbackAddr::v6(address.port())).await {
            Ok(tcp_v6) => return Ok((tcp, Some(tcp_v6), address)),
            Err(BindError::Listen { source, .. }) if no_ipv6(&source) => {
                return Ok((tcp, None, address));
            }
            // A port that the system chose for IPv4 may be taken on IPv6: another one, then.
            Err(BindError::PortTaken { .. })
                if config.bind.socket_addr().port() == 0 && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

async fn listen(address: LoopbackAddr) -> Result<TcpListener, BindError> {
    let address = address.socket_addr();
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::PortTaken { address, source },
            _ => BindError::Listen { address, source },
        })
}

/// A panic in one connection broke that connection off and is a bug; the others go on.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// The values of `Host` that name this proxy.
fn authorities(address: SocketAddr, unix: bool) -> Vec<String> {
    let port = address.port();
    let mut names = vec![
        address.to_string(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ];
    if port == HTTP_PORT {
        names.extend([
            address.ip().to_string(),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ]);
    }
    if unix {
        names.push("localhost".to_owned());
    }
    names.dedup();
    names
}

/// The proxy could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else has the port.
    #[error(
        "{address} is already in use; stop the program that has it (`ss -ltnp` shows it), or choose another port"
    )]
    PortTaken {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused to listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The Unix socket.
    #[error("the proxy's Unix socket could not be made")]
    UnixSocket(#[from] UnixSocketError),
    /// The token file.
    #[error("the proxy's token could not be made")]
    Token(#[from] TokenError),
}

/// The proxy ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Accepting failed again and again.
    #[error(
        "the proxy on {address} could not accept connections any more; check the limit of open files (`ulimit -n`)"
    )]
    Accept {
        /// The TCP address.
        address: SocketAddr,
        /// The last failure.
        source: io::Error,
    },
}
