//! Every bound with something just below and just above it, and the large set.

use homing_certs::*;

use crate::support::*;

fn many(count: u32) -> Vec<RevocationEntry> {
    let device = |n: u32| {
        let mut bytes = [0xee; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        NodeId::from(bytes)
    };
    (0..count).map(|n| revoke(device(n))).collect()
}

#[test]
fn the_largest_delta_fits_a_close_frame() {
    let full = Delta {
        root_epoch: u32::MAX,
        seq: u64::MAX,
        time: UnixTime(u64::MAX),
        ..state().next_delta(NOW, many(MAX_DELTA_ENTRIES as u32))
    };
    let wire = full.sign(&signer_key()).unwrap();
    assert_eq!(wire.len(), 817, "docs/trust.md names this number");
    let over = Delta {
        entries: many(MAX_DELTA_ENTRIES as u32 + 1),
        ..full
    };
    assert!(matches!(
        over.sign(&signer_key()),
        Err(EncodeError::Form(FormError::Count { .. }))
    ));
}

#[test]
fn the_largest_snapshot_fills_its_cap_and_one_more_entry_is_refused() {
    let max = MAX_SNAPSHOT_ENTRIES as u32;
    let full = Snapshot {
        seq: 1 << 40,
        head: LogHash::from([1; 32]),
        entries: many(max),
        ..state().snapshot(NOW)
    };
    let wire = full.sign(&signer_key()).unwrap();
    assert!(wire.len() < MAX_SNAPSHOT_BODY_LEN && wire.len() > MAX_SNAPSHOT_BODY_LEN - 256);
    let mut state = state();
    assert!(
        matches!(state.apply(&wire), Ok(Applied::Snapshot { changed, .. }) if changed.len() == MAX_SNAPSHOT_ENTRIES)
    );

    let one_more = state
        .next_delta(NOW, vec![revoke(device())])
        .sign(&signer_key())
        .unwrap();
    let head = state.head();
    let error = state.apply(&one_more).unwrap_err();
    assert_eq!(
        error,
        LogError::Full {
            count: MAX_SNAPSHOT_ENTRIES + 1,
            max: MAX_SNAPSHOT_ENTRIES
        }
    );
    assert_eq!(error.reason(), "full");
    assert_eq!(
        (state.head(), state.revoked_len()),
        (head, MAX_SNAPSHOT_ENTRIES)
    );

    let over = Snapshot {
        entries: many(max + 1),
        ..full
    };
    assert!(matches!(
        over.sign(&signer_key()),
        Err(EncodeError::Form(FormError::Count { .. }))
    ));
}

#[test]
fn a_clone_keeps_the_set_it_was_made_of_while_the_original_grows() {
    let entries = many(5_000);
    let mut state = state();
    let mut clones = vec![];
    for chunk in entries.chunks(MAX_DELTA_ENTRIES) {
        clones.push((state.revoked_len(), state.clone()));
        let delta = state
            .next_delta(NOW, chunk.to_vec())
            .sign(&signer_key())
            .unwrap();
        state.apply(&delta).unwrap();
    }
    assert_eq!(state.revoked_len(), 5_000);
    assert_eq!(state.entries().count(), 5_000);
    assert!(entries.iter().all(|entry| state.is_revoked(&entry.device)));
    for (len, clone) in clones {
        assert_eq!(clone.entries().count(), len);
        assert_eq!(clone.revoked_len(), len);
    }
}

#[test]
fn a_replica_restores_the_state_it_was_taken_from() {
    let (_, mut state) = log_of(&state(), &[device(), node(11)]);
    state
        .apply(
            &state
                .heartbeat(NOW.saturating_add(60))
                .sign(&signer_key())
                .unwrap(),
        )
        .unwrap();
    let copy = TrustState::from_replica(chain(), state.to_replica());
    assert_eq!(copy.head(), state.head());
    assert_eq!(copy.last_heartbeat(), Some(NOW.saturating_add(60)));
    assert_eq!(copy.newest_signed_time(), NOW.saturating_add(60));
    assert!(
        copy.is_revoked(&device()) && copy.is_revoked(&node(11)) && !copy.is_revoked(&node(12))
    );
    let next = copy
        .next_delta(NOW, vec![revoke(node(12))])
        .sign(&signer_key())
        .unwrap();
    assert!(matches!(
        state.apply(&next),
        Ok(Applied::Delta { seq: 3, .. })
    ));
}

#[test]
fn a_chain_has_an_end() {
    let mut chain = chain();
    for epoch in 2..=MAX_CHAIN_LEN as u32 {
        let document = RootDocument {
            epoch,
            ..second_epoch(&signer_key())
        };
        chain
            .extend(&document.sign(&[&root_key()]).unwrap())
            .unwrap();
    }
    let document = RootDocument {
        epoch: chain.epoch() + 1,
        ..second_epoch(&signer_key())
    };
    let error = chain
        .extend(&document.sign(&[&root_key()]).unwrap())
        .unwrap_err();
    assert_eq!(error, RootError::ChainTooLong { max: MAX_CHAIN_LEN });
    assert_eq!(chain.wires().len(), MAX_CHAIN_LEN);
}

#[test]
fn a_refused_root_document_leaves_the_chain_as_it_was() {
    let mut chain = chain();
    let before = chain.clone();
    for wire in [
        vec![],
        genesis().sign(&[&root_key()]).unwrap(),
        second_epoch(&signer_key()).sign(&[&key(9)]).unwrap(),
    ] {
        assert!(chain.extend(&wire).is_err());
        assert_eq!(chain, before);
    }
    let all = [before.wires()[0].clone(), second_wire(&signer_key())];
    assert_eq!(chain.extend_from(&all), Ok(1));
    assert_eq!(chain.wires(), all);
}
