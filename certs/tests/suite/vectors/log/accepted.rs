use super::*;

pub(super) fn cases() -> Vec<Case> {
    let (log, after) = log_of(&state(), &[device(), node(11), node(12)]);
    let full = (100..116).map(|n| revoke(node(n))).collect();
    let full = state().next_delta(NOW, full).sign(&signer_key()).unwrap();
    let snapshot = after
        .snapshot(NOW.saturating_add(9))
        .sign(&signer_key())
        .unwrap();
    let empty = Snapshot {
        entries: vec![],
        ..after.snapshot(NOW.saturating_add(9))
    };
    let empty = empty.sign(&signer_key()).unwrap();
    let beat = beat_at(&after, NOW.saturating_add(20));
    let with_beat = [&log[..], std::slice::from_ref(&beat)].concat();
    let mut two = after.clone();
    two.extend_root(&second_wire(&signer_key())).unwrap();
    let next_epoch = Snapshot {
        entries: vec![revoke(node(13))],
        ..two.snapshot(NOW)
    };
    let next_epoch = next_epoch.sign(&signer_key()).unwrap();
    let old_epoch = after
        .next_delta(NOW.saturating_add(9), vec![revoke(node(14))])
        .sign(&signer_key())
        .unwrap();
    let lowered = RevocationEntry {
        device: device(),
        min_generation: 1,
        reason: RevokeReason::Demoted,
    };
    let lowered = after
        .next_delta(NOW.saturating_add(9), vec![lowered])
        .sign(&signer_key())
        .unwrap();
    let extend = vec![second_wire(&signer_key())];
    let mut in_two = two.clone();
    in_two.apply(&next_epoch).unwrap();
    let first_of_two = in_two
        .next_delta(NOW, vec![revoke(node(15))])
        .sign(&signer_key())
        .unwrap();
    vec![
        case("the first delta", "delta", &[], log[0].clone()),
        case("the third delta", "delta", &log[..2], log[2].clone()),
        case("a delta of 16", "delta", &[], full),
        case("a delta that would lower", "delta", &log, lowered),
        case("a delta again", "old", &log, log[2].clone()),
        case("an older delta", "old", &log, log[0].clone()),
        case(
            "a snapshot for somebody new",
            "snapshot",
            &[],
            snapshot.clone(),
        ),
        case(
            "a snapshot over a gap",
            "snapshot",
            &log[..1],
            snapshot.clone(),
        ),
        case(
            "a snapshot that leaves out what is known",
            "snapshot",
            &log[..1],
            empty,
        ),
        case("a snapshot of the same step", "old", &log, snapshot.clone()),
        case(
            "a delta before the snapshot",
            "old",
            std::slice::from_ref(&snapshot),
            log[1].clone(),
        ),
        case("a heartbeat", "heartbeat", &log, beat.clone()),
        case(
            "a heartbeat of an empty log",
            "heartbeat",
            &[],
            beat_at(&state(), NOW),
        ),
        case(
            "a later heartbeat",
            "heartbeat",
            &with_beat,
            beat_at(&after, NOW.saturating_add(21)),
        ),
        case("a heartbeat again", "old", &with_beat, beat),
        case(
            "a late heartbeat of an earlier step",
            "old",
            &log,
            beat_at(&state(), NOW),
        ),
        Case {
            extend: extend.clone(),
            ..case(
                "the first snapshot of a new epoch",
                "snapshot",
                &with_beat,
                next_epoch.clone(),
            )
        },
        Case {
            extend,
            ..case(
                "the old epoch goes on with the same signer",
                "delta",
                &log,
                old_epoch.clone(),
            )
        },
        Case {
            chain: "two",
            ..case(
                "the old epoch is over",
                "old",
                std::slice::from_ref(&next_epoch),
                old_epoch,
            )
        },
        Case {
            chain: "two",
            ..case(
                "the first delta of a new epoch",
                "delta",
                &[next_epoch],
                first_of_two,
            )
        },
        Case {
            device: Some(device()),
            ..case("a proof", "ok", &[], log[0].clone())
        },
        Case {
            device: Some(node(12)),
            ..case(
                "a proof from a log that is not known",
                "ok",
                &[],
                log[2].clone(),
            )
        },
    ]
}
