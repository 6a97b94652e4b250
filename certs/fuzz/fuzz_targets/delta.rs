#![no_main]

use homing_certs::Delta;
use homing_certs_fuzz::same_again;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|wire: &[u8]| {
    if let Ok(document) = Delta::decode_unverified(wire) {
        same_again(wire, |key| document.sign(key));
    }
});
