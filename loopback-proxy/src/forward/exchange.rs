//! Relays one request and its response in both directions at once, in one task. Bytes of bodies
//! are passed on as they come; each direction holds a bounded number of them.

mod deadlines;
mod down;
mod up;

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::body::Body;
use crate::guard::Admitted;
use crate::local_reply::LocalReply;
use crate::refusal::Refusal;
use crate::response::{Asked, Response};
use crate::upstream::{Upstream, reset_code};

use super::Connection;
use super::ending::End;

/// How an exchange left the relay.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Whole in both directions, and the connection may go on.
    Next,
    /// The stream died before any response byte, and the request may be sent again.
    Retry,
    End(End),
}

#[derive(Debug)]
pub(crate) struct Exchange {
    asked: Asked,
    replayable: bool,
    close: bool,

    request: Body,
    /// Bytes of the output that were sent.
    output_sent: usize,
    /// Bytes at the start of the input that belong to the body and were not sent yet.
    body_ready: usize,
    /// The agent takes nothing more; its answer may still come.
    deaf: bool,
    finished: bool,

    response: Response,
    /// Bytes at the start of the answer that belong to the response and were not written yet.
    answer_ready: usize,
    /// Any byte came from the agent on this stream.
    answered: bool,
    /// What to answer once the interim responses are written.
    failure: Option<LocalReply>,
    /// The client took less than it was offered.
    blocked: bool,
    stalled_since: Option<Instant>,
    next_check: Option<Instant>,
}

impl Exchange {
    pub(crate) fn new(admitted: Admitted) -> Self {
        let response = Response::new(admitted.asked);
        Self::with(
            admitted.asked,
            admitted.replayable,
            admitted.close,
            admitted.body,
            response,
        )
    }

    /// Bytes both ways until either side ends.
    pub(crate) fn opaque() -> Self {
        let asked = Asked {
            head_only: false,
            upgrade: true,
        };
        Self::with(asked, false, true, Body::until_end(), Response::opaque())
    }

    fn with(
        asked: Asked,
        replayable: bool,
        close: bool,
        request: Body,
        response: Response,
    ) -> Self {
        Self {
            asked,
            replayable,
            close,
            request,
            output_sent: 0,
            body_ready: 0,
            deaf: false,
            finished: false,
            response,
            answer_ready: 0,
            answered: false,
            failure: None,
            blocked: false,
            stalled_since: None,
            next_check: None,
        }
    }

    /// For a client that finished sending before this exchange began.
    pub(crate) fn look_for_client_at(&mut self, at: Instant) {
        self.next_check = Some(at);
    }

    /// The end with an answer of our own.
    pub(crate) fn failed(&self, reply: LocalReply) -> End {
        End::Answered {
            reply,
            head_only: self.asked.head_only,
        }
    }

    /// Ends when its client goes, and not by itself: nothing is lost that a reconnect does not
    /// bring back.
    fn is_endless(&self) -> bool {
        self.response.is_opaque() || self.response.is_event_stream()
    }

    fn refused(&self, refusal: Refusal) -> Outcome {
        if self.response.has_started() {
            return Outcome::End(End::Broken {
                code: reset_code::MESSAGE_ERROR,
            });
        }
        Outcome::End(End::Refused {
            refusal,
            head_only: self.asked.head_only,
        })
    }
}

impl<U: Upstream> Connection<U> {
    pub(super) fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Outcome> {
        loop {
            let moved = match (self.poll_up(cx, exchange), self.poll_down(cx, exchange)) {
                (Ok(up), Ok(down)) => up || down,
                // What the agent says counts for more than what the client does.
                (_, Err(outcome)) | (Err(outcome), _) => return Poll::Ready(outcome),
            };
            if let Some(outcome) = self.finished(exchange) {
                return Poll::Ready(outcome);
            }
            if !moved {
                break;
            }
        }
        self.poll_deadlines(cx, exchange)
    }

    /// Whether the exchange is over, and how.
    fn finished(&self, exchange: &Exchange) -> Option<Outcome> {
        if exchange.answer_ready > 0 {
            return None;
        }
        if !exchange.response.is_done() {
            // The end of the stream is the end of such a response.
            let ended = self.upstream.is_none() && exchange.response.may_end_here();
            return ended.then_some(Outcome::End(End::Unread));
        }
        let sent = exchange.output_sent == self.output.len() && exchange.body_ready == 0;
        if sent && exchange.request.is_done() && !exchange.deaf {
            let last = exchange.close
                || exchange.response.closes()
                || (self.client_ended && self.input.is_empty());
            return Some(if last {
                Outcome::End(End::Complete)
            } else {
                Outcome::Next
            });
        }
        let unwanted = exchange.deaf || self.upstream.is_none() || exchange.response.closes();
        unwanted.then_some(Outcome::End(End::Unread))
    }
}
