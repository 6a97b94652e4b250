//! The chain, pure: how a line is made from the one before, and how it is checked.
//!
//! A line is `{"hash":"<64 hex>","entry":<object>}`. The hash is SHA-256 over the context string, the
//! hash of the line before (32 bytes, zero for the first) and the bytes of `<object>` as they stand in
//! the file. The object begins with `"seq"`, which rises by one over all files, and `"time_ms"`.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::Entry;

const CONTEXT: &[u8] = b"homing/audit/v1\0";
const OPEN: &[u8] = b"{\"hash\":\"";
const MIDDLE: &[u8] = b"\",\"entry\":";
const CLOSE: &[u8] = b"}";
const HASH_TEXT: usize = 64;

/// The end of a chain: number and hash of its last line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last line; 0 before the first.
    pub seq: u64,
    /// Hash of the last line; zero before the first.
    pub hash: [u8; 32],
}

/// Why a line does not follow on the one before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// It is not a line of this format.
    #[error("this is not a line of the audit log")]
    Malformed,
    /// Its number is not the next.
    #[error("line {found} stands where line {expected} belongs")]
    Sequence {
        /// The next number.
        expected: u64,
        /// The line's number.
        found: u64,
    },
    /// Its hash does not fit its content and the line before.
    #[error("the hash of line {seq} does not fit: it or a line before it was changed")]
    Hash {
        /// The line's number.
        seq: u64,
    },
}

#[derive(Serialize)]
struct Numbered<'a> {
    seq: u64,
    time_ms: i64,
    #[serde(flatten)]
    entry: &'a Entry,
}

#[derive(Deserialize)]
struct SeqOnly {
    seq: u64,
}

impl Head {
    /// Before the first line.
    pub const START: Self = Self {
        seq: 0,
        hash: [0; 32],
    };

    /// The line that follows, with its line feed, and the head after it.
    pub(super) fn line(
        &self,
        entry: &Entry,
        time_ms: i64,
    ) -> Result<(Vec<u8>, Self), serde_json::Error> {
        let seq = self.seq + 1;
        let body = serde_json::to_vec(&Numbered {
            seq,
            time_ms,
            entry,
        })?;
        let hash = self.hash_of(&body);
        let mut line = Vec::with_capacity(body.len() + 90);
        line.extend_from_slice(OPEN);
        line.extend_from_slice(HEXLOWER.encode(&hash).as_bytes());
        line.extend_from_slice(MIDDLE);
        line.extend_from_slice(&body);
        line.extend_from_slice(CLOSE);
        line.push(b'\n');
        Ok((line, Self { seq, hash }))
    }

    /// The head after `line` (without its line feed), if it follows on this one.
    pub(super) fn follow(&self, line: &[u8]) -> Result<Self, ChainError> {
        let (head, body) = read(line)?;
        let expected = self.seq + 1;
        if head.seq != expected {
            return Err(ChainError::Sequence {
                expected,
                found: head.seq,
            });
        }
        if head.hash != self.hash_of(body) {
            return Err(ChainError::Hash { seq: head.seq });
        }
        Ok(head)
    }

    fn hash_of(&self, body: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(CONTEXT);
        hasher.update(self.hash);
        hasher.update(body);
        hasher.finalize().into()
    }
}

/// What a line says about itself, unchecked.
pub(super) fn read(line: &[u8]) -> Result<(Head, &[u8]), ChainError> {
    let rest = line.strip_prefix(OPEN).ok_or(ChainError::Malformed)?;
    let (hash, rest) = rest
        .split_at_checked(HASH_TEXT)
        .ok_or(ChainError::Malformed)?;
    let body = rest
        .strip_prefix(MIDDLE)
        .and_then(|rest| rest.strip_suffix(CLOSE))
        .ok_or(ChainError::Malformed)?;
    let hash = HEXLOWER.decode(hash).map_err(|_| ChainError::Malformed)?;
    let hash = hash.try_into().map_err(|_| ChainError::Malformed)?;
    let seq: SeqOnly = serde_json::from_slice(body).map_err(|_| ChainError::Malformed)?;
    Ok((Head { seq: seq.seq, hash }, body))
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, HEXLOWER.encode(&self.hash))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    #[test]
    fn a_line_follows_only_on_the_one_that_it_was_made_after() {
        let entry = Entry::new(Kind::Call).call("POST", "/api/upload");
        let (first, after_first) = Head::START.line(&entry, 5).unwrap();
        let (second, after_second) = after_first.line(&entry, 6).unwrap();
        let strip = |line: &[u8]| line[..line.len() - 1].to_vec();
        assert_eq!(Head::START.follow(&strip(&first)), Ok(after_first));
        assert_eq!(after_first.follow(&strip(&second)), Ok(after_second));
        let error = Head::START.follow(&strip(&second)).unwrap_err();
        assert_eq!(
            error,
            ChainError::Sequence {
                expected: 1,
                found: 2
            }
        );
        let other = Head {
            seq: 1,
            hash: [7; 32],
        };
        assert_eq!(
            other.follow(&strip(&second)),
            Err(ChainError::Hash { seq: 2 })
        );
    }

    #[test]
    fn any_changed_byte_of_a_line_is_found() {
        let entry = Entry::new(Kind::Admitted).call("GET", "/ws");
        let (line, _) = Head::START.line(&entry, 5).unwrap();
        let line = &line[..line.len() - 1];
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            assert!(Head::START.follow(&changed).is_err(), "byte {at}");
        }
    }
}
