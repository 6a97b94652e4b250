//! What time brings to an exchange: readers of endless streams that stay away, clients that went
//! away without a sign, and the proxy's own end. A body that moves has no deadline.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::{Upstream, reset_code};

use super::super::ending::End;
use super::super::{Connection, Entry};
use super::down::SLOW_LIMIT;
use super::{Exchange, Outcome};

/// How often a client that finished sending is looked for: a look-up costs microseconds.
const HALF_CLOSED_CHECK: Duration = Duration::from_secs(1);

impl<U: Upstream> Connection<U> {
    pub(super) fn poll_deadlines(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Outcome> {
        if exchange.is_endless() && self.poll_drain(cx) {
            return Poll::Ready(Outcome::End(End::broken()));
        }
        if exchange.is_endless() && exchange.blocked && self.answer.len() >= SLOW_LIMIT {
            let since = *exchange.stalled_since.get_or_insert_with(Instant::now);
            let until = since + self.service.limits.slow_reader_grace;
            if self.timer.poll_at(cx, until).is_ready() {
                self.service.counters.count_slow_reader();
                let code = reset_code::SLOW_READER;
                return Poll::Ready(Outcome::End(End::Broken { code }));
            }
        }
        while let Some(at) = exchange.next_check {
            if self.timer.poll_at(cx, at).is_pending() {
                break;
            }
            if let Err(outcome) = self.look_for_client(exchange) {
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }

    /// A client that only finished sending waits for its answer; one whose socket no process holds
    /// any more does not, and an endless stream would never find out while it is quiet.
    pub(super) fn look_for_client(&self, exchange: &mut Exchange) -> Result<(), Outcome> {
        let Entry::Tcp { peer, local } = self.entry else {
            // The tables have no row for a Unix socket's client; its reads and writes tell.
            exchange.next_check = None;
            return Ok(());
        };
        match self.service.owners.is_held(peer, local) {
            Some(false) => return Err(Outcome::End(End::broken())),
            Some(true) => exchange.next_check = Some(Instant::now() + HALF_CLOSED_CHECK),
            None => exchange.next_check = None,
        }
        Ok(())
    }
}
