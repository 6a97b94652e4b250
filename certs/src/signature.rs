//! The one place where a signature is checked.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::ids::NodeId;

/// The signature is not one of this key over this message, or the key is not one to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Checks an Ed25519 signature strictly: canonical S, no small-order key or R, no cofactor.
///
/// Also refuses a key that is not canonically encoded, so that a key has one name only.
pub fn verify_signature(
    key: &NodeId,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    let verifying = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| BadSignature)?;
    if verifying.to_edwards().compress().as_bytes() != key.as_bytes() {
        return Err(BadSignature);
    }
    verifying
        .verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| BadSignature)
}
