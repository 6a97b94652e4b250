//! Raw iroh: the library that ours stands on, without certificates, HTTP or a proxy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use iroh::endpoint::{Connection, NetReportConfig, PortmapperConfig, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, TransportAddr};
use serde_json::{Value, json};

use crate::child::Child;
use crate::lab::Place;
use crate::load::raw;
use crate::stats::Samples;

const ALPN: &[u8] = b"homing-bench/raw";

/// A running far end and a connection to it.
#[derive(Debug)]
pub(crate) struct Raw {
    endpoint: Endpoint,
    connection: Connection,
    to: EndpointAddr,
    pub(crate) far: Child,
}

pub(crate) async fn start(place: &Place) -> Result<Raw> {
    let far = Child::role("iroh", &[], &place.file("iroh.log")).await?;
    let to = addr(&far.ready)?;
    let endpoint = bind(&[]).await?;
    let connection = endpoint
        .connect(to.clone(), ALPN)
        .await
        .context("dialing raw iroh")?;
    Ok(Raw {
        endpoint,
        connection,
        to,
        far,
    })
}

impl Raw {
    pub(crate) async fn ping_pong(&self, time: Duration) -> Result<Samples> {
        let (send, receive) = self.connection.open_bi().await?;
        raw::ping_pong(send, receive, time).await
    }

    pub(crate) async fn download(&self, size: u64) -> Result<f64> {
        let (send, receive) = self.connection.open_bi().await?;
        raw::download(send, receive, size).await
    }

    pub(crate) async fn upload(&self, size: u64) -> Result<f64> {
        let (send, receive) = self.connection.open_bi().await?;
        raw::upload(send, receive, size).await
    }

    /// Dials `count` times, one after the other, until an echo has come back.
    pub(crate) async fn dials(&self, count: usize) -> Result<Samples> {
        let mut samples = Samples::default();
        for _ in 0..count {
            let before = Instant::now();
            let connection = self.endpoint.connect(self.to.clone(), ALPN).await?;
            samples.push(before.elapsed());
            connection.close(0_u32.into(), b"");
        }
        Ok(samples)
    }

    pub(crate) async fn stop(self) {
        self.connection.close(0_u32.into(), b"");
        self.endpoint.close().await;
        self.far.stop().await;
    }
}

/// The far end.
pub(crate) async fn serve() -> Result<()> {
    let endpoint = bind(&[ALPN]).await?;
    crate::role::ready(&place_of(&endpoint)?)?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else {
                return;
            };
            while let Ok((send, receive)) = connection.accept_bi().await {
                tokio::spawn(raw::serve(send, receive));
            }
        });
    }
    Ok(())
}

/// An endpoint on loopback that contacts nobody.
pub(crate) async fn bind(alpns: &[&[u8]]) -> Result<Endpoint> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .alpns(alpns.iter().map(|alpn| alpn.to_vec()).collect())
        .clear_ip_transports()
        .bind_addr(local)?
        .bind()
        .await
        .context("binding an iroh endpoint")
}

/// The ready line of an endpoint.
pub(crate) fn place_of(endpoint: &Endpoint) -> Result<Value> {
    let address = endpoint
        .bound_sockets()
        .into_iter()
        .next()
        .context("no socket")?;
    Ok(json!({ "id": endpoint.id().to_string(), "address": address }))
}

/// The address of a ready line.
pub(crate) fn addr(ready: &Value) -> Result<EndpointAddr> {
    let text = |field: &str| {
        ready
            .get(field)
            .and_then(Value::as_str)
            .context("a ready line")
    };
    let id: PublicKey = text("id")?.parse().context("an endpoint's id")?;
    let address: SocketAddr = text("address")?.parse()?;
    Ok(EndpointAddr::from_parts(id, [TransportAddr::Ip(address)]))
}
