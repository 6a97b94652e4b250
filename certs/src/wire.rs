//! The envelope around every signed document: version, kind, length, body, signatures.
//! Owns what is signed; knows nothing of what a body says.

use ed25519_dalek::{Signer, SigningKey};

use crate::error::{EncodeError, FormError};
use crate::ids::{KeyId, NodeId};
use crate::signature::{BadSignature, verify_signature};

/// Greatest body of every document but a snapshot. A body fits one datagram with room to spare.
pub const MAX_BODY_LEN: usize = 1024;
/// Greatest body of a snapshot: 200,000 entries of 41 bytes and the fields around them.
pub const MAX_SNAPSHOT_BODY_LEN: usize = 200_000 * 41 + 256;

const VERSION: u8 = 1;
/// Only a root document has two: the old root's and the new root's.
const MAX_SIGNATURES: u8 = 2;
const SIGNATURE_LEN: usize = 8 + 64;

/// What a document is. The number stands in its second byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Who may sign for the network.
    Root = 1,
    /// What a device may do.
    DeviceCertificate = 2,
    /// One step of the revocation log.
    RevocationDelta = 3,
    /// The whole revocation log up to one step.
    RevocationSnapshot = 4,
    /// The head of the log at a time.
    Heartbeat = 5,
    /// Where peers may be found. Reserved: refused today.
    AddressHints = 6,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Root,
        Self::DeviceCertificate,
        Self::RevocationDelta,
        Self::RevocationSnapshot,
        Self::Heartbeat,
        Self::AddressHints,
    ];

    /// The name that stands in the signed context.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::DeviceCertificate => "device-certificate",
            Self::RevocationDelta => "revocation-delta",
            Self::RevocationSnapshot => "revocation-snapshot",
            Self::Heartbeat => "heartbeat",
            Self::AddressHints => "address-hints",
        }
    }

    fn length_bytes(self) -> usize {
        if self == Self::RevocationSnapshot {
            4
        } else {
            2
        }
    }

    fn max_body(self) -> usize {
        if self == Self::RevocationSnapshot {
            MAX_SNAPSHOT_BODY_LEN
        } else {
            MAX_BODY_LEN
        }
    }

    fn max_signatures(self) -> u8 {
        if self == Self::Root {
            MAX_SIGNATURES
        } else {
            1
        }
    }
}

/// The kind that the first bytes claim, when they are of a version and kind known here.
pub fn kind_of(wire: &[u8]) -> Option<Kind> {
    match wire {
        [VERSION, kind, ..] => Kind::ALL.into_iter().find(|known| *known as u8 == *kind),
        _ => None,
    }
}

/// A document taken apart but not believed yet.
pub(crate) struct Frame<'a> {
    kind: Kind,
    /// Version, kind, length and body: what the signature covers besides the context.
    pub(crate) covered: &'a [u8],
    pub(crate) body: &'a [u8],
    signatures: &'a [[u8; SIGNATURE_LEN]],
}

impl<'a> Frame<'a> {
    pub(crate) fn parse(wire: &'a [u8], kind: Kind) -> Result<Self, FormError> {
        let version = *wire.first().ok_or(FormError::Truncated)?;
        if version != VERSION {
            return Err(FormError::UnsupportedVersion { version });
        }
        let got = *wire.get(1).ok_or(FormError::Truncated)?;
        if got == Kind::AddressHints as u8 {
            return Err(FormError::ReservedKind { kind: got });
        }
        if got != kind as u8 {
            return Err(FormError::WrongKind {
                expected: kind,
                got,
            });
        }
        let (body, rest) = split_body(wire, kind)?;
        let covered = &wire[..wire.len() - rest.len()];
        let (&count, rest) = rest.split_first().ok_or(FormError::Truncated)?;
        if count == 0 || count > kind.max_signatures() {
            return Err(FormError::SignatureCount { count });
        }
        let len = usize::from(count) * SIGNATURE_LEN;
        if rest.len() > len {
            return Err(FormError::TrailingBytes {
                count: rest.len() - len,
            });
        }
        if rest.len() < len {
            return Err(FormError::Truncated);
        }
        let (signatures, _) = rest.as_chunks();
        Ok(Self {
            kind,
            covered,
            body,
            signatures,
        })
    }

    /// The key ids in the order in which they stand.
    pub(crate) fn key_ids(&self) -> Vec<KeyId> {
        self.signatures
            .iter()
            .map(|signature| split_signature(signature).0)
            .collect()
    }

    /// Checks the signature at `index` under `key`.
    pub(crate) fn verify(&self, index: usize, key: &NodeId) -> Result<(), BadSignature> {
        let (_, signature) = split_signature(self.signatures.get(index).ok_or(BadSignature)?);
        verify_signature(key, &signing_input(self.kind, self.covered), &signature)
    }

    /// The id of the first signature, which every document has.
    pub(crate) fn key_id(&self) -> KeyId {
        // parse() refuses a document without a signature, so the fallback names nobody.
        self.signatures
            .first()
            .map_or(KeyId::from([0; 8]), |signature| {
                split_signature(signature).0
            })
    }
}

/// Wraps a body and signs it, signatures ascending by key id.
pub(crate) fn seal(kind: Kind, body: &[u8], keys: &[&SigningKey]) -> Result<Vec<u8>, EncodeError> {
    if body.len() > kind.max_body() {
        return Err(EncodeError::Form(FormError::BodyTooLong {
            len: body.len(),
            max: kind.max_body(),
        }));
    }
    let mut wire = vec![VERSION, kind as u8];
    let len = (body.len() as u64).to_be_bytes();
    wire.extend(&len[8 - kind.length_bytes()..]);
    wire.extend(body);
    let input = signing_input(kind, &wire);
    let mut keys: Vec<_> = keys
        .iter()
        .map(|key| (NodeId::from(*key).key_id(), *key))
        .collect();
    keys.sort_unstable_by_key(|(id, _)| *id);
    keys.dedup_by_key(|(id, _)| *id);
    let count = u8::try_from(keys.len()).unwrap_or(u8::MAX);
    if count == 0 || count > kind.max_signatures() {
        return Err(EncodeError::Form(FormError::SignatureCount { count }));
    }
    wire.push(count);
    for (id, key) in keys {
        wire.extend(id.as_bytes());
        wire.extend(key.sign(&input).to_bytes());
    }
    Ok(wire)
}

/// The part of a document that its signature covers, as far as the bytes have that form.
pub(crate) fn covered_part(wire: &[u8], kind: Kind) -> &[u8] {
    match split_body(wire, kind) {
        Ok((_, rest)) => &wire[..wire.len() - rest.len()],
        Err(_) => wire,
    }
}

fn split_body(wire: &[u8], kind: Kind) -> Result<(&[u8], &[u8]), FormError> {
    let rest = wire.get(2..).ok_or(FormError::Truncated)?;
    let (len, rest) = rest
        .split_at_checked(kind.length_bytes())
        .ok_or(FormError::Truncated)?;
    let len = len
        .iter()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    if len > kind.max_body() {
        return Err(FormError::BodyTooLong {
            len,
            max: kind.max_body(),
        });
    }
    rest.split_at_checked(len).ok_or(FormError::Truncated)
}

fn signing_input(kind: Kind, covered: &[u8]) -> Vec<u8> {
    let context = format!("homing/{}/v1\0", kind.name());
    [context.as_bytes(), covered].concat()
}

fn split_signature(bytes: &[u8; SIGNATURE_LEN]) -> (KeyId, [u8; 64]) {
    let (mut id, mut signature) = ([0; 8], [0; 64]);
    id.copy_from_slice(&bytes[..8]);
    signature.copy_from_slice(&bytes[8..]);
    (KeyId::from(id), signature)
}
