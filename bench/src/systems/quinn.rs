//! Raw quinn: QUIC without iroh's paths and keys, from which iroh's own QUIC was forked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig};
use serde_json::{Value, json};

use crate::child::Child;
use crate::lab::Place;
use crate::load::raw;
use crate::stats::Samples;

const NAME: &str = "localhost";
/// As iroh's. Without it the connection is given up while others are measured.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A running far end and a connection to it.
#[derive(Debug)]
pub(crate) struct Raw {
    connection: Connection,
    endpoint: Endpoint,
    pub(crate) far: Child,
}

pub(crate) async fn start(place: &Place) -> Result<Raw> {
    let far = Child::role("quinn", &[], &place.file("quinn.log")).await?;
    let certificate: Vec<u8> = far
        .ready
        .get("certificate")
        .and_then(Value::as_array)
        .context("a ready line")?
        .iter()
        .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
        .collect();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate))?;
    let mut endpoint = Endpoint::client(loopback())?;
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    let connection = endpoint
        .connect(super::address(&far)?, NAME)?
        .await
        .context("dialing raw quinn")?;
    Ok(Raw {
        connection,
        endpoint,
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

    pub(crate) async fn stop(self) {
        self.connection.close(0_u32.into(), b"");
        self.endpoint.wait_idle().await;
        self.far.stop().await;
    }
}

/// The far end, with a certificate of its own making.
pub(crate) async fn serve() -> Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|text| anyhow::anyhow!("the certificate's key: {text}"))?;
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key)?;
    let endpoint = Endpoint::server(config, loopback())?;
    crate::role::ready(&json!({
        "address": endpoint.local_addr()?,
        "certificate": certificate.as_ref(),
    }))?;
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

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
