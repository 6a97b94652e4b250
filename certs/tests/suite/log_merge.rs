//! Replicas that get the log in other orders, twice, in parts and with snapshots end the same.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use homing_certs::*;
use proptest::prelude::*;

use crate::support::*;

/// Deltas, the snapshot after each, and the state at the end.
type LongLog = (Vec<Vec<u8>>, Vec<Vec<u8>>, TrustState);

/// A log with several entries a step, some of them for the same devices, and what it comes to.
fn long_log() -> LongLog {
    static LOG: OnceLock<LongLog> = OnceLock::new();
    LOG.get_or_init(make_log).clone()
}

fn make_log() -> LongLog {
    let (mut state, mut deltas, mut snapshots) = (state(), vec![], vec![]);
    for step in 0..12u8 {
        let entry = |offset: u8, generation: u32| RevocationEntry {
            device: node(20 + (step + offset) % 5),
            min_generation: generation,
            reason: RevokeReason::Demoted,
        };
        let last = if step == 7 {
            REVOKED
        } else {
            300 - u32::from(step)
        };
        let entries = vec![entry(0, 1 + u32::from(step) * 7), entry(2, last)];
        let delta = state.next_delta(NOW.saturating_add(step.into()), entries);
        let wire = delta.sign(&signer_key()).unwrap();
        state.apply(&wire).unwrap();
        deltas.push(wire);
        snapshots.push(
            state
                .snapshot(NOW.saturating_add(step.into()))
                .sign(&signer_key())
                .unwrap(),
        );
    }
    (deltas, snapshots, state)
}

fn generations(state: &TrustState) -> BTreeMap<NodeId, u32> {
    state
        .entries()
        .map(|entry| (entry.device, entry.min_generation))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permuted_doubled_and_lost_deltas_converge_once_the_rest_is_fetched(
        order in proptest::collection::vec((0usize..12, any::<bool>()), 0..24),
    ) {
        let (deltas, snapshots, end) = long_log();
        let mut replica = state();
        let mut least = generations(&replica);
        for (index, snapshot) in order {
            let before = replica.head();
            let wire = if snapshot { &snapshots[index] } else { &deltas[index] };
            match replica.apply(wire) {
                Ok(Applied::Old) | Err(LogError::Gap { .. }) => prop_assert_eq!(replica.head(), before),
                Ok(_) => prop_assert!(replica.head() > before),
                Err(error) => prop_assert!(false, "{:?}", error),
            }
            // Nothing is ever lowered on the way.
            let now = generations(&replica);
            for (device, generation) in &least {
                prop_assert!(now[device] >= *generation);
            }
            least = now;
        }
        for wire in &deltas {
            let _ = replica.apply(wire);
        }
        replica.apply(&snapshots[11]).unwrap();
        prop_assert_eq!(replica.head(), end.head());
        prop_assert_eq!(generations(&replica), generations(&end));
    }
}

#[test]
fn a_lost_delta_is_a_gap_until_a_snapshot_fills_it() {
    let (deltas, snapshots, end) = long_log();
    let mut replica = state();
    replica.apply(&deltas[0]).unwrap();
    let have = replica.head();
    let error = replica.apply(&deltas[5]).unwrap_err();
    assert!(
        matches!(error, LogError::Gap { have: h, got } if h == have && got.seq == 6),
        "{error:?}"
    );
    replica.apply(&snapshots[8]).unwrap();
    for wire in &deltas {
        replica.apply(wire).unwrap();
    }
    assert_eq!(generations(&replica), generations(&end));
}

#[test]
fn the_reported_changes_are_exactly_the_raised_devices() {
    let (_, snapshots, _) = long_log();
    let mut replica = state();
    let mut known = generations(&replica);
    for wire in [&snapshots[2], &snapshots[7], &snapshots[11]] {
        let Applied::Snapshot { changed, .. } = replica.apply(wire).unwrap() else {
            panic!()
        };
        for entry in &changed {
            assert!(
                known
                    .get(&entry.device)
                    .is_none_or(|old| *old < entry.min_generation)
            );
        }
        let now = generations(&replica);
        let raised = now
            .iter()
            .filter(|(device, value)| known.get(*device) != Some(*value))
            .count();
        assert_eq!(changed.len(), raised);
        known = now;
    }
}

#[test]
fn a_heartbeat_that_is_ahead_does_not_make_the_news_fresh() {
    let (deltas, _, end) = long_log();
    let mut replica = state();
    replica.apply(&deltas[0]).unwrap();
    let beat = end
        .heartbeat(NOW.saturating_add(100))
        .sign(&signer_key())
        .unwrap();
    assert!(matches!(replica.apply(&beat), Err(LogError::Gap { .. })));
    assert_eq!(replica.last_heartbeat(), None);
}
