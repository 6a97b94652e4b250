//! The device's half of a running process: endpoint, pool, loopback proxy, renewal.

use std::sync::Arc;

use anyhow::Context;
use homing_loopback_proxy::{
    BindError, Counters, LoopbackAddr, Proxy, ProxyAuth, ProxyConfig, ProxyLimits,
};
use homing_protocol::control::AgentInfo;
use homing_transport::pool::{Link, Pool, PoolDriver};
use homing_transport::renewing;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ProxyAuthSetting};
use crate::data_dir::DataDir;
use crate::device::{Device, notices};
use crate::failure::Failure;
use crate::output::Output;

/// Bound, not yet running.
pub(crate) struct DeviceSide {
    pub(crate) device: Arc<Device>,
    pub(crate) agent: AgentInfo,
    pub(crate) pool: Pool,
    pub(crate) proxy_url: String,
    pub(crate) proxy_port: u16,
    counters: Arc<Counters>,
    driver: PoolDriver,
    proxy: Proxy<Pool>,
}

/// What `status` says of it.
#[derive(Clone)]
pub(crate) struct DeviceStatus {
    device: Arc<Device>,
    pool: Pool,
    agent: AgentInfo,
    proxy_url: String,
    counters: Arc<Counters>,
}

impl DeviceSide {
    /// Binds the proxy and prepares the connection to the agent.
    pub(crate) async fn bind(
        dir: &DataDir,
        config: &Config,
        device: Arc<Device>,
        agent: AgentInfo,
    ) -> anyhow::Result<Self> {
        let (pool, driver) = Pool::new(
            device.endpoint().clone(),
            agent.reach.clone(),
            device.credentials().clone(),
            device.clone(),
        );
        let proxy_config = ProxyConfig {
            bind: LoopbackAddr::v4(config.proxy.port),
            also_v6: config.proxy.ipv6,
            unix_socket: Some(dir.run().join("proxy.sock")),
            // Programs that the agent starts cannot be kept from a socket's path, but from the token.
            unix_needs_token: dir.has_agent(),
            token_file: dir.run().join("proxy.token"),
            auth: match config.proxy.auth {
                ProxyAuthSetting::SameUser => ProxyAuth::SameUser,
                ProxyAuthSetting::Token => ProxyAuth::Token,
            },
            limits: ProxyLimits {
                accepts_per_second: config.limits.proxy_connections_per_second,
                accept_burst: config.limits.proxy_connections_per_second.saturating_mul(2),
                ..ProxyLimits::default()
            },
            guard: true,
        };
        let proxy = Proxy::bind(proxy_config, Arc::new(pool.clone()))
            .await
            .map_err(bind_failure)?;
        let (proxy_url, counters) = (proxy.url(), proxy.counters());
        let proxy_port = proxy.address().port();
        Ok(Self {
            device,
            agent,
            pool,
            proxy_url,
            proxy_port,
            counters,
            driver,
            proxy,
        })
    }

    pub(crate) fn status(&self) -> DeviceStatus {
        DeviceStatus {
            device: self.device.clone(),
            pool: self.pool.clone(),
            agent: self.agent.clone(),
            proxy_url: self.proxy_url.clone(),
            counters: self.counters.clone(),
        }
    }

    /// Runs until `shutdown`; the connection to the agent outlives the proxy's last request.
    pub(crate) async fn run(
        self,
        output: Output,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let connection = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(self.driver.run(connection.clone()));
        let jitter = self.device.endpoint().id().as_bytes()[0];
        tasks.spawn(renewing::run(
            self.device.control().clone(),
            self.device.credentials().clone(),
            self.device.keep(),
            jitter,
            connection.clone(),
        ));
        tasks.spawn(notices::tell(
            self.device.clone(),
            output,
            connection.clone(),
        ));
        let served = self.proxy.run(shutdown).await;
        connection.cancel();
        while tasks.join_next().await.is_some() {}
        self.device.control().close().await;
        served.context("the loopback proxy stopped")
    }
}

impl DeviceStatus {
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// One document for `homing status`.
    pub(crate) fn document(&self) -> Value {
        let credentials = self.device.credentials();
        let certificate = credentials.certificate();
        let certificate = certificate.certificate();
        let (link, path) = match self.pool.link() {
            Link::Connecting => ("connecting".to_owned(), None),
            Link::Live { connection, .. } => ("connected".to_owned(), connection.path()),
            Link::Down { error, .. } | Link::Stopped(error) => (error.code, None),
        };
        let now = credentials.trust().now();
        json!({
            "device": self.device.network().device,
            "node_id": self.device.endpoint().id().to_string(),
            "user": certificate.handle.to_string(),
            "role": certificate.role.to_string(),
            "certificate_expires_at": crate::output::rfc3339(certificate.not_after.0),
            "certificate_warning_days": renewing::warning_days(certificate, now),
            "agent": self.agent.agent,
            "agent_node_id": self.agent.reach.node_id.to_string(),
            "link": link,
            "path": path.as_ref().map(|path| path.kind.as_str()),
            "remote_addr": path.as_ref().map(|path| path.remote.clone()),
            "rtt_ms": path.as_ref().map(|path| path.rtt.as_secs_f64() * 1_000.0),
            "proxy_url": self.proxy_url,
            "proxy": self.counters.snapshot(),
            "sockets": self.device.endpoint().bound_sockets(),
        })
    }
}

fn bind_failure(error: BindError) -> anyhow::Error {
    match &error {
        BindError::PortTaken { address, .. } => Failure::new(
            "port_taken",
            format!("another program listens on {address}"),
            "choose another port with --port, or --port 0 for a free one",
        )
        .into(),
        _ => anyhow::Error::new(error).context("the loopback proxy could not be bound"),
    }
}
