use super::*;

pub(super) fn cases() -> Vec<Case> {
    let (log, after) = log_of(&state(), &[device(), node(11), node(12)]);
    let delta = after.next_delta(NOW.saturating_add(9), vec![revoke(node(14))]);
    let sign = |change: &dyn Fn(&mut Delta)| {
        let mut delta = delta.clone();
        change(&mut delta);
        delta.sign(&signer_key()).unwrap()
    };
    let good = sign(&|_| {});
    let mut bad_signature = good;
    *bad_signature.last_mut().unwrap() ^= 1;
    let foreign = |d: &mut Delta| d.network_id = NetworkId::from([9; 16]);
    let mut foreign_delta = delta.clone();
    foreign(&mut foreign_delta);
    let beat = |change: &dyn Fn(&mut Heartbeat)| {
        let mut beat = after.heartbeat(NOW.saturating_add(20));
        change(&mut beat);
        beat.sign(&signer_key()).unwrap()
    };
    let snap = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = after.snapshot(NOW.saturating_add(20));
        change(&mut snapshot);
        snapshot.sign(&signer_key()).unwrap()
    };
    let with_beat = [&log[..], &[beat(&|_| {})]].concat();
    let window = window(&signer_key());
    let other = LogHash::from([7; 32]);
    let value = |entries: Vec<Value>| {
        seal(
            Kind::RevocationDelta,
            &delta_value(&delta).with(6, Value::Array(entries)).encode(),
            &[&signer_key()],
        )
    };
    let entry = |device: u8, least: u64, reason: u64| {
        Value::Array(vec![
            bytes(&[device; 32]),
            Value::Uint(least),
            Value::Uint(reason),
        ])
    };
    let zero = seal(
        Kind::RevocationDelta,
        &delta_value(&delta).with(3, Value::Uint(0)).encode(),
        &[&signer_key()],
    );
    let snapshot_zero = seal(
        Kind::RevocationSnapshot,
        &snapshot_value(&after.snapshot(NOW))
            .with(6, Value::Array(vec![entry(8, 1, 0), entry(7, 1, 0)]))
            .encode(),
        &[&signer_key()],
    );
    let proof = |name: &str, result, device, wire: Vec<u8>| Case {
        device: Some(device),
        ..case(name, result, &[], wire)
    };
    let mut cases = vec![
        case(
            "a changed signature",
            "bad_signature",
            &log,
            bad_signature.clone(),
        ),
        case(
            "signed by the root",
            "unknown_signer",
            &log,
            delta.sign(&root_key()).unwrap(),
        ),
        Case {
            chain: "two, another signer",
            ..case(
                "the signer was removed",
                "unknown_signer",
                &[],
                log[0].clone(),
            )
        },
        case(
            "another network, the same signer",
            "wrong_network",
            &log,
            sign(&foreign),
        ),
        case(
            "another network, another signer",
            "wrong_network",
            &log,
            foreign_delta.sign(&key(77)).unwrap(),
        ),
        case(
            "a heartbeat of another network",
            "wrong_network",
            &log,
            beat(&|b| b.network_id = NetworkId::from([9; 16])),
        ),
        case(
            "a snapshot of another network",
            "wrong_network",
            &log,
            snap(&|s| s.network_id = NetworkId::from([9; 16])),
        ),
        case(
            "a delta of an unknown epoch",
            "root_epoch_ahead",
            &log,
            sign(&|d| d.root_epoch = 2),
        ),
        case(
            "a snapshot of an unknown epoch",
            "root_epoch_ahead",
            &log,
            snap(&|s| s.root_epoch = 2),
        ),
        case(
            "a heartbeat of an unknown epoch",
            "root_epoch_ahead",
            &log,
            beat(&|b| b.root_epoch = 2),
        ),
        case(
            "a delta before the signer's time",
            "outside_signer_window",
            &log,
            sign(&|d| d.time = UnixTime(window.not_before.0 - 1)),
        ),
        case(
            "a snapshot after the signer's time",
            "outside_signer_window",
            &log,
            snap(&|s| s.time = window.not_after),
        ),
        case(
            "a heartbeat at the end of time",
            "outside_signer_window",
            &log,
            beat(&|b| b.time.0 = u64::MAX),
        ),
        case("a delta left out", "gap", &log[..1], log[2].clone()),
        case(
            "the last step there can be",
            "gap",
            &log,
            sign(&|d| d.seq = u64::MAX),
        ),
        Case {
            chain: "two",
            ..case(
                "a delta of a new epoch before its snapshot",
                "gap",
                &[],
                sign(&|d| {
                    d.root_epoch = 2;
                    d.seq = 1;
                    d.previous = LogHash::ZERO;
                }),
            )
        },
        case("a heartbeat that is ahead", "gap", &log[..1], beat(&|_| {})),
        case(
            "the same step with other entries",
            "equivocation",
            &log,
            sign(&|d| {
                d.seq = 3;
                d.previous = delta_hash(&log[1]);
            }),
        ),
        case(
            "a step after another history",
            "equivocation",
            &log,
            sign(&|d| d.previous = other),
        ),
        case(
            "a snapshot with another hash",
            "equivocation",
            &log,
            snap(&|s| s.head = other),
        ),
        case(
            "a heartbeat with another hash",
            "equivocation",
            &log,
            beat(&|b| b.head = other),
        ),
        case(
            "a later heartbeat of an earlier step",
            "rollback",
            &log,
            beat(&|b| {
                b.seq = 2;
                b.head = delta_hash(&log[1]);
            }),
        ),
        case(
            "an earlier heartbeat",
            "not_later",
            &with_beat,
            beat(&|b| b.time.0 -= 1),
        ),
        case("a delta with seq 0", "seq_zero", &log, zero),
        case("a delta without entries", "count", &log, value(vec![])),
        case(
            "an entry of two fields",
            "count",
            &log,
            value(vec![Value::Array(vec![bytes(&[1; 32]), Value::Uint(1)])]),
        ),
        case(
            "entries out of order",
            "unsorted_entries",
            &log,
            value(vec![entry(8, 1, 0), entry(7, 1, 0)]),
        ),
        case(
            "a device twice",
            "unsorted_entries",
            &log,
            value(vec![entry(7, 1, 0), entry(7, 2, 0)]),
        ),
        case(
            "a snapshot's entries out of order",
            "unsorted_entries",
            &log,
            snapshot_zero,
        ),
        case(
            "a generation of 0",
            "out_of_range",
            &log,
            value(vec![entry(7, 0, 0)]),
        ),
        case(
            "a generation over 32 bits",
            "out_of_range",
            &log,
            value(vec![entry(7, 1 << 32, 0)]),
        ),
        case(
            "a reason without a name",
            "unknown_revoke_reason",
            &log,
            value(vec![entry(7, 1, 6)]),
        ),
        case(
            "a root document",
            "not_a_log_document",
            &log,
            chain().wires()[0].clone(),
        ),
        case(
            "a certificate",
            "not_a_log_document",
            &log,
            certificate().sign(&signer_key()).unwrap(),
        ),
        proof(
            "a proof about another device",
            "not_named",
            node(99),
            log[0].clone(),
        ),
        proof(
            "a proof by nobody",
            "unknown_signer",
            node(14),
            delta.sign(&key(77)).unwrap(),
        ),
        proof("a changed proof", "bad_signature", node(14), bad_signature),
        proof(
            "a snapshot as a proof",
            "wrong_kind",
            device(),
            snap(&|_| {}),
        ),
        proof(
            "a proof of another network",
            "wrong_network",
            node(14),
            sign(&foreign),
        ),
        proof(
            "a proof of an unknown epoch",
            "root_epoch_ahead",
            node(14),
            sign(&|d| d.root_epoch = 2),
        ),
    ];
    cases.push({
        let beat = heartbeat_value(&after.heartbeat(NOW)).with(6, Value::Array(vec![]));
        case(
            "a heartbeat with entries",
            "unknown_key",
            &log,
            seal(Kind::Heartbeat, &beat.encode(), &[&signer_key()]),
        )
    });
    cases
}
