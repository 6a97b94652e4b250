//! From the agent to the client: bytes as they come, what a response that cannot be completed
//! turns into, and how much is held for a client that takes less than it is offered.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::body::Body;
use crate::local_reply::LocalReply;
use crate::upstream::{Upstream, reset_code};

use super::super::Connection;
use super::super::ending::End;
use super::{Exchange, Outcome};

/// What is held for a client that keeps up: more made nothing faster.
const STEADY_LIMIT: usize = 64 * 1024;

/// What is held for a client that does not: taken off the agent's stream, so that a stalled client
/// holds up no other stream of the connection. 64 of them are 32 MiB.
pub(super) const SLOW_LIMIT: usize = 512 * 1024;

impl<U: Upstream> Connection<U> {
    /// From the agent to the client. Says whether anything moved.
    pub(super) fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Result<bool, Outcome> {
        let mut moved = false;
        loop {
            moved |= self.poll_deliver(cx, exchange)?;
            if let Some(reply) = exchange.failure.take_if(|_| exchange.answer_ready == 0) {
                return Err(Outcome::End(exchange.failed(reply)));
            }
            // Whatever follows a whole response is looked at between requests.
            let whole = exchange.response.is_done() && exchange.answer_ready == 0;
            if whole && exchange.request.is_done() {
                return Ok(moved);
            }
            let limit = if exchange.blocked {
                SLOW_LIMIT
            } else {
                STEADY_LIMIT
            };
            if exchange.failure.is_some() || self.answer.len() >= limit {
                return Ok(moved);
            }
            let Some(stream) = self.upstream.as_mut() else {
                return Ok(moved);
            };
            match self.answer.poll_fill(cx, stream, limit) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(0)) => {
                    self.upstream_ended(exchange, None)?;
                    return Ok(true);
                }
                Poll::Ready(Err(error)) => {
                    self.upstream_ended(exchange, Some(&error))?;
                    return Ok(true);
                }
                Poll::Ready(Ok(_)) => moved = true,
            }
            exchange.answered = true;
            let unread = self
                .answer
                .bytes()
                .get(exchange.answer_ready..)
                .unwrap_or_default();
            match exchange.response.advance(unread) {
                Ok(taken) => exchange.answer_ready += taken,
                Err(error) => self.fail(exchange, &error)?,
            }
            if exchange.response.is_opaque() && !exchange.request.ends_with_stream() {
                exchange.request = Body::until_end();
            }
            if exchange.response.is_done() && self.answer.len() > exchange.answer_ready {
                tracing::warn!("the agent sent more than its response; the connection ends");
                exchange.close = true;
                return Ok(moved);
            }
        }
    }

    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Result<bool, Outcome> {
        let mut moved = false;
        exchange.blocked = false;
        while exchange.answer_ready > 0 {
            let bytes = self
                .answer
                .bytes()
                .get(..exchange.answer_ready)
                .unwrap_or_default();
            match Pin::new(&mut self.client).poll_write(cx, bytes) {
                Poll::Ready(Ok(count @ 1..)) => {
                    moved = true;
                    self.answer.consume(count);
                    exchange.answer_ready -= count;
                    exchange.stalled_since = None;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Err(Outcome::End(End::broken())),
                Poll::Pending => {
                    exchange.blocked = true;
                    break;
                }
            }
        }
        if !exchange.blocked {
            self.answer.shrink(STEADY_LIMIT);
        }
        Ok(moved)
    }

    /// The agent's stream ended, in order or not.
    fn upstream_ended(
        &mut self,
        exchange: &mut Exchange,
        error: Option<&std::io::Error>,
    ) -> Result<(), Outcome> {
        self.upstream = None;
        if exchange.response.is_done() {
            return Ok(());
        }
        if error.is_none() && exchange.response.may_end_here() {
            exchange.close = true;
            return Ok(());
        }
        if !exchange.answered && exchange.replayable {
            exchange.replayable = false;
            exchange.output_sent = 0;
            exchange.deaf = false;
            exchange.finished = false;
            return Err(Outcome::Retry);
        }
        match error {
            Some(error) => self.fail(exchange, error),
            None => self.fail(exchange, &"it ended too early"),
        }
    }

    /// The response cannot be completed. Before its first byte that is an answer of ours.
    fn fail(
        &mut self,
        exchange: &mut Exchange,
        why: &dyn std::fmt::Display,
    ) -> Result<(), Outcome> {
        self.upstream = None;
        if exchange.response.has_started() {
            tracing::debug!(%why, "a response was cut");
            self.service.counters.count_cut_response();
            return Err(Outcome::End(End::Broken {
                code: reset_code::MESSAGE_ERROR,
            }));
        }
        tracing::debug!(%why, "a request got no response");
        self.service.counters.count_upstream_error();
        exchange.failure = Some(LocalReply::error(
            502,
            "no_response",
            "the connection to the agent broke off before it answered",
            "check whether the request took effect before you send it again",
        ));
        Ok(())
    }
}
