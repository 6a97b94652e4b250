use std::path::PathBuf;

use homing_certs::{CertificateError, LogHash, LogHead, NodeId, SigningKey};
use homing_coordinator::Authority;
use homing_coordinator::authority::{
    Caller, CatchUp, ROOT_KIT_FILE, Refusal, RestoreError, RootKit, SIGNER_FILE,
};
use homing_protocol::control::InviteRequest;
use tempfile::TempDir;

use crate::support::{Net, at, copy_dir, node, refusal, refused};

/// A copy of a network's files as a backup holds them, and its kit.
fn backup(net: &Net) -> (TempDir, PathBuf, RootKit) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("coordinator");
    std::fs::create_dir_all(&dir).unwrap();
    let copy = dir.join("coordinator.db");
    net.authority.copy_database(&copy).unwrap();
    for name in ["key", "audit.jsonl"] {
        std::fs::copy(net.dir().join(name), dir.join(name)).unwrap();
    }
    let kit = std::fs::read_to_string(net.dir().join(ROOT_KIT_FILE)).unwrap();
    (root, dir, RootKit::parse(&kit).unwrap())
}

/// Devices 2 and 3; 2 is revoked before the backup, 3 after it.
fn lost_and_restored() -> (Net, Net) {
    let mut lost = Net::with_owner();
    for (n, name) in [(2, "phone"), (3, "tablet"), (4, "watch")] {
        lost.add_named(n, name, at(0));
    }
    lost.authority
        .revoke(Caller::Local, "phone", false, at(1))
        .unwrap();
    let (root, dir, kit) = backup(&lost);
    lost.authority
        .revoke(Caller::Local, "tablet", false, at(2))
        .unwrap();
    let authority = Authority::restore(&dir, &kit, at(10)).unwrap();
    (lost, Net { root, authority })
}

#[test]
fn a_restored_coordinator_keeps_the_old_epoch_until_it_is_resumed_and_then_signs_anew() {
    let (mut lost, mut new) = lost_and_restored();
    let certificate = lost.authority.renew(node(4), 0, at(3)).unwrap().certificate;
    assert_eq!(new.authority.chain().epoch(), 1);
    assert_eq!(
        refusal(new.authority.heartbeat(at(11))),
        Refusal::Recovering
    );
    assert_eq!(
        refusal(new.authority.renew(node(4), 0, at(11))),
        Refusal::Recovering
    );

    // What the lost signer has signed since the backup can still be imported.
    let CatchUp::Deltas(deltas) = lost
        .authority
        .catch_up(new.authority.head(), at(3))
        .unwrap()
    else {
        panic!("one delta was expected");
    };
    for delta in &deltas {
        new.authority.import(&delta.wire, at(12)).unwrap();
    }
    assert!(new.authority.is_revoked(&node(3)).unwrap());

    let mut agent = lost.trust();
    for delta in lost.authority.deltas_after(0, 10).unwrap().unwrap() {
        agent.apply(&delta.wire).unwrap();
    }
    new.authority.resume(false, at(13)).unwrap();
    let mut new = new.reopened(at(14));
    let first = LogHead {
        root_epoch: 2,
        seq: 0,
        hash: LogHash::ZERO,
    };
    assert_eq!(new.authority.head(), first);
    assert_eq!(new.authority.network_id(), lost.authority.network_id());

    // An agent that follows: the root document, the snapshot, then the first step.
    for document in new.authority.root_chain_after(1) {
        agent.extend_root(document.as_ref()).unwrap();
    }
    let CatchUp::Snapshot(snapshot) = new.authority.catch_up(agent.head(), at(14)).unwrap() else {
        panic!("an epoch begins with a snapshot");
    };
    agent.apply(&snapshot).unwrap();
    assert!(agent.is_revoked(&node(2)) && agent.is_revoked(&node(3)));
    assert!(matches!(
        agent.verify_certificate(&certificate),
        Err(CertificateError::UnknownSigner { .. })
    ));
    let renewed = new.authority.renew(node(4), 1, at(15)).unwrap();
    assert_eq!(renewed.root_chain.len(), 1);
    agent.verify_certificate(&renewed.certificate).unwrap();
    assert!(matches!(
        refusal(new.authority.renew(node(2), 1, at(15))),
        Refusal::Revoked { proof: None }
    ));
    let commit = new
        .authority
        .revoke(Caller::Local, "watch", false, at(16))
        .unwrap();
    assert_eq!(commit.seq, 1);
    agent.apply(&commit.deltas[0].wire).unwrap();
    assert_eq!(agent.head(), new.authority.head());
    // The step's number was another step's before; nobody is shown the wrong proof.
    assert_eq!(new.authority.proof(&node(2)).unwrap(), None);
    new.authority.verify_audit().unwrap();

    // The lost signer is nobody now.
    let lost_beat = lost.authority.heartbeat(at(17)).unwrap();
    assert!(agent.apply(&lost_beat.wire).is_err());
}

#[test]
fn a_position_of_the_old_epoch_does_not_stop_the_new_one_and_old_tickets_are_void() {
    let mut lost = Net::with_owner();
    let ticket = lost.ticket(&InviteRequest::default(), at(0));
    let (root, dir, kit) = backup(&lost);
    let authority = Authority::restore(&dir, &kit, at(10)).unwrap();
    let mut new = Net { root, authority };
    let shown = LogHead {
        root_epoch: 1,
        seq: 7,
        hash: LogHash::from([7; 32]),
    };
    assert!(new.authority.observe_head(shown, at(11)).unwrap());
    assert_eq!(
        refusal(new.authority.resume(false, at(12))),
        Refusal::LogIncomplete { seen: 7, have: 0 }
    );
    new.authority.resume(true, at(12)).unwrap();
    assert_eq!(new.authority.head().root_epoch, 2);
    assert!(!new.authority.observe_head(shown, at(13)).unwrap());
    assert_eq!(
        refused(new.redeem(&ticket, 9, at(13))),
        Refusal::TicketNotGood
    );
}

#[test]
fn a_network_survives_a_second_loss_and_a_foreign_kit_changes_nothing() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let (root, dir, kit) = backup(&net);
    let mut authority = Authority::restore(&dir, &kit, at(10)).unwrap();
    authority.resume(false, at(11)).unwrap();
    authority
        .revoke(Caller::Local, "phone", false, at(12))
        .unwrap();
    drop(authority);
    let again = root.path().join("again");
    copy_dir(&dir, &again);
    std::fs::remove_file(again.join(SIGNER_FILE)).unwrap();
    let foreign = RootKit {
        network_id: kit.network_id,
        root: SigningKey::from_bytes(&[3; 32]),
    };
    assert!(matches!(
        Authority::restore(&again, &foreign, at(20)),
        Err(RestoreError::WrongKit)
    ));
    assert!(!again.join(SIGNER_FILE).exists());
    let mut authority = Authority::restore(&again, &kit, at(20)).unwrap();
    authority.resume(false, at(21)).unwrap();
    assert_eq!(authority.head().root_epoch, 3);
    assert!(authority.is_revoked(&node(2)).unwrap());
    authority.heartbeat(at(22)).unwrap();
}

#[test]
fn a_directory_that_has_its_signer_is_not_restored_and_a_foreign_signer_is_not_believed() {
    let net = Net::with_owner();
    let (_root, dir, kit) = backup(&net);
    std::fs::copy(net.dir().join(SIGNER_FILE), dir.join(SIGNER_FILE)).unwrap();
    assert!(matches!(
        Authority::restore(&dir, &kit, at(1)),
        Err(RestoreError::SignerExists)
    ));
    std::fs::remove_file(dir.join(SIGNER_FILE)).unwrap();
    Authority::restore(&dir, &kit, at(1)).unwrap();
    let stranger = NodeId::from(&SigningKey::from_bytes(&[8; 32]));
    std::fs::write(dir.join(SIGNER_FILE), format!("{}\n", "08".repeat(32))).unwrap();
    let opened = Authority::open(&dir, at(2));
    assert!(opened.is_err(), "{stranger} signs for nobody");
}
