//! Times of signed documents: what a signer's wrong clock can do to those who believe it.

use homing_certs::{Applied, LogHash, RootDocument, SignerRecord, Snapshot, TrustState, UnixTime};
use homing_transport::Trust;
use homing_transport::clock::wall_clock;

use crate::kit::{Network, key, node_id};

const YEAR: u64 = 365 * 86_400;

fn heartbeat(network: &Network, state: &TrustState, time: UnixTime) -> Vec<u8> {
    state.heartbeat(time).sign(&network.signer).unwrap()
}

#[test]
fn an_entry_dated_a_year_ahead_revokes_and_moves_no_clock() {
    let network = Network::new(60);
    let trust = Trust::new(network.state.clone(), UnixTime(0));
    let now = wall_clock();
    trust
        .apply(&heartbeat(&network, &network.state, now))
        .unwrap();
    let device = node_id(&key(69));
    let mut delta = network.state.next_delta(now.saturating_add(YEAR), vec![]);
    delta.entries = vec![homing_certs::RevocationEntry {
        device,
        min_generation: homing_certs::REVOKED,
        reason: homing_certs::RevokeReason::default(),
    }];
    let wire = delta.sign(&network.signer).unwrap();
    assert!(matches!(
        trust.apply(&wire),
        Ok(Applied::Delta { seq: 1, .. })
    ));
    assert!(trust.is_revoked(&device));
    assert!(trust.floor() < now.saturating_add(60));
    assert_eq!(trust.state().newest_signed_time(), now);
    // The signer's right time is taken afterwards, and news are as fresh as they were.
    let later = now.saturating_add(1);
    let beat = heartbeat(&network, &trust.state(), later);
    assert!(matches!(trust.apply(&beat), Ok(Applied::Heartbeat { .. })));
    assert!(trust.staleness().as_secs() < 60);
}

#[test]
fn a_new_root_epoch_ends_the_times_of_a_signer_whose_clock_was_ahead() {
    let network = Network::new(61);
    let now = wall_clock();
    let ahead = now.saturating_add(YEAR);
    let trust = Trust::new(network.state.clone(), UnixTime(0));
    trust
        .apply(&heartbeat(&network, &network.state, ahead))
        .unwrap();
    assert!(trust.floor() >= ahead);
    let (root, signer) = (key(61), key(68));
    let next = RootDocument {
        network_id: Some(network.state.network_id()),
        epoch: 2,
        signers: vec![SignerRecord {
            key: node_id(&signer),
            not_before: UnixTime(now.0 - 86_400),
            not_after: UnixTime(now.0 + YEAR),
        }],
        roots: vec![node_id(&root)],
        coordinators: vec![node_id(&key(63))],
    };
    trust.extend_root(&next.sign(&[&root]).unwrap()).unwrap();
    let snapshot = Snapshot {
        network_id: network.state.network_id(),
        root_epoch: 2,
        seq: 0,
        head: LogHash::ZERO,
        time: now,
        entries: vec![],
    };
    trust.apply(&snapshot.sign(&signer).unwrap()).unwrap();
    assert!(trust.floor() < now.saturating_add(60));
    assert!(trust.now() < now.saturating_add(60));
}
