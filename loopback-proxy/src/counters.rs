//! What the proxy did, in numbers: connections, requests, and refusals by reason. Lock-free; read
//! as a snapshot. It owns no meaning beyond the names.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::refusal::Reason;

/// Live counters of one proxy, from its start.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    forwarded: AtomicU64,
    retried: AtomicU64,
    upstream_errors: AtomicU64,
    cut_responses: AtomicU64,
    slow_readers: AtomicU64,
    refused: [AtomicU64; Reason::COUNT],
}

impl Counters {
    /// The numbers now. They are read one after another, so they need not add up while requests
    /// are running.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let refused = |reason: Reason| {
            self.refused
                .get(reason.index())
                .map_or(0, |counter| counter.load(Relaxed))
        };
        CountersSnapshot {
            accepted_connections: self.accepted.load(Relaxed),
            open_connections: self.open.load(Relaxed),
            requests_forwarded: self.forwarded.load(Relaxed),
            requests_retried: self.retried.load(Relaxed),
            upstream_errors: self.upstream_errors.load(Relaxed),
            cut_responses: self.cut_responses.load(Relaxed),
            slow_readers_reset: self.slow_readers.load(Relaxed),
            refused: RefusedSnapshot {
                not_our_user: refused(Reason::NotOurUser),
                bad_host: refused(Reason::BadHost),
                bad_origin: refused(Reason::BadOrigin),
                cross_site: refused(Reason::CrossSite),
                bad_framing: refused(Reason::BadFraming),
                bad_target: refused(Reason::BadTarget),
                head_too_large: refused(Reason::HeadTooLarge),
                head_timeout: refused(Reason::HeadTimeout),
                bad_token: refused(Reason::BadToken),
                rate_limited: refused(Reason::RateLimited),
                too_many_connections: refused(Reason::TooManyConnections),
            },
        }
    }

    pub(crate) fn count_refusal(&self, reason: Reason) {
        if let Some(counter) = self.refused.get(reason.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_forwarded(&self) {
        self.forwarded.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_upstream_error(&self) {
        self.upstream_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_cut_response(&self) {
        self.cut_responses.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_slow_reader(&self) {
        self.slow_readers.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CountersSnapshot {
    /// Connections accepted by the listeners, refused ones included.
    pub accepted_connections: u64,
    /// Connections being served.
    pub open_connections: u64,
    /// Request heads passed on to the agent.
    pub requests_forwarded: u64,
    /// Of these, sent a second time on a fresh stream.
    pub requests_retried: u64,
    /// Requests answered with 502, 503, 504 or 403 because the agent could not be reached.
    pub upstream_errors: u64,
    /// Responses that broke off after their first byte; the client's connection was reset.
    pub cut_responses: u64,
    /// Upgraded and event streams reset because their client took nothing.
    pub slow_readers_reset: u64,
    /// What the proxy itself refused.
    pub refused: RefusedSnapshot,
}

/// Refusals by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RefusedSnapshot {
    /// Connections of another user, or whose user could not be told.
    pub not_our_user: u64,
    /// No `Host`, several, or another's.
    pub bad_host: u64,
    /// An `Origin` that is not the proxy's own.
    pub bad_origin: u64,
    /// `Sec-Fetch-Site` of another site.
    pub cross_site: u64,
    /// Heads and bodies that two readers could read differently.
    pub bad_framing: u64,
    /// CONNECT, TRACE, absolute form and `*`.
    pub bad_target: u64,
    /// Heads and trailers over their limits.
    pub head_too_large: u64,
    /// Heads that did not arrive in time.
    pub head_timeout: u64,
    /// The token was missing or wrong.
    pub bad_token: u64,
    /// New connections over the rate.
    pub rate_limited: u64,
    /// Connections over the limit.
    pub too_many_connections: u64,
}

impl RefusedSnapshot {
    /// All refusals together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.not_our_user
            + self.bad_host
            + self.bad_origin
            + self.cross_site
            + self.bad_framing
            + self.bad_target
            + self.head_too_large
            + self.head_timeout
            + self.bad_token
            + self.rate_limited
            + self.too_many_connections
    }
}
