//! A running proxy in front of an agent, and waiting for what it does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homing_loopback_proxy::{
    Counters, CountersSnapshot, LoopbackAddr, Proxy, ProxyAuth, ProxyConfig, ProxyLimits, RunError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::{TcpUpstream, hyper_agent};

/// For anything that a test waits for on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) upstream: Arc<TcpUpstream>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
    counters: Arc<Counters>,
}

pub(crate) fn config(dir: &tempfile::TempDir) -> ProxyConfig {
    ProxyConfig {
        bind: LoopbackAddr::v4(0),
        also_v6: false,
        unix_socket: Some(dir.path().join("run").join("proxy.sock")),
        unix_needs_token: false,
        token_file: dir.path().join("proxy.token"),
        auth: ProxyAuth::SameUser,
        limits: ProxyLimits::default(),
        guard: true,
    }
}

/// A proxy in front of the hyper agent.
pub(crate) async fn start(change: impl FnOnce(&mut ProxyConfig)) -> Running {
    start_before(hyper_agent().await, change).await
}

pub(crate) async fn start_before(
    agent: SocketAddr,
    change: impl FnOnce(&mut ProxyConfig),
) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    change(&mut config);
    let upstream = TcpUpstream::new(agent);
    let proxy = Proxy::bind(config, Arc::clone(&upstream)).await.unwrap();
    let shutdown = CancellationToken::new();
    Running {
        url: proxy.url(),
        address: proxy.address(),
        dir,
        upstream,
        counters: proxy.counters(),
        task: tokio::spawn(proxy.run(shutdown.clone())),
        shutdown,
    }
}

impl Running {
    pub(crate) fn counters(&self) -> CountersSnapshot {
        self.counters.snapshot()
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run").join("proxy.sock")
    }

    pub(crate) fn token(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("proxy.token")).unwrap();
        text.trim_end().to_owned()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a new connection and returns everything that comes back until its end.
    /// `HOST` stands for the proxy's own address.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        let text = replace(bytes.as_ref(), b"HOST", self.authority().as_bytes());
        // A refusal may come before everything is sent.
        let _ = stream.write_all(&text).await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        if let Err(error) = read.expect("the connection was not ended") {
            answer.extend_from_slice(format!("<{:?}>", error.kind()).as_bytes());
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits until the counters are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&CountersSnapshot) -> bool) {
        until(what, || wanted(&self.counters())).await;
    }
}

pub(crate) async fn until(what: &str, wanted: impl Fn() -> bool) {
    let start = Instant::now();
    while !wanted() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}
