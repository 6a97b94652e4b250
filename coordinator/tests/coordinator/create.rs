use std::os::unix::fs::PermissionsExt;

use homing_certs::RootChain;
use homing_coordinator::Authority;
use homing_coordinator::authority::{CreateError, NewNetwork, OpenError, RootKit};

use crate::support::{Net, at};

#[test]
fn a_new_network_opens_again_with_the_same_identity() {
    let net = Net::new();
    let (network_id, node_id) = (net.authority.network_id(), net.authority.node_id());
    let net = net.reopened(at(10));
    assert_eq!(
        (net.authority.network_id(), net.authority.node_id()),
        (network_id, node_id)
    );
    let chain = RootChain::from_chain(net.authority.chain().wires(), Some(network_id)).unwrap();
    assert_eq!(chain.current().coordinators, [node_id]);
    assert_eq!(chain.current().signers.len(), 1);
}

#[test]
fn every_file_is_for_its_owner_alone() {
    let net = Net::with_owner();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&net.dir()), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(net.dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    for name in ["key", "signer", "root.kit", "coordinator.db", "audit.jsonl"] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} in {names:?}"
        );
    }
}

#[test]
fn the_recovery_kit_belongs_to_the_network_and_no_secret_is_in_the_database() {
    let net = Net::with_owner();
    let text = std::fs::read_to_string(net.dir().join("root.kit")).unwrap();
    let kit = RootKit::parse(&text).unwrap();
    assert_eq!(kit.network_id, net.authority.network_id());
    let root = net.authority.chain().current().roots[0];
    assert_eq!(homing_certs::NodeId::from(&kit.root), root);
    let signer = std::fs::read_to_string(net.dir().join("signer")).unwrap();
    let dir = net.dir();
    drop(net.authority);
    let database = std::fs::read(dir.join("coordinator.db")).unwrap();
    for secret in [kit.root.to_bytes(), hex32(signer.trim())] {
        assert!(!database.windows(32).any(|window| window == secret));
    }
}

#[test]
fn a_network_is_never_made_over_another() {
    let net = Net::new();
    let again = NewNetwork {
        owner_handle: "eve".to_owned(),
        now: at(0),
    };
    assert!(matches!(
        Authority::create(&net.dir(), &again),
        Err(CreateError::Exists(_))
    ));
    assert_eq!(
        net.authority.network_id(),
        net.reopened(at(0)).authority.network_id()
    );
}

#[test]
fn what_a_crash_left_of_an_unfinished_network_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("coordinator.new")).unwrap();
    std::fs::write(root.path().join("coordinator.new/signer"), "half").unwrap();
    let dir = root.path().join("coordinator");
    assert!(matches!(
        Authority::open(&dir, at(0)),
        Err(OpenError::Missing(_))
    ));
    let network = NewNetwork {
        owner_handle: "owner".to_owned(),
        now: at(0),
    };
    Authority::create(&dir, &network).unwrap();
    assert!(!root.path().join("coordinator.new").exists());
}

#[test]
fn a_signer_that_the_root_document_does_not_name_is_refused() {
    let net = Net::new();
    let other = Net::new();
    std::fs::copy(other.dir().join("signer"), net.dir().join("signer")).unwrap();
    assert!(matches!(
        Authority::open(&net.dir(), at(0)),
        Err(OpenError::WrongSigner)
    ));
}

#[test]
fn a_bad_handle_makes_no_network() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("coordinator");
    let network = NewNetwork {
        owner_handle: "Not a handle".to_owned(),
        now: at(0),
    };
    assert!(matches!(
        Authority::create(&dir, &network),
        Err(CreateError::Handle(_))
    ));
    assert!(!dir.exists());
}

fn hex32(text: &str) -> [u8; 32] {
    let id: homing_certs::NodeId = text.parse().unwrap();
    *id.as_bytes()
}

#[test]
fn a_copy_of_the_database_is_whole_and_private_and_opens_as_a_restored_one() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let root = tempfile::tempdir().unwrap();
    let copy = root.path().join("coordinator.db");
    net.authority.copy_database(&copy).unwrap();
    assert!(
        net.authority.copy_database(&copy).is_err(),
        "never over another file"
    );
    assert_eq!(
        std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for name in ["key", "signer", "audit.jsonl"] {
        std::fs::copy(net.dir().join(name), root.path().join(name)).unwrap();
    }
    let mut restored = Authority::open(root.path(), at(1)).unwrap();
    let list = restored
        .devices(homing_coordinator::authority::Caller::Local)
        .unwrap();
    assert_eq!(list.len(), 2);
    restored.mark_restored(at(1)).unwrap();
    assert!(restored.heartbeat(at(1)).is_err());
    restored.resume(false, at(2)).unwrap();
    restored.heartbeat(at(2)).unwrap();
}
