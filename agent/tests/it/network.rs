//! A network of its own for each test: real keys, real certificates, a real revocation log.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing_agent::Caller;
use homing_certs::{
    BACKDATE_SECS, CERTIFICATE_LIFE_SECS, CertificateError, DeviceCertificate, Handle, NetworkId,
    NodeId, REVOKED, RevocationEntry, RevokeReason, Role, RootChain, RootDocument, Scopes, Serial,
    SignerRecord, SigningKey, TrustState, UnixTime, UserId, VerifiedCertificate,
};
use tokio_util::sync::CancellationToken;

pub(crate) const EVERY_SCOPE: &[&str] = &["*"];

#[derive(Debug)]
pub(crate) struct Network {
    signer: SigningKey,
    pub(crate) trust: Mutex<TrustState>,
    now: UnixTime,
    next_key: AtomicU32,
}

/// A device as the transport would hand it over.
#[derive(Debug)]
pub(crate) struct Device {
    network: Arc<Network>,
    node_id: NodeId,
    certificate: Mutex<Arc<VerifiedCertificate>>,
    /// Seconds that this device's clock is ahead of the network's.
    pub(crate) later: AtomicU64,
    pub(crate) staleness_secs: AtomicU64,
    revoked: CancellationToken,
}

impl Network {
    pub(crate) fn new() -> Arc<Self> {
        let root = SigningKey::from_bytes(&[1; 32]);
        let signer = SigningKey::from_bytes(&[2; 32]);
        let now = UnixTime(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        );
        let document = RootDocument {
            network_id: None,
            epoch: 1,
            signers: vec![SignerRecord {
                key: NodeId::from(&signer),
                not_before: now.saturating_sub(86_400),
                not_after: now.saturating_add(365 * 86_400),
            }],
            roots: vec![NodeId::from(&root)],
            coordinators: vec![NodeId::from(&SigningKey::from_bytes(&[3; 32]))],
        };
        let wire = document.sign(&[&root]).unwrap();
        let chain = RootChain::from_genesis(&wire, None).unwrap();
        let trust = Mutex::new(TrustState::new(chain));
        Arc::new(Self {
            signer,
            trust,
            now,
            next_key: AtomicU32::new(100),
        })
    }

    pub(crate) fn id(&self) -> NetworkId {
        self.trust.lock().unwrap().network_id()
    }

    /// A fresh device of a user; users are told apart by their handle.
    pub(crate) fn device(
        self: &Arc<Self>,
        handle: &str,
        role: Role,
        scopes: &[&str],
    ) -> Arc<Device> {
        let number = self.next_key.fetch_add(1, Ordering::Relaxed);
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        let node_id = NodeId::from(&SigningKey::from_bytes(&secret));
        let certificate = self.certificate(node_id, handle, role, scopes, 5);
        Arc::new(Device {
            network: self.clone(),
            node_id,
            certificate: Mutex::new(certificate),
            later: AtomicU64::new(0),
            staleness_secs: AtomicU64::new(0),
            revoked: CancellationToken::new(),
        })
    }

    pub(crate) fn owner(self: &Arc<Self>) -> Arc<Device> {
        self.device("owner", Role::Admin, EVERY_SCOPE)
    }

    fn certificate(
        &self,
        device: NodeId,
        handle: &str,
        role: Role,
        scopes: &[&str],
        generation: u32,
    ) -> Arc<VerifiedCertificate> {
        let mut user_id = [0; 16];
        user_id[..handle.len()].copy_from_slice(handle.as_bytes());
        let document = DeviceCertificate {
            network_id: self.id(),
            serial: Serial::from([7; 16]),
            device,
            user_id: UserId::from(user_id),
            handle: Handle::new(handle).unwrap(),
            role,
            scopes: Scopes::new(scopes.iter().copied()).unwrap(),
            issued_at: self.now,
            not_before: self.now.saturating_sub(BACKDATE_SECS),
            not_after: self.now.saturating_add(CERTIFICATE_LIFE_SECS),
            generation,
            root_epoch: 1,
        };
        let wire = document.sign(&self.signer).unwrap();
        Arc::new(
            self.trust
                .lock()
                .unwrap()
                .verify_certificate(&wire)
                .unwrap(),
        )
    }
}

impl Device {
    pub(crate) fn id(&self) -> NodeId {
        self.node_id
    }

    pub(crate) fn user(&self) -> UserId {
        self.certificate.lock().unwrap().certificate().user_id
    }

    /// Gives the device another certificate, as a renewal would.
    pub(crate) fn renew(&self, role: Role, scopes: &[&str]) {
        let old = self.certificate.lock().unwrap().clone();
        let handle = old.certificate().handle.as_str();
        let generation = old.certificate().generation + 1;
        *self.certificate.lock().unwrap() =
            self.network
                .certificate(self.node_id, handle, role, scopes, generation);
    }

    /// Revokes the device in the log and cuts it, as the transport does.
    pub(crate) fn revoke(&self) {
        self.revoke_quietly();
        self.revoked.cancel();
    }

    /// Revokes the device in the log only.
    pub(crate) fn revoke_quietly(&self) {
        let mut trust = self.network.trust.lock().unwrap();
        let entry = RevocationEntry {
            device: self.node_id,
            min_generation: REVOKED,
            reason: RevokeReason::ALL[0],
        };
        let delta = trust.next_delta(self.network.now, vec![entry]);
        let wire = delta.sign(&self.network.signer).unwrap();
        trust.apply(&wire).unwrap();
    }
}

impl Caller for Device {
    fn node_id(&self) -> NodeId {
        self.node_id
    }

    fn authorize(&self) -> Result<Arc<VerifiedCertificate>, CertificateError> {
        let certificate = self.certificate.lock().unwrap().clone();
        let now = self
            .network
            .now
            .saturating_add(self.later.load(Ordering::Relaxed));
        self.network
            .trust
            .lock()
            .unwrap()
            .check(&certificate, &self.node_id, now)?;
        Ok(certificate)
    }

    fn staleness(&self) -> Duration {
        Duration::from_secs(self.staleness_secs.load(Ordering::Relaxed))
    }

    fn path(&self) -> &'static str {
        "direct"
    }

    fn revoked(&self) -> CancellationToken {
        self.revoked.clone()
    }
}
