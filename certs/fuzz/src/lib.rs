//! What every fuzz target of a signed document asks: accepted means that it re-encodes equal.

use homing_certs::{EncodeError, Kind, SigningKey, kind_of};

/// Checks that `signed`, made from what `wire` says, covers the same bytes.
///
/// `sign` may refuse what only the decoder accepts: a form without a meaning.
pub fn same_again(wire: &[u8], sign: impl FnOnce(&SigningKey) -> Result<Vec<u8>, EncodeError>) {
    let Ok(again) = sign(&SigningKey::from_bytes(&[2; 32])) else {
        return;
    };
    let len_bytes = if kind_of(wire) == Some(Kind::RevocationSnapshot) {
        4
    } else {
        2
    };
    let body = wire[2..2 + len_bytes]
        .iter()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    let covered = 2 + len_bytes + body;
    assert_eq!(wire[..covered], again[..covered]);
}
