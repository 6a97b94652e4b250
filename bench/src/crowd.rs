//! Many devices in one process: each has a key, a certificate, a connection to the agent and a
//! loopback proxy of its own, as the product makes them. A process for each would measure the
//! machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use homing_certs::{NodeId, Ticket};
use homing_loopback_proxy::Proxy;
use homing_protocol::ErrorBody;
use homing_protocol::gateway::Reach;
use homing_transport::credentials::Credentials;
use homing_transport::dial::DialError;
use homing_transport::enrolling::{Enrolled, Enrolling, Introduction, Outcome};
use homing_transport::pool::{Home, Pool};
use homing_transport::{Endpoint, PathReport, Trust};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{mapping, network};

/// Keys of these devices are none of the other rows'.
const FIRST: u32 = 200_000;

/// Enrols a device for each line of `tickets` and serves a proxy for each until stdin ends. The devices
/// are numbered from `first`.
pub(crate) async fn serve(tickets: &Path, dir: &Path, first: u32) -> Result<()> {
    let tickets = std::fs::read_to_string(tickets).context("the tickets")?;
    let mut serving = JoinSet::new();
    let mut addresses = Vec::new();
    for (number, ticket) in (first..).zip(tickets.lines()) {
        let dir = dir.join(format!("device-{number}"));
        addresses.push(device(number, ticket, &dir, &mut serving).await?);
    }
    crate::role::ready(&json!({ "addresses": addresses }))?;
    match serving.join_next().await {
        Some(ended) => ended.context("a device")?,
        None => bail!("there are no tickets"),
    }
}

async fn device(
    number: u32,
    ticket: &str,
    dir: &Path,
    serving: &mut JoinSet<Result<()>>,
) -> Result<SocketAddr> {
    let endpoint = network::endpoint(network::device(FIRST + number)).await?;
    let enrolled = enrol(&endpoint, ticket).await?;
    let agent = enrolled.enrollment.agents.first().cloned();
    let agent = agent.context("the network has no agent")?.reach;
    let floor = enrolled.certificate.certificate().issued_at;
    let trust = Arc::new(Trust::new(enrolled.trust, floor));
    let credentials = Credentials::new(enrolled.certificate, trust, "bench".to_owned());
    let (pool, driver) = Pool::new(endpoint, agent, Arc::new(credentials), Arc::new(Nowhere));
    std::fs::create_dir_all(dir)?;
    let proxy = Proxy::bind(mapping::proxy_config(dir, true), Arc::new(pool)).await?;
    let address = proxy.address();
    serving.spawn(driver.run(CancellationToken::new()).map(Ok));
    serving.spawn(async move { Ok(proxy.run(CancellationToken::new()).await?) });
    Ok(address)
}

async fn enrol(endpoint: &Endpoint, ticket: &str) -> Result<Enrolled> {
    let ticket = Ticket::decode(ticket).context("the ticket")?;
    let mut enrolling = Enrolling::start(endpoint, ticket, Introduction::default()).await?;
    match enrolling.answer(endpoint, false).await? {
        Outcome::Enrolled(enrolled) => Ok(*enrolled),
        Outcome::Pending { .. } => bail!("the device waits for approval"),
    }
}

/// Nothing is kept, and nothing changes while the bench runs.
struct Nowhere;

impl Home for Nowhere {
    fn renew(&self) -> BoxFuture<'_, Result<(), ErrorBody>> {
        async { Err(ErrorBody::new("bench", "certificates are not renewed", "")) }.boxed()
    }

    fn locate(&self, _agent: NodeId) -> BoxFuture<'_, Result<Option<Reach>, DialError>> {
        async { Ok(None) }.boxed()
    }

    fn reached(&self, _agent: NodeId, _path: Option<PathReport>) {}

    fn proof(&self, _node_id: NodeId) -> BoxFuture<'_, Result<Option<Vec<u8>>, DialError>> {
        async { Ok(None) }.boxed()
    }
}
