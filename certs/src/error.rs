//! Every way in which a document is refused, and the code a peer is told.
//!
//! `reason()` is the fine name of a refusal, the same in `docs/trust.md`, in the test vectors and
//! in every verifier; [`ReasonCode`] is the coarse one that goes over the wire.

use std::fmt;
use std::str::FromStr;

use crate::ids::{KeyId, LogHash, NetworkId, NodeId, UnixTime, WeakKey};
use crate::log::LogHead;
use crate::wire::Kind;

mod form;
mod refusal;

pub use form::FormError;

/// Why a peer is not served, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// No certificate was shown.
    CertMissing,
    /// The certificate is not one that could be believed.
    CertInvalid,
    /// The certificate is over, or a newer one has replaced it: renew.
    CertExpired,
    /// The certificate's time has not come.
    CertNotYetValid,
    /// The certificate is for another network.
    WrongNetwork,
    /// The certificate is for another key than the peer proved to hold.
    WrongKey,
    /// The device is revoked for ever.
    Revoked,
    /// The signer is not in this side's root document: exchange root chains.
    UnknownSigner,
    /// The newest news is too old for what was asked.
    StalePolicy,
    /// The peer speaks a version that this side does not.
    UpgradeRequired,
    /// The certificate does not grant this.
    Forbidden,
    /// Too much work at the moment.
    Busy,
    /// This side is shutting down.
    Draining,
}

impl ReasonCode {
    /// All codes.
    pub const ALL: [Self; 13] = [
        Self::CertMissing,
        Self::CertInvalid,
        Self::CertExpired,
        Self::CertNotYetValid,
        Self::WrongNetwork,
        Self::WrongKey,
        Self::Revoked,
        Self::UnknownSigner,
        Self::StalePolicy,
        Self::UpgradeRequired,
        Self::Forbidden,
        Self::Busy,
        Self::Draining,
    ];

    /// The text that goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertMissing => "cert_missing",
            Self::CertInvalid => "cert_invalid",
            Self::CertExpired => "cert_expired",
            Self::CertNotYetValid => "cert_not_yet_valid",
            Self::WrongNetwork => "wrong_network",
            Self::WrongKey => "wrong_key",
            Self::Revoked => "revoked",
            Self::UnknownSigner => "unknown_signer",
            Self::StalePolicy => "stale_policy",
            Self::UpgradeRequired => "upgrade_required",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no reason code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reason code")]
pub struct UnknownReasonCode(pub String);

impl FromStr for ReasonCode {
    type Err = UnknownReasonCode;

    fn from_str(text: &str) -> Result<Self, UnknownReasonCode> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownReasonCode(text.to_owned()))
    }
}

/// Why a document was not signed. Nothing is signed that would be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The document would not have a valid form.
    #[error("the document has no valid form")]
    Form(#[source] FormError),
    /// The certificate would be refused.
    #[error("the certificate would be refused")]
    Certificate(#[source] CertificateError),
    /// The root document would be refused.
    #[error("the root document would be refused")]
    Root(#[source] RootError),
}

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not a certificate.
    #[error("the certificate is malformed")]
    Malformed(#[source] FormError),
    /// No signer of the current root document has this id.
    #[error("the signer {key_id} is not in the root document")]
    UnknownSigner {
        /// The id that the certificate names.
        key_id: KeyId,
    },
    /// The signature is not the signer's.
    #[error("the certificate's signature does not verify")]
    BadSignature,
    /// For another network.
    #[error("the certificate is for network {got}, this is {expected}")]
    WrongNetwork {
        /// This network.
        expected: NetworkId,
        /// The certificate's network.
        got: NetworkId,
    },
    /// Issued under a root document that is not known here yet.
    #[error("the certificate is of root epoch {got}, known is {have}")]
    RootEpochAhead {
        /// The newest epoch here.
        have: u32,
        /// The certificate's epoch.
        got: u32,
    },
    /// The device key must not be used by anybody.
    #[error("the certificate's device key is weak")]
    WeakDeviceKey(#[source] WeakKey),
    /// `not_before` is not `issued_at` less 300 s.
    #[error("not_before {not_before} is not 300 s before issued_at {issued_at}")]
    WrongBackdate {
        /// When it was issued.
        issued_at: UnixTime,
        /// When it starts.
        not_before: UnixTime,
    },
    /// It ends before it was issued.
    #[error("not_after {not_after} is not later than issued_at {issued_at}")]
    EmptyLife {
        /// When it was issued.
        issued_at: UnixTime,
        /// When it ends.
        not_after: UnixTime,
    },
    /// It lives longer than 31 days.
    #[error("a life of {seconds} s is longer than 31 days")]
    LifeTooLong {
        /// From `not_before` to `not_after`.
        seconds: u64,
    },
    /// Its signer had no right to sign at that time.
    #[error("issued at {issued_at}, outside the signer's time {not_before} to {not_after}")]
    OutsideSignerWindow {
        /// When it was issued.
        issued_at: UnixTime,
        /// When the signer's time starts.
        not_before: UnixTime,
        /// When the signer's time ends.
        not_after: UnixTime,
    },
    /// The peer proved to hold another key.
    #[error("the certificate is for {certificate}, the peer is {peer}")]
    WrongKey {
        /// The certificate's device.
        certificate: NodeId,
        /// The peer.
        peer: NodeId,
    },
    /// The device is revoked for ever.
    #[error("the device {device} is revoked")]
    Revoked {
        /// The device.
        device: NodeId,
    },
    /// A newer certificate with other rights has replaced this one.
    #[error("the certificate of generation {generation} is replaced, the least is {minimum}")]
    Superseded {
        /// The certificate's generation.
        generation: u32,
        /// The least that is accepted.
        minimum: u32,
    },
    /// Its time has not come.
    #[error("the certificate starts at {not_before}, it is {now}")]
    NotYetValid {
        /// When it starts.
        not_before: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
    /// Its time is over, leeway included.
    #[error("the certificate ended at {not_after}, it is {now}")]
    Expired {
        /// When it ended.
        not_after: UnixTime,
        /// The time of the check.
        now: UnixTime,
    },
}

/// Why a root document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// The bytes are not a root document.
    #[error("the root document is malformed")]
    Malformed(#[source] FormError),
    /// Several root keys. Reserved.
    #[error("{count} root keys, one is supported")]
    SeveralRoots {
        /// How many.
        count: usize,
    },
    /// Several signers. Reserved.
    #[error("{count} signers, one is supported")]
    SeveralSigners {
        /// How many.
        count: usize,
    },
    /// A key of the document must not be used by anybody.
    #[error("the key {key} is weak")]
    WeakKey {
        /// The key.
        key: NodeId,
        /// What is wrong with it.
        #[source]
        source: WeakKey,
    },
    /// A coordinator stands there twice.
    #[error("the coordinator {coordinator} is listed twice")]
    DuplicateCoordinator {
        /// The coordinator.
        coordinator: NodeId,
    },
    /// A signer's time is empty or longer than ten years.
    #[error("the signer's time {not_before} to {not_after} is empty or over ten years")]
    BadSignerWindow {
        /// When the signer's time starts.
        not_before: UnixTime,
        /// When it ends.
        not_after: UnixTime,
    },
    /// Epoch 0 does not exist.
    #[error("the first epoch is 1")]
    EpochZero,
    /// A genesis document cannot name the network that its own hash names.
    #[error("the genesis document names a network")]
    GenesisNamesNetwork,
    /// A later document must name its network.
    #[error("the root document of epoch {epoch} names no network")]
    NetworkMissing {
        /// The document's epoch.
        epoch: u32,
    },
    /// The first document of a chain is not a genesis document.
    #[error("the chain starts with epoch {epoch}")]
    NotGenesis {
        /// The document's epoch.
        epoch: u32,
    },
    /// A chain without a document.
    #[error("the chain is empty")]
    EmptyChain,
    /// More documents than anybody needs.
    #[error("the chain is longer than {max}")]
    ChainTooLong {
        /// The most.
        max: usize,
    },
    /// Of another network.
    #[error("the root document is of network {got}, expected {expected}")]
    WrongNetwork {
        /// The expected network.
        expected: NetworkId,
        /// The document's.
        got: NetworkId,
    },
    /// Not later than what is known.
    #[error("epoch {got} is not later than {have}")]
    Rollback {
        /// The newest epoch here.
        have: u32,
        /// The document's.
        got: u32,
    },
    /// Another document of an epoch that is known: the root key signed twice.
    #[error("another root document of epoch {epoch}")]
    Fork {
        /// The epoch.
        epoch: u32,
    },
    /// An epoch in between is missing.
    #[error("epoch {got} does not follow {have}")]
    EpochGap {
        /// The newest epoch here.
        have: u32,
        /// The document's.
        got: u32,
    },
    /// A root of the old or of the new epoch has not signed.
    #[error("the signature of root {key_id} is missing")]
    MissingSignature {
        /// The root.
        key_id: KeyId,
    },
    /// Signed by a key that is no root of either epoch.
    #[error("{key_id} is not a root")]
    UnknownRoot {
        /// The key.
        key_id: KeyId,
    },
    /// The signatures are not ascending by key id.
    #[error("the signatures are not in order")]
    SignatureOrder,
    /// A signature is not the root's.
    #[error("the signature of root {key_id} does not verify")]
    BadSignature {
        /// The root.
        key_id: KeyId,
    },
}

/// Why a document of the revocation log is refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The bytes are not a document of the log.
    #[error("the log document is malformed")]
    Malformed(#[source] FormError),
    /// Another kind of document.
    #[error("a {} is not part of the log", .0.name())]
    NotALogDocument(Kind),
    /// No signer of the current root document has this id.
    #[error("the signer {key_id} is not in the root document")]
    UnknownSigner {
        /// The id that the document names.
        key_id: KeyId,
    },
    /// The signature is not the signer's.
    #[error("the log document's signature does not verify")]
    BadSignature,
    /// Of another network.
    #[error("the log document is of network {got}, this is {expected}")]
    WrongNetwork {
        /// This network.
        expected: NetworkId,
        /// The document's.
        got: NetworkId,
    },
    /// Of a root document that is not known here yet.
    #[error("the log document is of root epoch {got}, known is {have}")]
    RootEpochAhead {
        /// The newest epoch here.
        have: u32,
        /// The document's.
        got: u32,
    },
    /// Its signer had no right to sign at that time.
    #[error("signed at {time}, outside the signer's time {not_before} to {not_after}")]
    OutsideSignerWindow {
        /// The document's time.
        time: UnixTime,
        /// When the signer's time starts.
        not_before: UnixTime,
        /// When it ends.
        not_after: UnixTime,
    },
    /// Deltas in between are missing: ask for a snapshot.
    #[error("the log continues at {got:?}, known is {have:?}")]
    Gap {
        /// The head here.
        have: LogHead,
        /// What the document is about.
        got: LogHead,
    },
    /// The signer tells different peers different things. Raise an alarm.
    #[error("two different logs at seq {seq}")]
    Equivocation {
        /// The step at which they differ.
        seq: u64,
        /// The hash here.
        have: LogHash,
        /// The hash that the document claims.
        got: LogHash,
    },
    /// Signed later than everything known, yet about an earlier log: the coordinator lost its end.
    #[error("the signer has gone back from {have:?} to {got:?}")]
    Rollback {
        /// The head here.
        have: LogHead,
        /// The document's head.
        got: LogHead,
    },
    /// A heartbeat older than the newest one, which proves nothing.
    #[error("the heartbeat of {got} is not later than that of {have}")]
    NotLater {
        /// The newest heartbeat's time.
        have: UnixTime,
        /// This one's.
        got: UnixTime,
    },
    /// The set would hold more entries than a snapshot can carry.
    #[error("the log would have {count} entries, the most is {max}")]
    Full {
        /// How many it would have.
        count: usize,
        /// The most.
        max: usize,
    },
    /// The entry offered as a proof is about others.
    #[error("the log entry does not name {device}")]
    NotNamed {
        /// The device.
        device: NodeId,
    },
}
