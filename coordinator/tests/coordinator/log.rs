use homing_certs::{Applied, LogHash, LogHead, TrustState};
use homing_coordinator::authority::{Caller, CatchUp};
use proptest::prelude::*;

use crate::support::{Net, at, node};

const NOTHING: LogHead = LogHead {
    root_epoch: 1,
    seq: 0,
    hash: LogHash::ZERO,
};

fn with_revocations(count: u16) -> Net {
    let mut net = Net::with_owner();
    for n in 0..count {
        let name = format!("device-{n}x");
        net.add_named(100 + n, &name, at(0));
        net.authority
            .revoke(Caller::Local, &name, false, at(1))
            .unwrap();
    }
    net
}

fn take(state: &mut TrustState, news: &CatchUp) {
    match news {
        CatchUp::Deltas(deltas) => {
            for delta in deltas {
                assert!(matches!(
                    state.apply(&delta.wire),
                    Ok(Applied::Delta { .. })
                ));
            }
        }
        CatchUp::Snapshot(wire) => {
            assert!(matches!(state.apply(wire), Ok(Applied::Snapshot { .. })));
        }
    }
}

#[test]
fn a_replica_at_any_position_is_brought_to_the_head() {
    let mut net = with_revocations(5);
    let mut behind = net.trust();
    for _ in 0..=5 {
        let mut replica = behind.clone();
        let news = net.authority.catch_up(replica.head(), at(2)).unwrap();
        assert!(matches!(news, CatchUp::Deltas(_)));
        take(&mut replica, &news);
        assert_eq!(replica.head(), net.authority.head());
        assert_eq!(replica.revoked_len(), 5);
        if let Some(next) = net
            .authority
            .deltas_after(behind.head().seq, 1)
            .unwrap()
            .unwrap()
            .first()
        {
            behind.apply(&next.wire).unwrap();
        }
    }
}

#[test]
fn a_position_that_is_not_ours_gets_a_snapshot() {
    let mut net = with_revocations(2);
    let other = LogHead {
        seq: 1,
        hash: LogHash::from([7; 32]),
        ..NOTHING
    };
    let news = net.authority.catch_up(other, at(2)).unwrap();
    assert!(matches!(news, CatchUp::Snapshot(_)));
    let mut replica = net.trust();
    take(&mut replica, &news);
    assert_eq!(replica.head(), net.authority.head());
}

#[test]
fn a_heartbeat_says_where_the_log_ends_and_when() {
    let mut net = with_revocations(1);
    let mut replica = net.trust();
    let news = net.authority.catch_up(NOTHING, at(2)).unwrap();
    take(&mut replica, &news);
    let beat = net.authority.heartbeat(at(15)).unwrap();
    assert_eq!(
        replica.apply(&beat.wire),
        Ok(Applied::Heartbeat { time: at(15).wall })
    );
    assert_eq!(beat.head, net.authority.head());
}

#[test]
fn a_snapshot_of_an_unmoved_log_is_signed_once_a_minute() {
    let mut net = with_revocations(1);
    let first = net.authority.snapshot(at(2)).unwrap();
    assert_eq!(net.authority.snapshot(at(50)).unwrap(), first);
    assert_ne!(net.authority.snapshot(at(63)).unwrap(), first);
    net.add_named(50, "one-more", at(63));
    net.authority
        .revoke(Caller::Local, "one-more", false, at(64))
        .unwrap();
    let mut replica = net.trust();
    replica
        .apply(&net.authority.snapshot(at(64)).unwrap())
        .unwrap();
    assert!(replica.is_revoked(&node(50)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_contiguous_and_chained_whatever_is_revoked(
        steps in prop::collection::vec((0u16..6, any::<bool>(), any::<bool>()), 1..12)
    ) {
        let mut net = Net::with_owner();
        for n in 0..6 {
            net.add_named(10 + n, &format!("device-{n}x"), at(0));
        }
        for (n, with_invited, reopen) in steps {
            if reopen {
                net = net.reopened(at(1));
            }
            net.authority
                .revoke(Caller::Local, &format!("device-{n}x"), with_invited, at(1))
                .unwrap();
        }
        let deltas = net.authority.deltas_after(0, 1_000).unwrap().unwrap();
        let mut replica = net.trust();
        for (delta, seq) in deltas.iter().zip(1u64..) {
            prop_assert_eq!(delta.head.seq, seq);
            replica.apply(&delta.wire).unwrap();
            prop_assert_eq!(replica.head(), delta.head);
        }
        prop_assert_eq!(replica.head(), net.authority.head());
    }
}
