//! Decoders: what is encoded is read back, what is changed is refused, what is accepted has one
//! encoding.

use homing_certs::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::*;

fn a_certificate() -> impl Strategy<Value = DeviceCertificate> {
    let ids = (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        1u8..200,
    );
    let names = (
        "[a-z0-9._-]{1,64}",
        0usize..5,
        vec("[a-z0-9._*-]{1,20}", 0..20),
    );
    let times = (
        BACKDATE_SECS..u64::MAX / 2,
        1..=MAX_LIFE_SECS - BACKDATE_SECS,
    );
    (ids, names, times, 0..REVOKED, any::<u32>()).prop_map(
        |(ids, names, times, generation, root_epoch)| DeviceCertificate {
            network_id: ids.0.into(),
            serial: ids.1.into(),
            device: node(ids.3),
            user_id: ids.2.into(),
            handle: Handle::new(names.0).unwrap(),
            role: Role::ALL[names.1],
            scopes: Scopes::new(names.2).unwrap(),
            issued_at: UnixTime(times.0),
            not_before: UnixTime(times.0 - BACKDATE_SECS),
            not_after: UnixTime(times.0 + times.1),
            generation,
            root_epoch,
        },
    )
}

fn entries(least: usize, most: usize) -> impl Strategy<Value = Vec<RevocationEntry>> {
    let entry = (any::<[u8; 32]>(), 1..=u32::MAX, 0usize..6);
    vec(entry, least..=most).prop_map(|list| {
        let make = |(device, min_generation, reason): ([u8; 32], u32, usize)| RevocationEntry {
            device: device.into(),
            min_generation,
            reason: RevokeReason::ALL[reason],
        };
        let mut list: Vec<_> = list.into_iter().map(make).collect();
        list.sort_by_key(|entry| entry.device);
        list
    })
}

prop_compose! {
    fn a_heartbeat()(network_id in any::<[u8; 16]>(), root_epoch: u32, seq: u64, head in any::<[u8; 32]>(), time: u64) -> Heartbeat {
        Heartbeat { network_id: network_id.into(), root_epoch, seq, head: head.into(), time: UnixTime(time) }
    }
}

fn a_snapshot() -> impl Strategy<Value = Snapshot> {
    (a_heartbeat(), entries(0, 40)).prop_map(|(beat, entries)| {
        let Heartbeat {
            network_id,
            root_epoch,
            seq,
            head,
            time,
        } = beat;
        Snapshot {
            network_id,
            root_epoch,
            seq,
            head,
            time,
            entries,
        }
    })
}

fn a_delta() -> impl Strategy<Value = Delta> {
    (a_heartbeat(), entries(1, 16)).prop_map(|(beat, entries)| {
        let Heartbeat {
            network_id,
            root_epoch,
            seq,
            head: previous,
            time,
        } = beat;
        Delta {
            network_id,
            root_epoch,
            seq: seq.max(1),
            previous,
            time,
            entries,
        }
    })
}

fn a_root() -> impl Strategy<Value = RootDocument> {
    (
        2..=u32::MAX,
        any::<[u8; 16]>(),
        1u8..100,
        1u8..9,
        any::<u32>(),
        1..=MAX_SIGNER_LIFE_SECS,
    )
        .prop_map(
            |(epoch, network_id, first, count, from, life)| RootDocument {
                network_id: Some(network_id.into()),
                epoch,
                signers: vec![SignerRecord {
                    key: node(first),
                    not_before: UnixTime(from.into()),
                    not_after: UnixTime(u64::from(from) + life),
                }],
                roots: vec![node(first + 1)],
                coordinators: (first + 2..first + 2 + count).map(node).collect(),
            },
        )
}

/// Any wire of any kind.
fn a_wire() -> impl Strategy<Value = Vec<u8>> {
    let key = signer_key;
    prop_oneof![
        a_certificate().prop_map(move |c| c.sign(&key()).unwrap()),
        a_root().prop_map(move |r| r.sign(&[&key()]).unwrap()),
        a_delta().prop_map(move |d| d.sign(&key()).unwrap()),
        a_snapshot().prop_map(move |s| s.sign(&key()).unwrap()),
        a_heartbeat().prop_map(move |h| h.sign(&key()).unwrap()),
    ]
}

/// Reads a wire as whatever it claims to be and encodes it again, signed by the same key.
fn again(wire: &[u8]) -> Result<Vec<u8>, FormError> {
    let key = signer_key();
    Ok(match kind_of(wire) {
        Some(Kind::Root) => RootDocument::decode_unverified(wire)?.sign(&[&key]),
        Some(Kind::DeviceCertificate) => DeviceCertificate::decode_unverified(wire)?.sign(&key),
        Some(Kind::RevocationSnapshot) => Snapshot::decode_unverified(wire)?.sign(&key),
        Some(Kind::Heartbeat) => Heartbeat::decode_unverified(wire)?.sign(&key),
        _ => Delta::decode_unverified(wire)?.sign(&key),
    }
    .unwrap_or_default())
}

/// Whether the bytes of a wire that belong to this network are believed by its trust state.
fn believed(wire: &[u8]) -> bool {
    let mut state = state();
    match kind_of(wire) {
        Some(Kind::DeviceCertificate) => state.verify_certificate(wire).is_ok(),
        Some(Kind::Root) => state.extend_root(wire).is_ok(),
        _ => state.apply(wire).is_ok(),
    }
}

fn believed_wires() -> Vec<Vec<u8>> {
    let state = state();
    vec![
        certificate().sign(&signer_key()).unwrap(),
        second_wire(&next_signer_key()),
        state
            .next_delta(NOW, vec![revoke(device()), revoke(node(11))])
            .sign(&signer_key())
            .unwrap(),
        Snapshot {
            seq: 4,
            entries: vec![revoke(device())],
            ..state.snapshot(NOW)
        }
        .sign(&signer_key())
        .unwrap(),
        state.heartbeat(NOW).sign(&signer_key()).unwrap(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_certificate_is_read_back_as_it_was(certificate in a_certificate()) {
        let wire = certificate.sign(&signer_key()).unwrap();
        prop_assert_eq!(DeviceCertificate::decode_unverified(&wire), Ok(certificate));
    }

    #[test]
    fn a_root_document_is_read_back_as_it_was(root in a_root()) {
        let wire = root.sign(&[&root_key()]).unwrap();
        prop_assert_eq!(RootDocument::decode_unverified(&wire), Ok(root));
    }

    #[test]
    fn a_delta_is_read_back_as_it_was(delta in a_delta()) {
        let wire = delta.sign(&signer_key()).unwrap();
        prop_assert!(wire.len() < 1_100);
        prop_assert_eq!(Delta::decode_unverified(&wire), Ok(delta));
    }

    #[test]
    fn a_snapshot_and_a_heartbeat_are_read_back_as_they_were(snapshot in a_snapshot(), beat in a_heartbeat()) {
        let wire = snapshot.sign(&signer_key()).unwrap();
        prop_assert_eq!(Snapshot::decode_unverified(&wire), Ok(snapshot));
        let wire = beat.sign(&signer_key()).unwrap();
        prop_assert_eq!(Heartbeat::decode_unverified(&wire), Ok(beat));
    }

    #[test]
    fn changed_bytes_are_refused_or_are_the_one_encoding_of_what_they_say(
        wire in a_wire(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut changed = wire;
        let body = changed.len() - 73;
        for (at, byte) in changes {
            let at = at.index(body);
            changed[at] = byte;
        }
        if let Ok(again) = again(&changed) && !again.is_empty() {
            prop_assert_eq!(&again[..body], &changed[..body]);
        }
    }

    #[test]
    fn any_bytes_are_no_reason_to_panic(noise in vec(any::<u8>(), 0..200), kind in 0u8..8) {
        let framed = [&[1, kind, 0, noise.len() as u8][..], &noise, &[1], &[0; 72]].concat();
        for bytes in [&noise, &framed] {
            let _ = again(bytes);
            let _ = kind_of(bytes);
            let _ = delta_hash(bytes);
            prop_assert!(!believed(bytes));
            let _ = Ticket::decode(&String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_ticket_is_read_back_as_it_was(
        ids in (any::<[u8; 32]>(), any::<[u8; 16]>(), any::<[u8; 8]>(), any::<[u8; 16]>()),
        relay in proptest::option::of("[!-~]{1,255}"),
        addresses in vec((any::<std::net::IpAddr>(), 1u16..).prop_map(std::net::SocketAddr::from), 0..=8),
    ) {
        let ticket = Ticket {
            coordinator: ids.0.into(),
            network_id: ids.1.into(),
            invite_id: ids.2.into(),
            secret: ids.3.into(),
            relay,
            addresses,
        };
        let text = ticket.encode();
        prop_assert_eq!(Ticket::decode(&text), Ok(ticket.clone()));
        let spread: String = text.chars().flat_map(|c| [c.to_ascii_uppercase(), '\n']).collect();
        prop_assert_eq!(Ticket::decode(&spread), Ok(ticket));
    }

    #[test]
    fn a_generation_rises_and_never_repeats_after_a_restore(
        issues in vec(0u64..200, 1..30), start in 0u64..4_000_000_000, restored in any::<prop::sample::Index>(),
    ) {
        let mut now = UnixTime(start);
        let mut given: Vec<u32> = vec![];
        for wait in &issues {
            now = now.saturating_add(*wait);
            let next = next_generation(given.last().copied(), now);
            prop_assert!(given.last().is_none_or(|last| *last < next));
            given.push(next);
        }
        // The database goes back to any earlier issue. As long as at most one certificate a minute
        // was issued since, time alone is enough.
        let kept = given[restored.index(given.len())];
        let later = now.saturating_add(60 * (issues.len() as u64 + 1));
        prop_assert!(!given.contains(&next_generation(Some(kept), later)));
    }
}

#[test]
fn every_flipped_bit_cut_and_suffix_of_a_believed_document_is_refused() {
    for wire in believed_wires() {
        assert!(believed(&wire));
        // Every bit of the head; one of every other byte, as each costs a signature check.
        let head = 0..32;
        for bit in head.chain((4..wire.len()).map(|byte| byte * 8 + byte % 8)) {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!believed(&flipped), "bit {bit} of a {:?}", kind_of(&wire));
        }
        for len in 0..wire.len() {
            assert!(!believed(&wire[..len]), "cut to {len}");
        }
        for suffix in [&[0][..], &[1], &wire] {
            assert!(!believed(&[&wire, suffix].concat()));
        }
    }
}
