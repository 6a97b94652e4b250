//! What survives when the process dies by SIGKILL inside a revocation. Each test runs itself again
//! as the process that dies.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use homing_coordinator::authority::Caller;
use homing_coordinator::{Authority, Moment};
use homing_protocol::control::ControlRequest;

use crate::running::{Running, network};
use crate::support::{Net, node};

const DIR: &str = "HOMING_TEST_CRASH_DIR";
const SIGKILL: i32 = 9;

/// `None` in the process that is to die; there, the network's directory is returned instead.
fn die_at(point: &str, test: &str) -> Result<Net, PathBuf> {
    if let Some(dir) = std::env::var_os(DIR) {
        return Err(dir.into());
    }
    let mut net = network();
    net.add_named(2, "phone", Moment::system());
    let net = net.reopened(Moment::system());
    let Net { root, authority } = net;
    drop(authority);
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("HOMING_CRASH_AT", point)
        .env(DIR, root.path())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "it did not die at {point}");
    let authority = open(root.path());
    Ok(Net { root, authority })
}

fn open(root: &Path) -> Authority {
    Authority::open(&root.join("coordinator"), Moment::system()).unwrap()
}

fn revoke(root: &Path) {
    let mut authority = open(root);
    authority
        .revoke(Caller::Local, "phone", false, Moment::system())
        .unwrap();
}

#[test]
fn a_death_before_the_commit_leaves_no_half_revocation() {
    let test = "crash::a_death_before_the_commit_leaves_no_half_revocation";
    let mut net = match die_at("before_commit", test) {
        Ok(net) => net,
        Err(root) => return revoke(&root),
    };
    assert!(!net.authority.is_revoked(&node(2)).unwrap());
    assert_eq!(net.authority.head().seq, 0);
    net.authority.renew(node(2), 0, Moment::system()).unwrap();
    net.authority
        .revoke(Caller::Local, "phone", false, Moment::system())
        .unwrap();
    net.authority.verify_audit().unwrap();
}

#[test]
fn a_death_after_the_commit_forgets_nothing() {
    let test = "crash::a_death_after_the_commit_forgets_nothing";
    let mut net = match die_at("after_commit", test) {
        Ok(net) => net,
        Err(root) => return revoke(&root),
    };
    assert!(net.authority.is_revoked(&node(2)).unwrap());
    assert_eq!(net.authority.head().seq, 1);
    assert!(net.authority.renew(node(2), 0, Moment::system()).is_err());
    net.authority.verify_audit().unwrap();
}

#[test]
fn a_death_after_the_push_forgets_nothing_and_nobody_was_told_that_it_is_done() {
    let test = "crash::a_death_after_the_push_forgets_nothing_and_nobody_was_told_that_it_is_done";
    let net = match die_at("after_push", test) {
        Ok(net) => net,
        Err(root) => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            return runtime.block_on(async {
                let authority = open(&root);
                let running = Running::start(Net {
                    root: tempfile::tempdir().unwrap(),
                    authority,
                })
                .await;
                let request = ControlRequest::Revoke {
                    device: "phone".to_owned(),
                    with_invited: false,
                    on_behalf_of: None,
                };
                let reply = running.handle.request(request).await;
                panic!("it answered: {reply:?}");
            });
        }
    };
    assert!(net.authority.is_revoked(&node(2)).unwrap());
    assert_eq!(net.authority.head().seq, 1);
}
