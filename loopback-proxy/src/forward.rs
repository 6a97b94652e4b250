//! One accepted connection from its first byte to its end: heads are read and checked one at a
//! time, each request and its response are relayed over the connection's upstream stream, and the
//! connection ends in one of few ways. The relay itself is in `exchange`, the wait for the next
//! head in `waiting`.
//!
//! Requests that a client sends ahead wait in the input buffer, so there is never more than one
//! request on the stream: a response can only belong to it.

mod ending;
mod exchange;
mod timer;
mod waiting;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::buffer::Buffer;
use crate::client::Client;
use crate::counters::Counters;
use crate::guard::{Destination, Rules};
use crate::head::{MAX_HEAD, header_room, parse_request};
use crate::limits::ProxyLimits;
use crate::local_reply::LocalReply;
use crate::owner::Owners;
use crate::refusal::{Reason, Refusal};
use crate::rewrite;
use crate::token::Token;
use crate::upstream::{Upstream, UpstreamError, UpstreamStream, reset_code};

use ending::End;
use exchange::{Exchange, Outcome};
use timer::Timer;

/// What is read from a client ahead of what is sent on: one byte more than the largest head, so
/// that a head which is too large can be told from one that is not.
const INPUT_LIMIT: usize = MAX_HEAD + 1;

/// Body bytes that arrived with the head go out in the same write up to this size. Copying more
/// would cost more than the second write.
const WITH_HEAD_LIMIT: usize = 16 * 1024;

/// A head buffer larger than this is given back after the request.
const KEPT_OUTPUT: usize = 8 * 1024;

/// What all connections of one proxy share.
#[derive(Debug)]
pub(crate) struct Service<U> {
    pub(crate) upstream: Arc<U>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) token: Token,
    pub(crate) owners: Owners,
    pub(crate) limits: ProxyLimits,
    pub(crate) tcp_rules: Rules,
    pub(crate) unix_rules: Rules,
    /// Idle connections end, the others after their request.
    pub(crate) drain: CancellationToken,
}

/// How the client came in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    Tcp { peer: SocketAddr, local: SocketAddr },
    Unix,
}

pub(crate) struct Connection<U: Upstream> {
    service: Arc<Service<U>>,
    entry: Entry,
    client: Client,
    client_ended: bool,
    upstream: Option<U::Stream>,
    /// From the client: at its start the body of the current request, then the next head.
    input: Buffer,
    /// The rewritten head, with the body bytes that came with it. Kept for a second try.
    output: Vec<u8>,
    /// From the agent.
    answer: Buffer,
    timer: Timer,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    draining: bool,
}

impl<U: Upstream> Connection<U> {
    pub(crate) fn new(service: Arc<Service<U>>, entry: Entry, client: Client) -> Self {
        let drain = Box::pin(service.drain.clone().cancelled_owned());
        service.counters.connection_opened();
        Self {
            service,
            entry,
            client,
            client_ended: false,
            upstream: None,
            input: Buffer::default(),
            output: Vec::new(),
            answer: Buffer::default(),
            timer: Timer::default(),
            drain,
            draining: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let end = self.serve().await;
        self.end(end).await;
    }

    async fn serve(&mut self) -> End {
        loop {
            let admitted = match self.next_head().await {
                Ok(length) => self.admit(length),
                Err(end) => Err(end),
            };
            let mut exchange = match admitted {
                Ok(exchange) => exchange,
                Err(End::Refused { refusal, .. }) if self.passes_unread(refusal) => {
                    self.output.clear();
                    Exchange::opaque()
                }
                Err(end) => return end,
            };
            if self.client_ended {
                exchange.look_for_client_at(Instant::now());
            }
            self.client.begin();
            if let Some(end) = self.forward(&mut exchange).await {
                return end;
            }
            self.client.complete();
            self.release();
        }
    }

    /// With the guard off, what cannot be read is passed on as bytes: the refusal of the same bytes
    /// with the guard on is then seen to be the guard's.
    fn passes_unread(&self, refusal: Refusal) -> bool {
        !self.rules().enabled && refusal.reason() == Reason::BadFraming
    }

    fn rules(&self) -> &Rules {
        match self.entry {
            Entry::Tcp { .. } => &self.service.tcp_rules,
            Entry::Unix => &self.service.unix_rules,
        }
    }

    /// Checks the head at the start of the input and puts what goes to the agent into the output.
    fn admit(&mut self, length: usize) -> Result<Exchange, End> {
        let refused = |refusal, head_only| End::Refused { refusal, head_only };
        let bytes = self.input.bytes();
        let mut room = header_room();
        let head = parse_request(bytes.get(..length).unwrap_or_default(), &mut room)
            .map_err(|error| refused(Refusal::Head(error), false))?;
        let head_only = head.method == "HEAD";
        let mut admitted = self
            .rules()
            .check(&head, &self.service.token)
            .map_err(|refusal| refused(refusal, head_only))?;
        if admitted.destination == Destination::StatusPage {
            return Err(End::Answered {
                reply: self.status_page(),
                head_only,
            });
        }
        self.output.clear();
        rewrite::write_head(&head, &admitted, &mut self.output);

        let arrived = bytes.get(length..).unwrap_or_default();
        let arrived = arrived.get(..WITH_HEAD_LIMIT).unwrap_or(arrived);
        let taken = admitted
            .body
            .advance(arrived)
            .map_err(|error| refused(Refusal::Body(error), head_only))?;
        self.output
            .extend_from_slice(arrived.get(..taken).unwrap_or_default());
        self.input.consume(length + taken);
        Ok(Exchange::new(admitted))
    }

    /// Relays one exchange. `None` means that the connection goes on to its next request.
    async fn forward(&mut self, exchange: &mut Exchange) -> Option<End> {
        let counters = Arc::clone(&self.service.counters);
        counters.count_forwarded();
        loop {
            if let Err(error) = self.open_upstream().await {
                counters.count_upstream_error();
                return Some(exchange.failed(LocalReply::from(&error)));
            }
            let outcome = poll_fn(|cx| self.poll_exchange(cx, exchange)).await;
            match outcome {
                Outcome::Next if self.draining || self.service.drain.is_cancelled() => {
                    return Some(End::Complete);
                }
                Outcome::Next => return None,
                Outcome::Retry => {
                    counters.count_retried();
                    self.reset_upstream(reset_code::CANCELLED);
                    self.answer.clear();
                }
                Outcome::End(end) => return Some(end),
            }
        }
    }

    async fn open_upstream(&mut self) -> Result<(), UpstreamError> {
        if self.upstream.is_some() {
            return Ok(());
        }
        let opened = timeout(
            self.service.limits.open_timeout,
            self.service.upstream.open(),
        )
        .await;
        self.upstream = Some(opened.map_err(|_| UpstreamError {
            code: "timeout".to_owned(),
            message: "the agent did not take the request in time".to_owned(),
            hint: "check that the agent is running, then try again".to_owned(),
        })??);
        Ok(())
    }

    fn reset_upstream(&mut self, code: u32) {
        if let Some(mut stream) = self.upstream.take() {
            stream.reset(code);
        }
    }

    /// Gives memory back between requests.
    fn release(&mut self) {
        self.input.release();
        self.answer.release();
        if self.output.capacity() > KEPT_OUTPUT {
            self.output = Vec::new();
        }
    }

    fn status_page(&self) -> LocalReply {
        LocalReply::ok(&json!({
            "proxy": "homing",
            "version": env!("CARGO_PKG_VERSION"),
            "agent": self.service.upstream.agent(),
            "counters": self.service.counters.snapshot(),
        }))
    }
}

impl<U: Upstream> Drop for Connection<U> {
    fn drop(&mut self) {
        self.service.counters.connection_closed();
    }
}
