//! The trust state of this process: one writer, readers that never wait.
//!
//! Wraps the pure [`TrustState`] and [`TrustClock`] with the process's clocks. Applies documents in
//! memory only; whoever calls [`Trust::apply`] cuts connections and writes to disk in the order of
//! `docs/trust.md`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use homing_certs::{
    Applied, CertificateError, ClockError, LogError, LogHead, NetworkId, NodeId, RootError,
    TrustClock, TrustState, UnixTime, VerifiedCertificate,
};
use tokio::sync::watch;
use tracing::error;

use crate::clock::{since_boot, wall_clock};

/// Why a document was not taken over. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It is not a valid continuation of the log.
    #[error("the log document was refused")]
    Log(#[source] LogError),
    /// Its time is not plausible.
    #[error("the heartbeat's time was refused")]
    Clock(#[source] ClockError),
}

/// Shared trust state.
#[derive(Debug)]
pub struct Trust {
    state: ArcSwap<TrustState>,
    write: Mutex<TrustClock>,
    started: Duration,
    head: watch::Sender<LogHead>,
}

impl Trust {
    /// Starts from what was on disk. `floor` is the newest signed time that was persisted.
    #[must_use]
    pub fn new(state: TrustState, floor: UnixTime) -> Self {
        let head = watch::Sender::new(state.head());
        let mut clock = TrustClock::new(floor);
        if let Some(time) = state.last_heartbeat() {
            clock = clock.with_last_heartbeat(time);
        }
        Self {
            state: ArcSwap::from_pointee(state),
            write: Mutex::new(clock),
            started: since_boot(),
            head,
        }
    }

    /// The state of this moment.
    #[must_use]
    pub fn state(&self) -> Arc<TrustState> {
        self.state.load_full()
    }

    /// The network's id.
    #[must_use]
    pub fn network_id(&self) -> NetworkId {
        self.state.load().network_id()
    }

    /// The newest log position.
    #[must_use]
    pub fn head(&self) -> LogHead {
        self.state.load().head()
    }

    /// Follows the log position.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<LogHead> {
        self.head.subscribe()
    }

    /// The time by which certificates are judged.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.clock().now(wall_clock(), self.elapsed())
    }

    /// What to keep on disk so that time never goes back across a restart.
    #[must_use]
    pub fn floor(&self) -> UnixTime {
        self.clock().floor(self.elapsed())
    }

    /// Time since the newest verified heartbeat, also across a restart.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        self.clock().staleness(wall_clock(), self.elapsed())
    }

    /// Form, signature and meaning of a certificate; once per connection and certificate.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify_certificate(&self, wire: &[u8]) -> Result<VerifiedCertificate, CertificateError> {
        self.state.load().verify_certificate(wire)
    }

    /// Key, time, network, generation and root epoch of a verified certificate; on every request.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn check(
        &self,
        certificate: &VerifiedCertificate,
        peer: &NodeId,
    ) -> Result<(), CertificateError> {
        let now = self.now();
        self.state.load().check(certificate, peer, now)
    }

    /// Whether a key is revoked.
    #[must_use]
    pub fn is_revoked(&self, node_id: &NodeId) -> bool {
        self.state.load().is_revoked(node_id)
    }

    /// Takes over a delta, snapshot or heartbeat, after all checks. Of a delta or snapshot whose time is
    /// not plausible the entries count and the time does not: a revocation is never lost to a clock.
    ///
    /// # Errors
    /// [`TrustError`]; nothing has changed.
    pub fn apply(&self, wire: &[u8]) -> Result<Applied, TrustError> {
        let mut clock = self.clock();
        let before = self.state.load_full();
        let mut state = TrustState::clone(&before);
        let applied = state.apply(wire).map_err(TrustError::Log)?;
        let (wall, elapsed) = (wall_clock(), self.elapsed());
        let newest = state.newest_signed_time();
        let head = state.head();
        if let Applied::Heartbeat { time } = applied {
            clock
                .observe_heartbeat(time, wall, elapsed)
                .map_err(TrustError::Clock)?;
        } else if head.root_epoch > before.head().root_epoch && newest < clock.floor(elapsed) {
            // A clock that was ahead ends with the signer that believed it.
            clock.reset_floor(newest, elapsed);
        } else if let Err(error) = clock.observe_signed(newest, wall, elapsed) {
            error!(%error, "the time of a log document is not believed; its entries count");
            state = state.without_times_after(before.newest_signed_time());
        }
        self.state.store(Arc::new(state));
        drop(clock);
        self.head
            .send_if_modified(|known| std::mem::replace(known, head) != head);
        Ok(applied)
    }

    /// Takes over the next root document.
    ///
    /// # Errors
    /// [`RootError`]; nothing has changed.
    pub fn extend_root(&self, wire: &[u8]) -> Result<(), RootError> {
        let _writer = self.clock();
        let mut state = TrustState::clone(&self.state.load());
        state.extend_root(wire)?;
        self.state.store(Arc::new(state));
        Ok(())
    }

    /// Whoever runs this machine says that it is `time`: signed times after it came from a clock
    /// that was wrong.
    pub fn confirm_time(&self, time: UnixTime) {
        let mut clock = self.clock();
        let state = self.state.load().without_times_after(time);
        clock.reset_floor(state.newest_signed_time(), self.elapsed());
        self.state.store(Arc::new(state));
    }

    fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }

    // The clock's lock is also the writer's lock: a document and its time change together.
    fn clock(&self) -> MutexGuard<'_, TrustClock> {
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
