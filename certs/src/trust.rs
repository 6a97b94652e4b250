//! The trust state: the root chain, the revocation set and the head of the log, and the decisions
//! that follow from them. A pure state machine; a clone is cheap, so that a writer can change a
//! copy and swap it in while readers go on.

use std::sync::Arc;

use crate::certificate::{DeviceCertificate, LEEWAY_SECS, VerifiedCertificate};
use crate::error::{CertificateError, LogError, RootError};
use crate::ids::{LogHash, NetworkId, NodeId, UnixTime};
use crate::log::{Delta, Heartbeat, LogHead, REVOKED, RevocationEntry, Snapshot};
use crate::root::{GENESIS_EPOCH, RootChain};
use crate::wire::{Frame, Kind};

mod apply;
mod set;

pub use apply::Applied;
use set::RevocationSet;

/// Everything that decides whether a certificate is believed.
///
/// Readers check certificates against it; whoever holds the log feeds it. On a refusal nothing
/// has changed.
#[derive(Debug, Clone)]
pub struct TrustState {
    chain: Arc<RootChain>,
    revoked: RevocationSet,
    head: LogHead,
    newest_signed_time: UnixTime,
    last_heartbeat: Option<UnixTime>,
}

/// What a replica keeps on disk besides the root chain. It is trusted as it is: the file belongs
/// to whoever runs this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The end of the log.
    pub head: LogHead,
    /// The newest time in any document that was taken.
    pub newest_signed_time: UnixTime,
    /// The time of the newest heartbeat.
    pub last_heartbeat: Option<UnixTime>,
    /// The revocation set in any order.
    pub entries: Vec<RevocationEntry>,
}

impl TrustState {
    /// A state that knows the root chain and nothing of the log.
    pub fn new(chain: RootChain) -> Self {
        Self {
            chain: Arc::new(chain),
            revoked: RevocationSet::default(),
            // The genesis epoch's empty log. In a later epoch the log starts with a snapshot, and
            // any delta is a gap until it is here.
            head: LogHead {
                root_epoch: GENESIS_EPOCH,
                seq: 0,
                hash: LogHash::ZERO,
            },
            newest_signed_time: UnixTime(0),
            last_heartbeat: None,
        }
    }

    /// The state as it was kept on disk.
    pub fn from_replica(chain: RootChain, replica: Replica) -> Self {
        Self {
            chain: Arc::new(chain),
            revoked: replica.entries.into_iter().collect(),
            head: replica.head,
            newest_signed_time: replica.newest_signed_time,
            last_heartbeat: replica.last_heartbeat,
        }
    }

    /// The network.
    pub fn network_id(&self) -> NetworkId {
        self.chain.network_id()
    }

    /// The root chain.
    pub fn chain(&self) -> &RootChain {
        &self.chain
    }

    /// Takes the next root document. The log stays as it is until the first document of the new
    /// epoch: nothing is un-revoked by a new root alone.
    pub fn extend_root(&mut self, wire: &[u8]) -> Result<(), RootError> {
        Arc::make_mut(&mut self.chain).extend(wire)
    }

    /// Checks form, signature and meaning; once per connection and certificate.
    pub fn verify_certificate(&self, wire: &[u8]) -> Result<VerifiedCertificate, CertificateError> {
        let frame =
            Frame::parse(wire, Kind::DeviceCertificate).map_err(CertificateError::Malformed)?;
        let expected = self.network_id();
        let Some(signer) = self.chain.current().signer(frame.key_id()) else {
            // Refused in any case; the name of the network only makes the better answer.
            return Err(match DeviceCertificate::decode(frame.body) {
                Ok(unknown) if unknown.network_id != expected => CertificateError::WrongNetwork {
                    expected,
                    got: unknown.network_id,
                },
                _ => CertificateError::UnknownSigner {
                    key_id: frame.key_id(),
                },
            });
        };
        frame
            .verify(0, &signer.key)
            .map_err(|_| CertificateError::BadSignature)?;
        let certificate =
            DeviceCertificate::decode(frame.body).map_err(CertificateError::Malformed)?;
        self.check_origin(&certificate)?;
        certificate.check_meaning()?;
        if !signer.holds(certificate.issued_at) {
            return Err(CertificateError::OutsideSignerWindow {
                issued_at: certificate.issued_at,
                not_before: signer.not_before,
                not_after: signer.not_after,
            });
        }
        Ok(VerifiedCertificate {
            certificate,
            wire: wire.to_vec(),
            signer: signer.key,
        })
    }

    /// Checks what may have changed since: on every request, from memory.
    pub fn check(
        &self,
        verified: &VerifiedCertificate,
        peer: &NodeId,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let certificate = verified.certificate();
        if certificate.device != *peer {
            return Err(CertificateError::WrongKey {
                certificate: certificate.device,
                peer: *peer,
            });
        }
        self.check_origin(certificate)?;
        let signers = &self.chain.current().signers;
        let Some(signer) = signers.iter().find(|signer| signer.key == verified.signer) else {
            return Err(CertificateError::UnknownSigner {
                key_id: verified.signer.key_id(),
            });
        };
        if !signer.holds(certificate.issued_at) {
            return Err(CertificateError::OutsideSignerWindow {
                issued_at: certificate.issued_at,
                not_before: signer.not_before,
                not_after: signer.not_after,
            });
        }
        let minimum = self.min_generation(peer);
        if minimum == REVOKED {
            return Err(CertificateError::Revoked { device: *peer });
        }
        let (generation, not_before) = (certificate.generation, certificate.not_before);
        if generation < minimum {
            return Err(CertificateError::Superseded {
                generation,
                minimum,
            });
        }
        if now < not_before {
            return Err(CertificateError::NotYetValid { not_before, now });
        }
        let not_after = certificate.not_after;
        if now >= not_after.saturating_add(LEEWAY_SECS) {
            return Err(CertificateError::Expired { not_after, now });
        }
        Ok(())
    }

    /// Checks a delta that a peer offers as the reason why `device` was turned away: signed by a
    /// signer of our root for our network, and revoking the device for ever. Its place in the log is not
    /// asked for, and nothing is changed.
    pub fn verify_revocation_proof(
        &self,
        device: &NodeId,
        delta_wire: &[u8],
    ) -> Result<RevocationEntry, LogError> {
        let frame = self.open(delta_wire, Kind::RevocationDelta)?;
        let delta = Delta::decode(frame.body).map_err(LogError::Malformed)?;
        self.check_log_network(delta.network_id)?;
        self.check_log_origin(&frame, delta.root_epoch, delta.time)?;
        delta
            .entries
            .into_iter()
            // A demotion is no revocation: the device renews and is let in again.
            .find(|entry| entry.device == *device && entry.min_generation == REVOKED)
            .ok_or(LogError::NotNamed { device: *device })
    }

    /// The end of the log as far as it is known.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// The least generation that `device` needs; 0 when the log does not name it.
    pub fn min_generation(&self, device: &NodeId) -> u32 {
        self.revoked.get(device).map_or(0, |entry| entry.0)
    }

    /// Whether `device` is revoked for ever.
    pub fn is_revoked(&self, device: &NodeId) -> bool {
        self.min_generation(device) == REVOKED
    }

    /// How many devices the log names.
    pub fn revoked_len(&self) -> usize {
        self.revoked.len()
    }

    /// The entries in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = RevocationEntry> + '_ {
        self.revoked.iter()
    }

    /// The newest time in any document of the log that was taken.
    pub fn newest_signed_time(&self) -> UnixTime {
        self.newest_signed_time
    }

    /// The time of the newest heartbeat, if one was taken.
    pub fn last_heartbeat(&self) -> Option<UnixTime> {
        self.last_heartbeat
    }

    /// The same state without times after `limit`: whoever runs this machine says that they came
    /// from a clock that was wrong.
    #[must_use]
    pub fn without_times_after(&self, limit: UnixTime) -> Self {
        Self {
            newest_signed_time: self.newest_signed_time.min(limit),
            last_heartbeat: self.last_heartbeat.filter(|time| *time <= limit),
            ..self.clone()
        }
    }

    /// What to keep on disk.
    pub fn to_replica(&self) -> Replica {
        Replica {
            head: self.head,
            newest_signed_time: self.newest_signed_time,
            last_heartbeat: self.last_heartbeat,
            entries: self.entries().collect(),
        }
    }

    /// The next step of the log, for its signer.
    pub fn next_delta(&self, time: UnixTime, entries: Vec<RevocationEntry>) -> Delta {
        Delta {
            network_id: self.network_id(),
            root_epoch: self.head.root_epoch,
            seq: self.head.seq.saturating_add(1),
            previous: self.head.hash,
            time,
            entries,
        }
    }

    /// A heartbeat for the end of the log, for its signer.
    pub fn heartbeat(&self, time: UnixTime) -> Heartbeat {
        let LogHead {
            root_epoch,
            seq,
            hash: head,
        } = self.head;
        Heartbeat {
            network_id: self.network_id(),
            root_epoch,
            seq,
            head,
            time,
        }
    }

    /// The whole log, for its signer. After a new root document this is the first of the new
    /// epoch: its steps start again at 0.
    pub fn snapshot(&self, time: UnixTime) -> Snapshot {
        let mut entries: Vec<_> = self.entries().collect();
        entries.sort_unstable_by_key(|entry| entry.device);
        let root_epoch = self.chain.epoch();
        let (seq, head) = if self.head.root_epoch == root_epoch {
            (self.head.seq, self.head.hash)
        } else {
            (0, LogHash::ZERO)
        };
        Snapshot {
            network_id: self.network_id(),
            root_epoch,
            seq,
            head,
            time,
            entries,
        }
    }

    fn check_origin(&self, certificate: &DeviceCertificate) -> Result<(), CertificateError> {
        let (expected, have) = (self.network_id(), self.chain.epoch());
        if certificate.network_id != expected {
            return Err(CertificateError::WrongNetwork {
                expected,
                got: certificate.network_id,
            });
        }
        if certificate.root_epoch > have {
            return Err(CertificateError::RootEpochAhead {
                have,
                got: certificate.root_epoch,
            });
        }
        Ok(())
    }
}
