//! The ALPN of every protocol. The number is the major version: a change that an old peer cannot
//! read gets a new one.

/// HTTP and WebSocket for devices with a certificate (`docs/transport.md`).
pub const GATEWAY: &[u8] = b"homing/gateway/1";
/// Redemption of a ticket; the only protocol that a key without a certificate may speak.
pub const ENROLL: &[u8] = b"homing/enroll/1";
/// A device and its coordinator: renewal, devices, invitations, agents, notices.
pub const CONTROL: &[u8] = b"homing/control/1";
/// An agent's live revocation log.
pub const REVOCATIONS: &[u8] = b"homing/revocations/1";
