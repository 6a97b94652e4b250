//! One large transfer through HTTP, each way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use super::http::Client;
use super::requests::get;

/// A transfer that takes longer has got stuck: 512 MiB at 5 MiB/s.
const LIMIT: Duration = Duration::from_secs(100);

/// How an upload is addressed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Upload {
    /// `PUT /api/files/bench.bin`: the far end writes a file.
    File,
    /// `POST /api/sink`: the far end drops the bytes.
    Sink,
}

/// Fetches `size` bytes; MiB a second.
pub(crate) async fn download(address: SocketAddr, size: u64) -> Result<f64> {
    let request = get(address, &format!("/api/blob?bytes={size}"));
    let mut client = Client::connect(address).await?;
    let start = Instant::now();
    let got = timeout(LIMIT, client.exchange(&request))
        .await
        .context("a download got stuck")??;
    ensure!(got == size, "a download of {size} bytes brought {got}");
    Ok(rate(size, start.elapsed()))
}

/// Sends `size` bytes; MiB a second until the answer.
pub(crate) async fn upload(address: SocketAddr, size: u64, target: Upload) -> Result<f64> {
    let (method, path) = match target {
        Upload::File => ("PUT", "/api/files/bench.bin"),
        Upload::Sink => ("POST", "/api/sink"),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/octet-stream\r\n\
         content-length: {size}\r\n\r\n"
    );
    let mut client = Client::connect(address).await?;
    let start = Instant::now();
    let sent = client.upload(head.as_bytes(), size);
    timeout(LIMIT, sent)
        .await
        .context("an upload got stuck")??;
    Ok(rate(size, start.elapsed()))
}

/// MiB a second.
pub(crate) fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / (1024.0 * 1024.0) / time.as_secs_f64()
}
