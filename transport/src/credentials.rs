//! What a device shows of itself: its current certificate, replaceable while connections live.

use std::sync::Arc;

use arc_swap::ArcSwap;
use homing_certs::{CertificateError, RootChain, TrustState, VerifiedCertificate};
use homing_protocol::gateway::Hello;
use homing_protocol::{Document, version};
use tokio::sync::watch;

use crate::trust::Trust;

/// Verifies a stored certificate of one's own, also one of an older root epoch: it is refused
/// everywhere, but whoever holds its key may renew it.
///
/// # Errors
/// [`CertificateError`] of the current epoch.
pub fn own_certificate(
    state: &TrustState,
    wire: &[u8],
) -> Result<VerifiedCertificate, CertificateError> {
    let refused = match state.verify_certificate(wire) {
        Err(error @ CertificateError::UnknownSigner { .. }) => error,
        verdict => return verdict,
    };
    let wires = state.chain().wires();
    (1..wires.len())
        .rev()
        .filter_map(|epochs| RootChain::from_chain(&wires[..epochs], None).ok())
        .find_map(|chain| TrustState::new(chain).verify_certificate(wire).ok())
        .ok_or(refused)
}

/// The device's own certificate and the trust state that it judges others by.
#[derive(Debug)]
pub struct Credentials {
    certificate: ArcSwap<VerifiedCertificate>,
    trust: Arc<Trust>,
    program: String,
    renewed: watch::Sender<u32>,
    renewing: tokio::sync::Mutex<()>,
}

impl Credentials {
    /// Credentials with this certificate. `program` is the version that people see.
    #[must_use]
    pub fn new(certificate: VerifiedCertificate, trust: Arc<Trust>, program: String) -> Self {
        let renewed = watch::Sender::new(certificate.certificate().generation);
        Self {
            certificate: ArcSwap::from_pointee(certificate),
            trust,
            program,
            renewed,
            renewing: tokio::sync::Mutex::new(()),
        }
    }

    /// The certificate of this moment.
    #[must_use]
    pub fn certificate(&self) -> Arc<VerifiedCertificate> {
        self.certificate.load_full()
    }

    /// The trust state.
    #[must_use]
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Held while a renewal runs, across its conversation with the coordinator: whoever else wants one
    /// waits and finds it done.
    pub(crate) async fn renewal(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.renewing.lock().await
    }

    /// Puts a renewed certificate in force for new and live connections. An older one than the one
    /// in force changes nothing.
    pub fn replace(&self, certificate: VerifiedCertificate) {
        let generation = certificate.certificate().generation;
        if generation < self.certificate.load().certificate().generation {
            return;
        }
        self.certificate.store(Arc::new(certificate));
        self.renewed.send_replace(generation);
    }

    /// Follows renewals by the certificate's generation.
    #[must_use]
    pub fn renewals(&self) -> watch::Receiver<u32> {
        self.renewed.subscribe()
    }

    /// The first message of a connection.
    #[must_use]
    pub fn hello(&self) -> Hello {
        let state = self.trust.state();
        Hello {
            versions: version::SPOKEN.to_vec(),
            certificate: Some(Document::from(self.certificate.load().wire())),
            root_epoch: state.chain().epoch(),
            log_head: Some(state.head().into()),
            program: self.program.clone(),
        }
    }
}
