//! Signed documents, the trust state and its rules.
//!
//! This crate owns the formats of `docs/trust.md`: root documents, device certificates, the
//! revocation log, tickets and check codes, and the pure state machines that decide with them.
//! It does no I/O, reads no clock and draws no random number: keys, time and randomness are
//! arguments. Where documents come from and where they are kept is the caller's business.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cbor;
mod certificate;
mod check_code;
mod clock;
mod error;
mod ids;
mod log;
mod role;
mod root;
mod scopes;
mod signature;
mod ticket;
mod trust;
mod wire;

pub use certificate::{
    BACKDATE_SECS, CERTIFICATE_LIFE_SECS, DeviceCertificate, Handle, HandleError, LEEWAY_SECS,
    MAX_LIFE_SECS, VerifiedCertificate, next_generation,
};
pub use check_code::{CHECK_CODE_ALPHABET, check_code, normalize_check_code};
pub use clock::{
    ClockError, HEARTBEAT_EVERY_SECS, HEARTBEAT_FRESH_SECS, MAX_FLOOR_JUMP_SECS,
    MAX_SIGNING_DEPARTURE_SECS, STALE_AFTER_SECS, SigningClock, SigningClockError, TrustClock,
    scope_needs_freshness,
};
pub use ed25519_dalek::SigningKey;
pub use error::{
    CertificateError, EncodeError, FormError, LogError, ReasonCode, RootError, UnknownReasonCode,
};
pub use ids::{
    IdParseError, InviteId, KeyId, LogHash, NetworkId, NodeId, Serial, UnixTime, UserId, WeakKey,
};
pub use log::{
    Delta, Heartbeat, LogHead, MAX_DELTA_ENTRIES, MAX_SNAPSHOT_ENTRIES, REVOKED, RevocationEntry,
    RevokeReason, Snapshot, delta_hash,
};
pub use role::{Ceiling, KNOWN_SCOPES, Role, UnknownRole, effective_rights};
pub use root::{
    GENESIS_EPOCH, MAX_CHAIN_LEN, MAX_COORDINATORS, MAX_SIGNER_LIFE_SECS, RootChain, RootDocument,
    SignerRecord,
};
pub use scopes::{MAX_SCOPE_LEN, MAX_SCOPES, ScopeError, Scopes};
pub use signature::{BadSignature, verify_signature};
pub use ticket::{MAX_ADDRESSES, MAX_RELAY_LEN, Ticket, TicketError, TicketSecret};
pub use trust::{Applied, Replica, TrustState};
pub use wire::{Kind, MAX_BODY_LEN, MAX_SNAPSHOT_BODY_LEN, kind_of};
