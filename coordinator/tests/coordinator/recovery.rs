use homing_certs::{LogHash, LogHead, SigningKey};
use homing_coordinator::Authority;
use homing_coordinator::authority::{AuthorityError, Caller, CatchUp, MAX_PLAUSIBLE_LEAD, Refusal};
use homing_protocol::control::InviteRequest;

use crate::support::{Net, at, copy_dir, node, refusal, refused};

/// A network whose database was copied, went on by two revocations, and was set back.
fn set_back() -> (Net, Net) {
    let mut newer = Net::with_owner();
    for (n, name) in [(2, "phone"), (3, "tablet"), (4, "watch")] {
        newer.add_named(n, name, at(0));
    }
    newer
        .authority
        .revoke(Caller::Local, "phone", false, at(1))
        .unwrap();
    let newer = newer.reopened(at(1));
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("coordinator");
    copy_dir(&newer.dir(), &dir);
    let mut newer = newer;
    newer
        .authority
        .revoke(Caller::Local, "tablet", false, at(2))
        .unwrap();
    newer
        .authority
        .revoke(Caller::Local, "watch", false, at(3))
        .unwrap();
    let authority = Authority::open(&dir, at(10)).unwrap();
    (newer, Net { root, authority })
}

#[test]
fn an_old_database_goes_recovering_when_an_agent_shows_a_higher_head() {
    let (newer, mut old) = set_back();
    assert!(!old.authority.is_recovering().unwrap());
    assert!(
        old.authority
            .observe_head(newer.authority.head(), at(11))
            .unwrap()
    );
    let mut old = old.reopened(at(12));
    assert!(old.authority.is_recovering().unwrap());
    let authority = &mut old.authority;
    assert_eq!(refusal(authority.heartbeat(at(12))), Refusal::Recovering);
    assert_eq!(refusal(authority.snapshot(at(12))), Refusal::Recovering);
    assert_eq!(
        refusal(authority.renew(node(1), 0, at(12))),
        Refusal::Recovering
    );
    let reach = homing_protocol::gateway::Reach {
        node_id: authority.node_id(),
        relay: None,
        addresses: Vec::new(),
    };
    let ticket = authority.invite(Caller::Local, &InviteRequest::default(), &reach, at(12));
    assert_eq!(refusal(ticket), Refusal::Recovering);
    assert_eq!(
        refusal(authority.revoke(Caller::Local, "watch", false, at(12))),
        Refusal::Recovering
    );
}

#[test]
fn the_same_position_with_another_hash_is_a_sign_too_and_a_lower_one_is_not() {
    let (_, mut old) = set_back();
    let ours = old.authority.head();
    assert!(!old.authority.observe_head(ours, at(11)).unwrap());
    let lower = LogHead {
        seq: 0,
        hash: LogHash::ZERO,
        ..ours
    };
    assert!(!old.authority.observe_head(lower, at(11)).unwrap());
    let fork = LogHead {
        hash: LogHash::from([3; 32]),
        ..ours
    };
    assert!(old.authority.observe_head(fork, at(11)).unwrap());
}

#[test]
fn the_newest_log_is_imported_and_the_owner_goes_on_above_it() {
    let (mut newer, mut old) = set_back();
    let ticket = old.ticket(&InviteRequest::default(), at(10));
    old.authority
        .observe_head(newer.authority.head(), at(11))
        .unwrap();
    let missing = refusal(old.authority.resume(false, at(12)));
    assert_eq!(missing, Refusal::LogIncomplete { seen: 3, have: 1 });
    let CatchUp::Deltas(deltas) = newer
        .authority
        .catch_up(old.authority.head(), at(5))
        .unwrap()
    else {
        panic!("two deltas were expected");
    };
    for delta in &deltas {
        old.authority.import(&delta.wire, at(12)).unwrap();
    }
    assert_eq!(old.authority.head(), newer.authority.head());
    assert!(old.authority.is_revoked(&node(4)).unwrap());
    assert!(
        old.authority.is_recovering().unwrap(),
        "the owner has not confirmed yet"
    );
    old.authority.resume(false, at(13)).unwrap();
    assert_eq!(
        refused(old.redeem(&ticket, 9, at(14))),
        Refusal::TicketNotGood,
        "open invitations are void"
    );
    assert!(matches!(
        refusal(old.authority.renew(node(3), 0, at(14))),
        Refusal::Revoked { .. }
    ));
    old.add_named(8, "new-phone", at(14));
    let commit = old
        .authority
        .revoke(Caller::Local, "new-phone", false, at(15))
        .unwrap();
    assert_eq!(commit.seq, 4);
}

#[test]
fn an_imported_snapshot_serves_as_well_and_the_log_goes_on_behind_it() {
    let (mut newer, mut old) = set_back();
    let snapshot = newer.authority.snapshot(at(5)).unwrap();
    let head = old.authority.import(&snapshot, at(11)).unwrap();
    assert_eq!(head, newer.authority.head());
    assert!(
        old.authority.is_recovering().unwrap(),
        "a signed newer log is proof enough"
    );
    old.authority.resume(false, at(12)).unwrap();
    old.add_named(8, "new-phone", at(12));
    old.authority
        .revoke(Caller::Local, "new-phone", false, at(13))
        .unwrap();
    let mut old = old.reopened(at(14));
    assert_eq!(old.authority.head().seq, 4);
    let mut replica = newer.trust();
    replica.apply(&snapshot).unwrap();
    let CatchUp::Snapshot(wire) = old.authority.catch_up(old.trust().head(), at(14)).unwrap()
    else {
        panic!("the older deltas are not here");
    };
    replica.apply(&wire).unwrap();
    assert_eq!(replica.revoked_len(), 4);
    assert_eq!(replica.head(), old.authority.head());
}

#[test]
fn without_the_newest_log_the_sequence_goes_on_above_what_was_shown() {
    let (newer, mut old) = set_back();
    let shown = newer.authority.head();
    old.authority.observe_head(shown, at(11)).unwrap();
    old.authority.resume(true, at(12)).unwrap();
    let mut agent = newer.trust();
    for delta in newer.authority.deltas_after(0, 10).unwrap().unwrap() {
        agent.apply(&delta.wire).unwrap();
    }
    assert_eq!(agent.head(), shown);
    let CatchUp::Snapshot(wire) = old.authority.catch_up(shown, at(13)).unwrap() else {
        panic!("only a snapshot can follow");
    };
    agent.apply(&wire).unwrap();
    assert!(agent.head().seq > shown.seq);
    assert!(
        agent.is_revoked(&node(4)),
        "what agents know to be revoked stays so"
    );
    let commit = old
        .authority
        .revoke(Caller::Local, "laptop", false, at(14))
        .unwrap();
    agent.apply(&commit.deltas[0].wire).unwrap();
    assert_eq!(agent.head(), old.authority.head());
}

#[test]
fn after_that_only_signed_documents_can_stop_the_coordinator_again() {
    let (mut newer, mut old) = set_back();
    old.authority
        .observe_head(newer.authority.head(), at(11))
        .unwrap();
    old.authority.resume(true, at(12)).unwrap();
    let liar = LogHead {
        seq: 1_000,
        hash: LogHash::from([1; 32]),
        ..old.authority.head()
    };
    assert!(!old.authority.observe_head(liar, at(13)).unwrap());
    old.authority
        .revoke(Caller::Local, "watch", false, at(14))
        .unwrap();
    newer.add_named(20, "x-one", at(5));
    for n in 21..24 {
        newer.add_named(n, &format!("x-{n}"), at(5));
        newer
            .authority
            .revoke(Caller::Local, &format!("x-{n}"), false, at(5))
            .unwrap();
    }
    let wire = newer.authority.snapshot(at(6)).unwrap();
    old.authority.import(&wire, at(15)).unwrap();
    assert!(old.authority.is_recovering().unwrap());
}

#[test]
fn a_claim_beyond_all_reason_is_a_lie() {
    let (_, mut old) = set_back();
    let ours = old.authority.head();
    let liar = LogHead {
        seq: ours.seq + MAX_PLAUSIBLE_LEAD + 1,
        ..ours
    };
    assert!(!old.authority.observe_head(liar, at(11)).unwrap());
    assert!(!old.authority.is_recovering().unwrap());
}

#[test]
fn a_log_that_our_signer_did_not_sign_is_never_imported() {
    let (newer, mut old) = set_back();
    let stranger = SigningKey::from_bytes(&[5; 32]);
    let forged = newer.trust().next_delta(at(5).wall, Vec::new());
    let forged = homing_certs::Delta {
        entries: vec![homing_certs::RevocationEntry {
            device: node(1),
            min_generation: homing_certs::REVOKED,
            reason: homing_certs::RevokeReason::Lost,
        }],
        seq: 2,
        previous: old.authority.head().hash,
        ..forged
    };
    let wire = forged.sign(&stranger).unwrap();
    assert!(matches!(
        old.authority.import(&wire, at(11)),
        Err(AuthorityError::Import(_))
    ));
    assert!(!old.authority.is_revoked(&node(1)).unwrap());
    assert!(matches!(
        old.authority.import(b"nothing", at(11)),
        Err(AuthorityError::Import(_))
    ));
}

#[test]
fn there_is_nothing_to_resume_in_a_healthy_network() {
    let mut net = Net::with_owner();
    assert_eq!(
        refusal(net.authority.resume(false, at(1))),
        Refusal::NotRecovering
    );
}
