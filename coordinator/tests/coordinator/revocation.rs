use homing_certs::{Applied, MAX_DELTA_ENTRIES, Role, Ticket};
use homing_coordinator::authority::{AuthorityError, Caller, Refusal};
use homing_protocol::control::{DeviceStatus, InviteRequest};

use crate::support::{Net, at, device, enrolled, node, refusal, refused};

fn request() -> InviteRequest {
    InviteRequest::default()
}

#[test]
fn a_revocation_is_one_signed_step_of_the_log() {
    let mut net = Net::with_owner();
    let phone = net.add_named(2, "phone", at(0));
    let commit = net
        .authority
        .revoke(device(1), "phone", false, at(5))
        .unwrap();
    assert_eq!(
        (commit.device.as_str(), commit.node_id, commit.seq),
        ("phone", node(2), 1)
    );
    assert_eq!(commit.affected, [node(2)]);
    assert_eq!(commit.deltas.len(), 1);
    let mut trust = net.trust();
    let verified = net.verified(&phone.certificate);
    trust.check(&verified, &node(2), at(6).wall).unwrap();
    assert!(matches!(
        trust.apply(&commit.deltas[0].wire),
        Ok(Applied::Delta { seq: 1, .. })
    ));
    assert!(trust.check(&verified, &node(2), at(6).wall).is_err());
    assert_eq!(trust.head(), net.authority.head());
    assert_eq!(net.authority.take_deltas(), commit.deltas);
    assert!(net.authority.take_deltas().is_empty());
}

#[test]
fn a_revocation_survives_and_its_proof_can_be_shown() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.authority
        .revoke(Caller::Local, "phone", false, at(5))
        .unwrap();
    let net = net.reopened(at(6));
    assert!(net.authority.is_revoked(&node(2)).unwrap());
    let proof = net.authority.proof(&node(2)).unwrap().unwrap();
    net.trust()
        .verify_revocation_proof(&node(2), &proof)
        .unwrap();
    assert_eq!(net.authority.proof(&node(1)).unwrap(), None);
    assert_eq!(net.authority.head().seq, 1);
}

#[test]
fn revoking_twice_is_no_mistake_and_adds_nothing() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.authority
        .revoke(Caller::Local, "phone", false, at(5))
        .unwrap();
    let again = net
        .authority
        .revoke(Caller::Local, "phone", false, at(6))
        .unwrap();
    assert!(again.deltas.is_empty());
    assert_eq!(again.seq, 1);
}

#[test]
fn a_revocation_that_cannot_be_signed_changes_nothing() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let info = net.invite(device(2), &request(), at(0));
    assert!(info.is_err(), "the phone has no scope invite");
    net.authority.mark_restored(at(1)).unwrap();
    assert_eq!(
        refusal(net.authority.revoke(Caller::Local, "phone", false, at(2))),
        Refusal::Recovering
    );
    let list = net.authority.devices(Caller::Local).unwrap();
    let phone = list.iter().find(|row| row.device == "phone").unwrap();
    assert_eq!(phone.status, DeviceStatus::Active);
    assert_eq!(net.authority.head().seq, 0);
    assert!(net.authority.take_deltas().is_empty());
}

#[test]
fn open_invitations_of_a_revoked_device_are_void() {
    let mut net = Net::with_owner();
    let scopes = Some(vec!["chat".to_owned(), "invite".to_owned()]);
    net.add(
        2,
        &InviteRequest {
            name: Some("phone".to_owned()),
            scopes,
            ..request()
        },
        at(0),
    );
    let info = net.invite(device(2), &request(), at(1)).unwrap();
    net.authority
        .revoke(Caller::Local, "phone", false, at(2))
        .unwrap();
    let ticket = Ticket::decode(&info.ticket).unwrap();
    assert_eq!(
        refused(net.redeem(&(ticket.invite_id, ticket.secret), 3, at(3))),
        Refusal::TicketNotGood
    );
    let db = rusqlite::Connection::open(net.dir().join("coordinator.db")).unwrap();
    let void: u32 = db
        .query_row(
            "SELECT count(*) FROM invitations WHERE voided_at IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(void, 1);
}

#[test]
fn what_a_device_has_enrolled_is_named_and_goes_along_when_asked() {
    let mut net = Net::with_owner();
    let scopes = || Some(vec!["chat".to_owned(), "invite".to_owned()]);
    let child = |net: &mut Net, inviter: u16, n: u16, name: &str| {
        let wish = InviteRequest {
            name: Some(name.to_owned()),
            scopes: scopes(),
            ..request()
        };
        let info = net.invite(device(inviter), &wish, at(0)).unwrap();
        let ticket = Ticket::decode(&info.ticket).unwrap();
        enrolled(net.redeem(&(ticket.invite_id, ticket.secret), n, at(0)));
    };
    net.add(
        2,
        &InviteRequest {
            name: Some("phone".to_owned()),
            scopes: scopes(),
            ..request()
        },
        at(0),
    );
    child(&mut net, 2, 3, "child");
    child(&mut net, 3, 4, "grandchild");
    child(&mut net, 2, 5, "other");
    net.authority
        .revoke(Caller::Local, "other", false, at(1))
        .unwrap();
    let commit = net
        .authority
        .revoke(Caller::Local, "phone", false, at(2))
        .unwrap();
    assert_eq!(commit.enrolled_by_it, ["child", "grandchild"]);
    assert!(commit.also.is_empty());
    let commit = net
        .authority
        .revoke(Caller::Local, "phone", true, at(3))
        .unwrap();
    assert_eq!(commit.also, ["child", "other", "grandchild"]);
    assert_eq!(commit.affected[0], node(2));
    assert!(commit.enrolled_by_it.is_empty());
    for n in 2..=5 {
        assert!(net.authority.is_revoked(&node(n)).unwrap(), "{n}");
    }
}

#[test]
fn many_devices_go_in_steps_of_a_full_delta_within_one_transaction() {
    let mut net = Net::with_owner();
    let count = u16::try_from(MAX_DELTA_ENTRIES).unwrap() + 4;
    for n in 0..count {
        let wish = InviteRequest {
            approve: Some(false),
            ..request()
        };
        let info = net.invite(device(1), &wish, at(0)).unwrap();
        let ticket = Ticket::decode(&info.ticket).unwrap();
        enrolled(net.redeem(&(ticket.invite_id, ticket.secret), 100 + n, at(0)));
    }
    net.authority
        .enrol_local(
            node(9),
            "second",
            Role::Admin,
            &homing_coordinator::authority::owner_scopes(),
            None,
            at(0),
        )
        .unwrap();
    let commit = net
        .authority
        .revoke(device(9), "laptop", true, at(1))
        .unwrap();
    assert_eq!(
        commit
            .deltas
            .iter()
            .map(|delta| delta.head.seq)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let mut trust = net.trust();
    for delta in &commit.deltas {
        assert!(delta.wire.len() < 1_100, "{}", delta.wire.len());
        trust.apply(&delta.wire).unwrap();
    }
    assert_eq!(trust.revoked_len(), usize::from(count) + 1);
}

#[test]
fn the_last_admin_can_be_revoked_only_on_the_host() {
    let mut net = Net::with_owner();
    let result = net.authority.revoke(device(1), "laptop", false, at(1));
    let refused = refusal(result);
    assert_eq!(
        refused,
        Refusal::LastAdmin {
            device: "laptop".to_owned()
        }
    );
    assert!(refused.hint().contains("host"));
    net.authority
        .revoke(Caller::Local, "laptop", false, at(2))
        .unwrap();
    assert!(matches!(
        refusal(net.authority.devices(device(1))),
        Refusal::Revoked { .. }
    ));
}

#[test]
fn a_stolen_phone_can_revoke_itself_but_not_the_owners_laptop() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    assert!(matches!(
        refusal(net.authority.revoke(device(2), "laptop", false, at(1))),
        Refusal::Forbidden { .. }
    ));
    net.authority
        .revoke(device(2), "phone", false, at(1))
        .unwrap();
    let after = net.authority.revoke(device(2), "phone", false, at(2));
    assert!(matches!(
        after,
        Err(AuthorityError::Refused(Refusal::Revoked { .. }))
    ));
}

#[test]
fn a_full_disk_under_the_audit_log_does_not_stop_a_revocation() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let audit = net.dir().join("audit.jsonl");
    std::fs::remove_file(&audit).unwrap();
    std::fs::create_dir(&audit).unwrap();
    let renamed = net.authority.rename(Caller::Local, "phone", "mine", at(1));
    assert!(matches!(renamed, Err(AuthorityError::Audit(_))));
    assert!(
        net.authority
            .devices(Caller::Local)
            .unwrap()
            .iter()
            .any(|row| row.device == "phone")
    );
    net.authority
        .revoke(Caller::Local, "phone", false, at(2))
        .unwrap();
    assert!(net.authority.is_revoked(&node(2)).unwrap());
}

#[test]
fn everybody_of_the_user_hears_of_it() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.add_named(3, "tablet", at(0));
    let wish = InviteRequest {
        user: Some("bea".to_owned()),
        ..request()
    };
    net.add(4, &wish, at(0));
    let before = net.authority.newest_notice();
    net.authority
        .revoke(Caller::Local, "phone", false, at(5))
        .unwrap();
    let heard = net.authority.notices(device(3), before).unwrap();
    assert_eq!(heard.len(), 1);
    assert_eq!(
        (heard[0].kind.as_str(), heard[0].number),
        ("device_revoked", before + 1)
    );
    assert!(
        net.authority.notices(device(4), before).unwrap().is_empty(),
        "another user"
    );
}

fn add_agent(net: &mut Net, n: u16, name: &str, list: &[&str]) {
    let scopes = homing_certs::Scopes::new(list.iter().copied()).unwrap();
    net.authority
        .enrol_local(node(n), name, Role::Agent, &scopes, None, at(0))
        .unwrap();
}

#[test]
fn an_agent_with_the_scope_revokes_for_an_admin_and_the_audit_log_names_both() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    add_agent(&mut net, 5, "home", &["devices.revoke", "status.read"]);
    net.authority
        .revoke_for(device(5), Some(node(1)), "phone", false, at(1))
        .unwrap();
    assert!(net.authority.is_revoked(&node(2)).unwrap());
    let text = std::fs::read_to_string(net.dir().join("audit.jsonl")).unwrap();
    let line: homing_coordinator::authority::AuditLine =
        serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (
            line.method.as_str(),
            line.target.as_str(),
            line.decision.as_str()
        ),
        ("revoke", "phone", "allowed")
    );
    assert_eq!(line.actor, node(5).to_string());
    assert_eq!(line.on_behalf_of, Some(node(1).to_string()));
    net.authority.verify_audit().unwrap();
    // Who takes the name out of the line is found out.
    let forged = text.replace(&format!(",\"on_behalf_of\":\"{}\"", node(1)), "");
    assert_ne!(forged, text);
    std::fs::write(net.dir().join("audit.jsonl"), forged).unwrap();
    assert!(net.authority.verify_audit().is_err());
}

#[test]
fn who_may_not_pass_a_revocation_on_or_ask_for_it_revokes_nobody() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    add_agent(&mut net, 5, "home", &["devices.revoke"]);
    add_agent(&mut net, 6, "other", &["status.read"]);
    net.authority
        .enrol_local(
            node(7),
            "lost",
            Role::Admin,
            &homing_coordinator::authority::owner_scopes(),
            None,
            at(0),
        )
        .unwrap();
    net.authority
        .revoke(Caller::Local, "lost", false, at(1))
        .unwrap();
    for (caller, principal, target) in [
        (6, Some(1), "phone"),
        (1, Some(1), "phone"),
        (2, Some(1), "phone"),
        (5, Some(2), "phone"),
        (5, Some(7), "phone"),
        (5, Some(77), "phone"),
        (5, Some(5), "phone"),
        (5, Some(1), "home"),
        (5, None, "phone"),
    ] {
        let principal = principal.map(node);
        let asked = net
            .authority
            .revoke_for(device(caller), principal, target, false, at(2));
        let refused = refusal(asked);
        assert!(
            matches!(refused, Refusal::Forbidden { .. }),
            "{caller} for {principal:?}: {refused:?}"
        );
    }
    assert!(!net.authority.is_revoked(&node(2)).unwrap());
    assert!(!net.authority.is_revoked(&node(5)).unwrap());
    let text = std::fs::read_to_string(net.dir().join("audit.jsonl")).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.contains("\"forbidden\""), "{last}");
}
