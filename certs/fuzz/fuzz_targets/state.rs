#![no_main]

//! Bytes that nobody signed change nothing, whatever they are.

use std::sync::OnceLock;

use homing_certs::{
    NodeId, RootChain, RootDocument, SignerRecord, SigningKey, TrustState, UnixTime,
};
use libfuzzer_sys::fuzz_target;

static STATE: OnceLock<TrustState> = OnceLock::new();

fn state() -> TrustState {
    // Keys that no seed is signed with.
    let (root, signer) = (
        SigningKey::from_bytes(&[201; 32]),
        SigningKey::from_bytes(&[202; 32]),
    );
    let genesis = RootDocument {
        network_id: None,
        epoch: 1,
        signers: vec![SignerRecord {
            key: NodeId::from(&signer),
            not_before: UnixTime(0),
            not_after: UnixTime(300_000_000),
        }],
        roots: vec![NodeId::from(&root)],
        coordinators: vec![NodeId::from(&signer)],
    };
    let wire = genesis.sign(&[&root]).expect("the genesis is good");
    TrustState::new(RootChain::from_genesis(&wire, None).expect("the genesis is good"))
}

fuzz_target!(|wire: &[u8]| {
    let mut state = STATE.get_or_init(state).clone();
    assert!(state.apply(wire).is_err());
    assert!(state.verify_certificate(wire).is_err());
    assert!(state.extend_root(wire).is_err());
    assert!(
        state
            .verify_revocation_proof(&NodeId::from([1; 32]), wire)
            .is_err()
    );
    assert_eq!((state.head().seq, state.revoked_len()), (0, 0));
});
