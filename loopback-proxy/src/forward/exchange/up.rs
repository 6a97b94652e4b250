//! From the client to the agent: the head, the body as it comes, and the end of sending.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::refusal::Refusal;
use crate::upstream::Upstream;

use super::super::ending::End;
use super::super::{Connection, INPUT_LIMIT};
use super::{Exchange, Outcome};

impl<U: Upstream> Connection<U> {
    /// From the client to the agent. Says whether anything moved.
    pub(super) fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Result<bool, Outcome> {
        let mut moved = self.poll_send(cx, exchange);
        if self.input.len() < INPUT_LIMIT && !self.client_ended {
            match self.input.poll_fill(cx, &mut self.client, INPUT_LIMIT) {
                Poll::Ready(Ok(0)) => {
                    self.client_ended = true;
                    moved = true;
                    self.look_for_client(exchange)?;
                }
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(_)) => return Err(Outcome::End(End::broken())),
                Poll::Pending => {}
            }
        }
        let unread = self
            .input
            .bytes()
            .get(exchange.body_ready..)
            .unwrap_or_default();
        match exchange.request.advance(unread) {
            Ok(0) => {}
            Ok(taken) => {
                exchange.body_ready += taken;
                moved = true;
            }
            Err(error) => return Err(exchange.refused(Refusal::Body(error))),
        }
        let cut = !exchange.request.is_done() && !exchange.request.ends_with_stream();
        if self.client_ended && cut {
            return Err(Outcome::End(End::broken()));
        }
        Ok(moved)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange) -> bool {
        let mut moved = false;
        let Some(stream) = self.upstream.as_mut() else {
            return false;
        };
        while !exchange.deaf {
            let from_output = exchange.output_sent < self.output.len();
            let bytes = if from_output {
                self.output.get(exchange.output_sent..)
            } else {
                self.input.bytes().get(..exchange.body_ready)
            };
            let bytes = bytes.unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            match Pin::new(&mut *stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0) | Err(_)) => exchange.deaf = true,
                Poll::Ready(Ok(count)) => {
                    moved = true;
                    if from_output {
                        exchange.output_sent += count;
                    } else {
                        self.input.consume(count);
                        exchange.body_ready -= count;
                    }
                }
                Poll::Pending => return moved,
            }
        }
        let sent = exchange.output_sent == self.output.len() && exchange.body_ready == 0;
        let last = self.client_ended && self.input.is_empty();
        if sent && last && !exchange.deaf && !exchange.finished {
            match Pin::new(stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => exchange.finished = true,
                Poll::Ready(Err(_)) => exchange.deaf = true,
                Poll::Pending => {}
            }
        }
        moved
    }
}
