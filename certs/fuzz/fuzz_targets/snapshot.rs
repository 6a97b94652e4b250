#![no_main]

use homing_certs::Snapshot;
use homing_certs_fuzz::same_again;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|wire: &[u8]| {
    if let Ok(document) = Snapshot::decode_unverified(wire) {
        same_again(wire, |key| document.sign(key));
    }
});
