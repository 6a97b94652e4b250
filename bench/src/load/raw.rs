//! What the raw QUIC libraries are asked to do on a stream: echo, send, sink. Both ends.
//!
//! A stream starts with one byte for what is wanted and eight for how many bytes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::bulk::rate;
use crate::stats::Samples;

/// Piece in which bulk is written and read, in bytes; larger ones made no difference.
const PIECE: usize = 64 * 1024;
/// Size of a ping, as of a WebSocket's.
const PING: usize = 64;
/// A measurement that takes longer has got stuck.
const LIMIT: Duration = Duration::from_secs(100);
/// Echoes before any is counted.
const WARM_UP: usize = 50;

const ECHO: u8 = b'e';
const SEND: u8 = b's';
const TAKE: u8 = b't';

/// Serves one stream.
pub(crate) async fn serve<W, R>(mut send: W, mut receive: R) -> Result<()>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let wanted = receive.read_u8().await?;
    let mut left = receive.read_u64().await?;
    let mut piece = vec![0_u8; PIECE];
    match wanted {
        ECHO => loop {
            let read = receive.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            send.write_all(&piece[..read]).await?;
        },
        SEND => {
            while left > 0 {
                let part = PIECE.min(usize::try_from(left)?);
                send.write_all(&piece[..part]).await?;
                left -= part as u64;
            }
        }
        _ => {
            let mut got = 0;
            while got < left {
                let read = receive.read(&mut piece).await?;
                ensure!(read > 0, "an upload was cut");
                got += read as u64;
            }
            send.write_u64(got).await?;
        }
    }
    send.shutdown().await?;
    Ok(())
}

/// Echoes 64 bytes for `time`, one at a time.
pub(crate) async fn ping_pong<W, R>(mut send: W, mut receive: R, time: Duration) -> Result<Samples>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let work = async {
        start(&mut send, ECHO, 0).await?;
        let mut samples = Samples::default();
        let mut buffer = [0x5a_u8; PING];
        let mut count = 0;
        let mut end = Instant::now() + time;
        while Instant::now() < end {
            let before = Instant::now();
            send.write_all(&buffer).await?;
            receive.read_exact(&mut buffer).await?;
            count += 1;
            if count > WARM_UP {
                samples.push(before.elapsed());
            } else {
                end = Instant::now() + time;
            }
        }
        send.shutdown().await?;
        anyhow::Ok(samples)
    };
    timeout(LIMIT, work).await.context("echoes got stuck")?
}

/// Takes `size` bytes; MiB a second.
pub(crate) async fn download<W, R>(mut send: W, mut receive: R, size: u64) -> Result<f64>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let work = async {
        let before = Instant::now();
        start(&mut send, SEND, size).await?;
        let mut piece = vec![0_u8; PIECE];
        let mut got = 0;
        while got < size {
            let read = receive.read(&mut piece).await?;
            ensure!(read > 0, "a download was cut");
            got += read as u64;
        }
        anyhow::Ok(rate(size, before.elapsed()))
    };
    timeout(LIMIT, work).await.context("a download got stuck")?
}

/// Sends `size` bytes and waits for the count; MiB a second.
pub(crate) async fn upload<W, R>(mut send: W, mut receive: R, size: u64) -> Result<f64>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let work = async {
        let before = Instant::now();
        start(&mut send, TAKE, size).await?;
        let piece = vec![0x5a_u8; PIECE];
        let mut left = size;
        while left > 0 {
            let part = PIECE.min(usize::try_from(left)?);
            send.write_all(&piece[..part]).await?;
            left -= part as u64;
        }
        ensure!(receive.read_u64().await? == size, "an upload was cut");
        anyhow::Ok(rate(size, before.elapsed()))
    };
    timeout(LIMIT, work).await.context("an upload got stuck")?
}

async fn start<W: AsyncWrite + Unpin>(send: &mut W, wanted: u8, size: u64) -> Result<()> {
    let mut head = [0; 9];
    head[0] = wanted;
    head[1..].copy_from_slice(&size.to_be_bytes());
    send.write_all(&head).await?;
    Ok(())
}
