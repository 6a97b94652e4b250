//! A WebSocket that asks and waits, over and over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::stats::Samples;

/// The question, padded to 64 bytes; unknown fields are ignored by the agent.
pub(crate) const PING: &str = r#"{"type":"ping"                                                 }"#;
/// Exchanges before any is counted.
const WARM_UP: usize = 50;
/// A measurement that takes longer has got stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// Opens `/ws`.
pub(crate) async fn connect(address: SocketAddr) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(address)
        .await
        .context("connecting for a WebSocket")?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/ws");
    let opened = timeout(LIMIT, tokio_tungstenite::client_async(url, stream)).await;
    let (socket, _) = opened
        .context("a WebSocket got stuck")?
        .context("opening a WebSocket")?;
    Ok(socket)
}

/// Pings for `time`, one at a time.
pub(crate) async fn echo(address: SocketAddr, time: Duration) -> Result<Samples> {
    let work = async {
        let mut socket = connect(address).await?;
        for _ in 0..WARM_UP {
            ask(&mut socket).await?;
        }
        let end = Instant::now() + time;
        let mut samples = Samples::default();
        while Instant::now() < end {
            samples.push(ask(&mut socket).await?);
        }
        anyhow::Ok(samples)
    };
    timeout(LIMIT, work)
        .await
        .context("a WebSocket got stuck")?
}

/// One ping and its pong.
pub(crate) async fn ask(socket: &mut WebSocketStream<TcpStream>) -> Result<Duration> {
    let before = Instant::now();
    socket
        .send(Message::text(PING))
        .await
        .context("sending a ping")?;
    loop {
        match socket
            .next()
            .await
            .context("the WebSocket ended")?
            .context("reading a pong")?
        {
            Message::Text(text) if text.contains("pong") => return Ok(before.elapsed()),
            Message::Text(text) if text.contains("error") => bail!("instead of a pong: {text}"),
            Message::Close(frame) => bail!("the WebSocket was closed: {frame:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_ping_has_64_bytes_and_is_json() {
        assert_eq!(super::PING.len(), 64);
        let value: serde_json::Value = serde_json::from_str(super::PING).unwrap();
        assert_eq!(value["type"], "ping");
    }
}
