//! The short code that a person compares when a device asks to join.

use sha2::{Digest, Sha256};

use crate::ids::{InviteId, NetworkId, NodeId};

/// The 20 letters of a code: no vowels and so no words, no digits and so no confusion with them.
pub const CHECK_CODE_ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

const CONTEXT: &[u8] = b"homing/check-code/v1\0";
const LETTERS: usize = 8;

/// The code for one device joining by one invitation at one coordinator, as `XXXX-XXXX`.
pub fn check_code(
    network_id: NetworkId,
    invite_id: InviteId,
    device: NodeId,
    coordinator: NodeId,
) -> String {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(CONTEXT)
        .chain_update(network_id.as_bytes())
        .chain_update(invite_id.as_bytes())
        .chain_update(device.as_bytes())
        .chain_update(coordinator.as_bytes())
        .finalize()
        .into();
    // 64 bits over 20^8 values: the most likely code is no more than 1 in 10^9 too likely.
    let mut number = hash[..8]
        .iter()
        .fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let mut letters = [b'B'; LETTERS];
    for letter in letters.iter_mut().rev() {
        *letter = CHECK_CODE_ALPHABET[(number % 20) as usize];
        number /= 20;
    }
    display(&letters)
}

/// A typed code in the form of [`check_code`]: case, spaces and dashes are ignored. `None` when it
/// is not 8 letters of the alphabet.
pub fn normalize_check_code(typed: &str) -> Option<String> {
    let mut letters = [b'B'; LETTERS];
    let mut count = 0;
    for letter in typed.bytes().map(|byte| byte.to_ascii_uppercase()) {
        if letter == b'-' || letter.is_ascii_whitespace() {
            continue;
        }
        if count == LETTERS || !CHECK_CODE_ALPHABET.contains(&letter) {
            return None;
        }
        letters[count] = letter;
        count += 1;
    }
    (count == LETTERS).then(|| display(&letters))
}

fn display(letters: &[u8; LETTERS]) -> String {
    let (first, second) = letters.split_at(LETTERS / 2);
    [first, b"-", second]
        .concat()
        .into_iter()
        .map(char::from)
        .collect()
}
