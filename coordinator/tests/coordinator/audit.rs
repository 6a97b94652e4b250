use homing_coordinator::authority::{AuditError, AuditLine, AuthorityError, Caller};

use crate::support::{Net, at, device, refusal};

fn lines(net: &Net) -> Vec<AuditLine> {
    let text = std::fs::read_to_string(net.dir().join("audit.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_change_and_every_refusal_has_a_line_with_its_actor() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    refusal(net.authority.revoke(device(2), "laptop", false, at(1)));
    net.authority
        .revoke(Caller::Local, "phone", false, at(2))
        .unwrap();
    let lines = lines(&net);
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line.method.as_str(), line.decision.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("enrol_local", "allowed"),
            ("invite", "allowed"),
            ("redeem", "allowed"),
            ("revoke", "forbidden"),
            ("revoke", "allowed"),
        ]
    );
    assert_eq!(lines[3].actor, crate::support::node(2).to_string());
    assert_eq!(
        (lines[4].actor.as_str(), lines[4].handle.as_str()),
        ("local", "owner")
    );
    assert_eq!(net.authority.verify_audit().unwrap(), 5);
}

#[test]
fn a_changed_line_is_found() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let path = net.dir().join("audit.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"invite\"", "\"renew!\"", 1)).unwrap();
    assert!(matches!(
        net.authority.verify_audit(),
        Err(AuditError::Broken { line: 2 })
    ));
}

#[test]
fn missing_lines_at_the_end_are_found_and_stop_further_changes() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let path = net.dir().join("audit.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    std::fs::write(&path, format!("{first}\n")).unwrap();
    assert!(matches!(
        net.authority.verify_audit(),
        Err(AuditError::Truncated { .. })
    ));
    let renamed = net.authority.rename(Caller::Local, "phone", "mine", at(1));
    assert!(matches!(
        renamed,
        Err(AuthorityError::Audit(AuditError::Truncated { .. }))
    ));
    net.authority
        .revoke(Caller::Local, "phone", false, at(2))
        .unwrap();
}

#[test]
fn a_torn_last_line_is_cut_off_and_the_chain_goes_on() {
    let mut net = Net::with_owner();
    let path = net.dir().join("audit.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"number\":2,\"time\":18");
    std::fs::write(&path, &text).unwrap();
    net = net.reopened(at(1));
    net.add_named(2, "phone", at(1));
    assert_eq!(net.authority.verify_audit().unwrap(), 3);
}

#[test]
fn a_line_whose_change_was_lost_in_a_crash_stays() {
    let mut net = Net::with_owner();
    let root = tempfile::tempdir().unwrap();
    net = net.reopened(at(0));
    crate::support::copy_dir(&net.dir(), root.path());
    net.add_named(2, "phone", at(1));
    // The old database beside the newer audit log: as after a crash before the commit.
    std::fs::copy(
        net.dir().join("audit.jsonl"),
        root.path().join("audit.jsonl"),
    )
    .unwrap();
    let mut old = homing_coordinator::Authority::open(root.path(), at(2)).unwrap();
    assert_eq!(old.verify_audit().unwrap(), 3);
    old.rename(Caller::Local, "laptop", "mine", at(3)).unwrap();
    assert_eq!(old.verify_audit().unwrap(), 4);
}

#[test]
fn a_device_cannot_fill_the_disk_with_refusals() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    for _ in 0..200 {
        refusal(net.authority.revoke(device(2), "laptop", false, at(1)));
    }
    let refused = lines(&net)
        .iter()
        .filter(|line| line.decision == "forbidden")
        .count();
    assert_eq!(refused, 60);
}
