//! Small GETs: latency on one connection, throughput on many, a new connection for each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::http::Client;
use crate::stats::Samples;

/// Requests on a new connection before any is counted.
const WARM_UP: usize = 50;
/// A measurement that takes longer has got stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// One load run: what every operation took, and operations a second.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) samples: Samples,
    pub(crate) per_second: f64,
}

/// A GET of `path` as every system is asked.
pub(crate) fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\n\r\n").into_bytes()
}

/// `connections` kept-alive connections ask without a pause for `time`.
pub(crate) async fn keep_alive(
    address: SocketAddr,
    path: &str,
    connections: usize,
    time: Duration,
) -> Result<Run> {
    let request = get(address, path);
    let work = async {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let mut client = Client::connect_small(address).await?;
            for _ in 0..WARM_UP.div_ceil(connections) {
                client.exchange(&request).await?;
            }
            clients.push(client);
        }
        let start = Instant::now();
        let end = start + time;
        let asking = clients.into_iter().map(|mut client| {
            let request = &request;
            async move {
                let mut samples = Samples::default();
                while Instant::now() < end {
                    let before = Instant::now();
                    client.exchange(request).await?;
                    samples.push(before.elapsed());
                }
                anyhow::Ok(samples)
            }
        });
        finish(start, try_join_all(asking).await?)
    };
    timeout(LIMIT, work)
        .await
        .context("requests on kept-alive connections got stuck")?
}

/// `count` requests, each on a connection of its own, `parallel` at once.
pub(crate) async fn new_connections(
    address: SocketAddr,
    path: &str,
    parallel: usize,
    count: usize,
) -> Result<Run> {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").into_bytes();
    let each = count.div_ceil(parallel);
    let work = async {
        let start = Instant::now();
        let asking = (0..parallel).map(|_| {
            let request = &request;
            async move {
                let mut samples = Samples::default();
                for _ in 0..each {
                    let before = Instant::now();
                    Client::connect_small(address)
                        .await?
                        .exchange(request)
                        .await?;
                    samples.push(before.elapsed());
                }
                anyhow::Ok(samples)
            }
        });
        finish(start, try_join_all(asking).await?)
    };
    timeout(LIMIT, work)
        .await
        .context("requests on new connections got stuck")?
}

fn finish(start: Instant, parts: Vec<Samples>) -> Result<Run> {
    let elapsed = start.elapsed();
    let mut samples = Samples::default();
    parts.into_iter().for_each(|part| samples.append(part));
    let per_second = samples.len() as f64 / elapsed.as_secs_f64();
    Ok(Run {
        samples,
        per_second,
    })
}
