//! Merging small writes that follow each other.
//!
//! noq 1.4 keeps one chunk per received frame and closes the whole connection at about 2,000 unread
//! chunks on one stream. A writer of many small pieces therefore holds back a piece that follows
//! another within [`MERGE_DELAY`], unless the peer has said something in between: then somebody is
//! waiting for the answer, and it goes out at once.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use iroh::endpoint::{SendStream, VarInt};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// Pieces of this size and above are never held back, in bytes.
pub const MERGE_BELOW: usize = 1_024;
/// How long a small piece may be held back.
pub const MERGE_DELAY: Duration = Duration::from_millis(2);

/// The sending half of a stream that merges.
#[derive(Debug)]
pub struct Merger {
    stream: SendStream,
    held: Vec<u8>,
    last_write: Option<Instant>,
    end: End,
    flusher: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The writer has gone without a shutdown, or the stream has failed.
    Aborted,
    /// Finished cleanly.
    Finished,
}

/// Sends what was held back; await it beside whatever writes.
#[derive(Debug)]
pub struct Flusher {
    merger: Arc<Mutex<Merger>>,
}

impl Merger {
    pub(crate) fn new(stream: SendStream) -> (Arc<Mutex<Self>>, Flusher) {
        let merger = Arc::new(Mutex::new(Self {
            stream,
            held: Vec::new(),
            last_write: None,
            end: End::Open,
            flusher: None,
            writer: None,
        }));
        (merger.clone(), Flusher { merger })
    }

    /// The peer sent something: what comes next is an answer.
    pub(crate) fn peer_spoke(&mut self) {
        self.last_write = None;
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let soon = self.last_write.is_some_and(|at| at.elapsed() < MERGE_DELAY);
        let hold = (soon || !self.held.is_empty()) && self.held.len() + buf.len() < MERGE_BELOW;
        if hold {
            self.held.extend_from_slice(buf);
            wake(&mut self.flusher);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_send_held(cx))?;
        let written = ready!(
            Pin::new(&mut self.stream)
                .poll_write(cx, buf)
                .map_err(io::Error::from)
        )?;
        self.last_write = Some(Instant::now());
        Poll::Ready(Ok(written))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end == End::Open {
            ready!(self.poll_send_held(cx))?;
            self.end = End::Finished;
            // Fails only on a stream that has ended already.
            let _ = self.stream.finish();
            wake(&mut self.flusher);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn reset(&mut self, code: VarInt) {
        self.end = End::Aborted;
        let _ = self.stream.reset(code);
        wake(&mut self.flusher);
    }

    pub(crate) fn dropped(&mut self, code: VarInt) {
        if self.end == End::Open {
            self.reset(code);
        }
    }

    fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = match AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, &self.held) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // The stream keeps one waker; the flusher may take it, so remember the writer's.
                    self.writer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            };
            self.held.drain(..written);
            self.last_write = Some(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl Flusher {
    /// Runs until the stream has ended.
    pub async fn run(self) {
        while let Some(due) = self.wait_for_held().await {
            tokio::time::sleep_until(due).await;
            if self.send_held().await.is_err() {
                return;
            }
        }
    }

    /// When the bytes that are held must go; `None` once the stream has ended.
    async fn wait_for_held(&self) -> Option<Instant> {
        poll_fn(|cx| {
            let mut merger = self.lock();
            if merger.end != End::Open {
                return Poll::Ready(None);
            }
            if !merger.held.is_empty() {
                let last = merger.last_write.unwrap_or_else(Instant::now);
                return Poll::Ready(Some(last + MERGE_DELAY));
            }
            merger.flusher = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn send_held(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut merger = self.lock();
            if merger.end != End::Open {
                return Poll::Ready(Ok(()));
            }
            let polled = merger.poll_send_held(cx);
            match polled {
                Poll::Ready(_) => wake(&mut merger.writer),
                // Whoever of the two is woken by the stream must let the other try.
                Poll::Pending => merger.flusher = Some(cx.waker().clone()),
            }
            polled
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Merger> {
        self.merger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
