//! The wait for the next request head of a connection: with a deadline for an idle client and one
//! for a slow head, watching the agent's stream and the proxy's own end.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::head::HeadScanner;
use crate::refusal::Refusal;
use crate::upstream::{Upstream, reset_code};

use super::ending::End;
use super::{Connection, INPUT_LIMIT};

/// A stream at rest has nothing to say; whatever comes is looked at only to be refused.
const UNASKED_LIMIT: usize = 1024;

struct Wait {
    scanner: HeadScanner,
    idle_until: Instant,
    /// Set by the first byte of the head.
    head_until: Option<Instant>,
}

impl<U: Upstream> Connection<U> {
    /// The length of the next head, which is then at the start of the input.
    pub(super) async fn next_head(&mut self) -> Result<usize, End> {
        let mut wait = Wait {
            scanner: HeadScanner::default(),
            idle_until: Instant::now() + self.service.limits.idle_timeout,
            head_until: None,
        };
        poll_fn(|cx| self.poll_head(cx, &mut wait)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, wait: &mut Wait) -> Poll<Result<usize, End>> {
        let refused = |refusal| {
            Poll::Ready(Err(End::Refused {
                refusal,
                head_only: false,
            }))
        };
        loop {
            match wait.scanner.find_end(self.input.bytes()) {
                Ok(Some(length)) => return Poll::Ready(Ok(length)),
                Ok(None) => {}
                Err(error) => return refused(Refusal::Head(error)),
            }
            if self.client_ended {
                return if self.input.is_empty() {
                    Poll::Ready(Err(End::Complete))
                } else {
                    refused(Refusal::HeadCut)
                };
            }
            match self.input.poll_fill(cx, &mut self.client, INPUT_LIMIT) {
                Poll::Ready(Ok(0)) => self.client_ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::broken())),
                Poll::Pending => break,
            }
        }
        self.poll_resting_upstream(cx);
        if self.input.is_empty() {
            if self.poll_drain(cx) {
                return Poll::Ready(Err(End::Complete));
            }
            if self.timer.poll_at(cx, wait.idle_until).is_ready() {
                return Poll::Ready(Err(End::Complete));
            }
        } else {
            let until = *wait
                .head_until
                .get_or_insert_with(|| Instant::now() + self.service.limits.head_timeout);
            if self.timer.poll_at(cx, until).is_ready() {
                return refused(Refusal::HeadTimeout);
            }
        }
        Poll::Pending
    }

    /// An agent may end a stream between requests, and a connection may die: the next request then
    /// opens a new one. Bytes that answer nothing end the stream too, so that they are never taken
    /// for the next answer.
    fn poll_resting_upstream(&mut self, cx: &mut Context<'_>) {
        let Some(stream) = self.upstream.as_mut() else {
            return;
        };
        if let Poll::Ready(read) = self.answer.poll_fill(cx, stream, UNASKED_LIMIT) {
            let code = if matches!(read, Ok(1..)) {
                tracing::warn!("the agent sent bytes that answer no request; its stream is reset");
                reset_code::MESSAGE_ERROR
            } else {
                reset_code::CANCELLED
            };
            self.answer.clear();
            self.reset_upstream(code);
        }
    }

    /// Whether the proxy is ending.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> bool {
        self.draining = self.draining || self.drain.as_mut().poll(cx).is_ready();
        self.draining
    }
}
