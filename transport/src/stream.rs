//! A bidirectional QUIC stream as plain bytes, for HTTP/1.1.
//!
//! Unlike the stream below it, one that is dropped without a shutdown is reset, so that a body cut
//! short never looks like a whole one. Small writes in a row are merged, see [`merge`].

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use homing_protocol::close;
use iroh::endpoint::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub mod merge;

use merge::{Flusher, Merger};

/// Both halves of a stream.
#[derive(Debug)]
pub struct ByteStream {
    recv: RecvStream,
    send: Sending,
    read_ended: bool,
}

#[derive(Debug)]
enum Sending {
    /// Every write goes to the stream as it is.
    Plain { stream: SendStream, finished: bool },
    /// Small writes in a row are merged; a [`Flusher`] must be driven beside.
    Merging(Arc<Mutex<Merger>>),
}

impl ByteStream {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            recv,
            send: Sending::Plain {
                stream: send,
                finished: false,
            },
            read_ended: false,
        }
    }

    /// A stream that merges small writes, and what must be awaited beside it for as long as it lives.
    pub(crate) fn merging(send: SendStream, recv: RecvStream) -> (Self, Flusher) {
        let (merger, flusher) = Merger::new(send);
        (
            Self {
                recv,
                send: Sending::Merging(merger),
                read_ended: false,
            },
            flusher,
        )
    }

    /// Ends both directions as failed.
    pub fn reset(&mut self, code: u32) {
        let code = VarInt::from_u32(code);
        // Both fail only on a stream that has ended already.
        match &mut self.send {
            Sending::Plain { stream, finished } => {
                let _ = stream.reset(code);
                *finished = true;
            }
            Sending::Merging(merger) => lock(merger).reset(code),
        }
        let _ = self.recv.stop(code);
        self.read_ended = true;
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        let code = VarInt::from_u32(close::STREAM_FAILED);
        match &mut self.send {
            Sending::Plain {
                stream,
                finished: false,
            } => {
                let _ = stream.reset(code);
            }
            Sending::Plain { .. } => {}
            Sending::Merging(merger) => lock(merger).dropped(code),
        }
        if !self.read_ended {
            let _ = self.recv.stop(code);
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf);
        if let Poll::Ready(Ok(())) = polled {
            if buf.filled().len() > before {
                if let Sending::Merging(merger) = &self.send {
                    lock(merger).peer_spoke();
                }
            } else if buf.remaining() > 0 {
                self.read_ended = true;
            }
        }
        polled
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.send {
            Sending::Plain { stream, .. } => AsyncWrite::poll_write(Pin::new(stream), cx, buf),
            Sending::Merging(merger) => lock(merger).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.send {
            Sending::Plain { stream, .. } => AsyncWrite::poll_flush(Pin::new(stream), cx),
            // What is held back goes out within the merge delay by itself.
            Sending::Merging(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.send {
            Sending::Plain { stream, finished } => {
                let polled = AsyncWrite::poll_shutdown(Pin::new(stream), cx);
                *finished |= polled.is_ready();
                polled
            }
            Sending::Merging(merger) => lock(merger).poll_shutdown(cx),
        }
    }
}

fn lock(merger: &Mutex<Merger>) -> std::sync::MutexGuard<'_, Merger> {
    merger.lock().unwrap_or_else(PoisonError::into_inner)
}
