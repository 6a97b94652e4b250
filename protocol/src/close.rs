//! Application close codes of a connection, and what the closed side should do.

use homing_certs::ReasonCode;

/// QUIC application close code.
pub type CloseCode = u32;

/// Both sides are done; nothing was refused.
pub const DONE: CloseCode = 0;
/// Code for resetting a stream whose other half failed.
pub const STREAM_FAILED: CloseCode = 0x500;
/// Code for resetting a stream whose reader stopped taking frames.
pub const STREAM_STALLED: CloseCode = 0x408;

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// Stop and say why; trying again changes nothing.
    Stop,
    /// Renew the certificate at the coordinator, then retry once.
    Renew,
    /// Exchange root documents or wait, then retry with backoff.
    Retry,
}

/// The close code of a refusal.
#[must_use]
pub fn code(reason: ReasonCode) -> CloseCode {
    match reason {
        ReasonCode::CertMissing
        | ReasonCode::CertInvalid
        | ReasonCode::WrongKey
        | ReasonCode::WrongNetwork => 0x401,
        ReasonCode::Forbidden => 0x403,
        ReasonCode::Revoked => 0x410,
        ReasonCode::CertExpired => 0x411,
        ReasonCode::CertNotYetValid => 0x425,
        ReasonCode::UnknownSigner => 0x412,
        ReasonCode::StalePolicy => 0x409,
        ReasonCode::Busy => 0x429,
        ReasonCode::Draining => 0x503,
        ReasonCode::UpgradeRequired => 0x426,
    }
}

/// What a client does after a refusal.
#[must_use]
pub fn after(reason: ReasonCode) -> AfterClose {
    match reason {
        ReasonCode::CertExpired => AfterClose::Renew,
        ReasonCode::CertNotYetValid
        | ReasonCode::UnknownSigner
        | ReasonCode::StalePolicy
        | ReasonCode::Busy
        | ReasonCode::Draining => AfterClose::Retry,
        _ => AfterClose::Stop,
    }
}

/// The close frame's reason bytes: the reason's text, then for `revoked` a zero byte and the signed
/// log entry. A delta is at most 1,100 bytes, so the frame fits one QUIC packet.
#[must_use]
pub fn reason_bytes(reason: ReasonCode, proof: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = reason.as_str().as_bytes().to_vec();
    if let Some(proof) = proof {
        bytes.push(0);
        bytes.extend_from_slice(proof);
    }
    bytes
}

/// Reads what [`reason_bytes`] wrote. `None` when the reason is not one of ours.
#[must_use]
pub fn parse_reason(bytes: &[u8]) -> Option<(ReasonCode, Option<&[u8]>)> {
    let (text, proof) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let reason = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some((reason, proof))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_reason_reads_back_with_its_proof() {
        let bytes = reason_bytes(ReasonCode::Revoked, Some(&[1, 0, 2]));
        assert_eq!(
            parse_reason(&bytes),
            Some((ReasonCode::Revoked, Some(&[1u8, 0, 2][..])))
        );
        let bytes = reason_bytes(ReasonCode::Busy, None);
        assert_eq!(parse_reason(&bytes), Some((ReasonCode::Busy, None)));
        assert_eq!(parse_reason(b"something else"), None);
        assert_eq!(parse_reason(&[0xff, 0xfe]), None);
    }
}
