//! Framing of messages on a QUIC stream or the control socket: `length u32 BE || JSON`.
//!
//! JSON, because these messages are few and a person with a packet dump, or a client in another
//! language, should be able to read them. Bulk data never travels in frames.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest frame of an ordinary exchange, in bytes. A root chain of 40 documents and a certificate fit.
pub const MAX_FRAME: usize = 64 * 1024;

/// Largest frame that may carry a snapshot of the revocation log, in bytes: 200,000 entries of at
/// most 48 bytes, as base64.
pub const MAX_SNAPSHOT_FRAME: usize = 16 * 1024 * 1024;

/// Length of the prefix, in bytes.
pub const PREFIX_LEN: usize = 4;

/// Why bytes are not a frame, or a value does not fit one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix is above the limit of this exchange.
    #[error("a frame of {length} bytes is above the limit of {limit}")]
    TooLarge {
        /// Length that was announced or needed.
        length: usize,
        /// The limit of this exchange.
        limit: usize,
    },
    /// The payload is not the JSON that was expected.
    #[error("the frame is not the message that was expected here")]
    Malformed(#[source] serde_json::Error),
}

/// The frame of a message, prefix included.
///
/// # Errors
/// [`FrameError::TooLarge`] above `limit`.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; PREFIX_LEN];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Malformed)?;
    let length = bytes.len() - PREFIX_LEN;
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    let prefix = u32::try_from(length).map_err(|_| FrameError::TooLarge { length, limit })?;
    bytes[..PREFIX_LEN].copy_from_slice(&prefix.to_be_bytes());
    Ok(bytes)
}

/// The payload length that a prefix announces.
///
/// # Errors
/// [`FrameError::TooLarge`] above `limit`, before anything is allocated for it.
pub fn payload_len(prefix: [u8; PREFIX_LEN], limit: usize) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    Ok(length)
}

/// The message of a frame's payload.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(payload).map_err(FrameError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_as_the_message_it_was_made_of() {
        let bytes = encode(&vec!["one", "two"], MAX_FRAME).unwrap();
        let length = payload_len(bytes[..4].try_into().unwrap(), MAX_FRAME).unwrap();
        assert_eq!(length, bytes.len() - 4);
        let back: Vec<String> = decode(&bytes[4..]).unwrap();
        assert_eq!(back, ["one", "two"]);
    }

    #[test]
    fn a_frame_one_byte_over_the_limit_is_refused_on_both_sides() {
        let text = "x".repeat(98);
        assert!(encode(&text, 100).is_ok());
        assert!(matches!(
            encode(&text, 99),
            Err(FrameError::TooLarge {
                length: 100,
                limit: 99
            })
        ));
        assert!(payload_len(100u32.to_be_bytes(), 100).is_ok());
        assert!(payload_len(101u32.to_be_bytes(), 100).is_err());
        assert!(payload_len(u32::MAX.to_be_bytes(), MAX_SNAPSHOT_FRAME).is_err());
    }
}
