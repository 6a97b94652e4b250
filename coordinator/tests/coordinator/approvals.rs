use homing_certs::{Role, check_code};
use homing_coordinator::authority::{Caller, MAX_CODE_TRIES, PENDING_SECS, Refusal};
use homing_protocol::control::{DeviceStatus, InviteRequest};

use crate::support::{Net, at, device, enrolled, node, pending, refusal, refused};

fn for_agent() -> InviteRequest {
    InviteRequest {
        name: Some("nas".to_owned()),
        role: Some(Role::Agent),
        ..InviteRequest::default()
    }
}

#[test]
fn a_waiting_device_is_let_in_with_the_code_that_both_sides_compute() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&for_agent(), at(0));
    let code = pending(net.redeem(&ticket, 2, at(1)));
    let expected = check_code(
        net.authority.network_id(),
        ticket.0,
        node(2),
        net.authority.node_id(),
    );
    assert_eq!(code, expected);
    assert_eq!(
        pending(net.redeem(&ticket, 2, at(2))),
        code,
        "the same answer again"
    );
    let listed = net.authority.pending(device(1), at(3)).unwrap();
    assert_eq!(
        (listed.len(), listed[0].device.as_str(), listed[0].role),
        (1, "nas", Role::Agent)
    );
    let typed = code.to_lowercase().replace('-', " ");
    let info = net
        .authority
        .approve(device(1), "nas", &typed, at(4))
        .unwrap();
    assert_eq!(
        (info.status, info.role),
        (DeviceStatus::Active, Role::Agent)
    );
    let agent = enrolled(net.redeem(&ticket, 2, at(5)));
    assert_eq!(
        net.verified(&agent.certificate).certificate().role,
        Role::Agent
    );
    assert!(net.authority.pending(device(1), at(6)).unwrap().is_empty());
}

#[test]
fn a_waiting_device_can_do_nothing() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&for_agent(), at(0));
    pending(net.redeem(&ticket, 2, at(1)));
    assert_eq!(
        refusal(net.authority.devices(device(2))),
        Refusal::NotApproved
    );
    assert_eq!(
        refusal(net.authority.renew(node(2), 0, at(2))),
        Refusal::NotApproved
    );
    assert_eq!(
        refusal(net.authority.agent_name(&node(2))),
        Refusal::NotApproved
    );
    assert!(net.authority.agents(device(1)).unwrap().is_empty());
}

#[test]
fn five_wrong_codes_turn_the_device_away() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&for_agent(), at(0));
    let code = pending(net.redeem(&ticket, 2, at(1)));
    for left in (1..MAX_CODE_TRIES).rev() {
        let result = net.authority.approve(device(1), "nas", "BBBB-BBBB", at(2));
        assert_eq!(refusal(result), Refusal::WrongCode { left });
    }
    let result = net.authority.approve(device(1), "nas", "not a code", at(2));
    assert!(matches!(refusal(result), Refusal::CodeTriesUsedUp { .. }));
    let result = net.authority.approve(device(1), "nas", &code, at(3));
    assert!(matches!(refusal(result), Refusal::UnknownDevice { .. }));
    assert_eq!(refused(net.redeem(&ticket, 2, at(4))), Refusal::Denied);
}

#[test]
fn a_denied_device_is_gone_and_its_name_is_free() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&for_agent(), at(0));
    pending(net.redeem(&ticket, 2, at(1)));
    assert_eq!(net.authority.deny(device(1), "nas", at(2)).unwrap(), "nas");
    assert_eq!(refused(net.redeem(&ticket, 2, at(3))), Refusal::Denied);
    assert_eq!(net.add_named(3, "nas", at(4)).device.device, "nas");
}

#[test]
fn only_who_may_invite_such_a_device_may_let_it_in() {
    let mut net = Net::with_owner();
    let scopes = Some(vec!["chat".to_owned(), "invite".to_owned()]);
    net.add(
        2,
        &InviteRequest {
            scopes,
            ..InviteRequest::default()
        },
        at(0),
    );
    let agent = net.ticket(&for_agent(), at(0));
    let code = pending(net.redeem(&agent, 3, at(1)));
    assert!(net.authority.pending(device(2), at(2)).unwrap().is_empty());
    let result = net.authority.approve(device(2), "nas", &code, at(2));
    assert!(matches!(refusal(result), Refusal::Forbidden { .. }));
    assert!(matches!(
        refusal(net.authority.deny(device(2), "nas", at(2))),
        Refusal::Forbidden { .. }
    ));
    let phone = InviteRequest {
        scopes: Some(vec!["chat".to_owned()]),
        approve: Some(true),
        name: Some("phone".to_owned()),
        ..InviteRequest::default()
    };
    let ticket = net.ticket(&phone, at(0));
    let code = pending(net.redeem(&ticket, 4, at(1)));
    net.authority
        .approve(device(2), "phone", &code, at(2))
        .unwrap();
    enrolled(net.redeem(&ticket, 4, at(3)));
}

#[test]
fn nobody_waits_for_ever() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&for_agent(), at(0));
    pending(net.redeem(&ticket, 2, at(1)));
    assert_eq!(
        net.authority
            .pending(Caller::Local, at(PENDING_SECS))
            .unwrap()
            .len(),
        1
    );
    assert!(
        net.authority
            .pending(Caller::Local, at(PENDING_SECS + 2))
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        refused(net.redeem(&ticket, 2, at(PENDING_SECS + 3))),
        Refusal::Denied
    );
}

#[test]
fn a_waiting_device_can_be_revoked_and_stays_blocked() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&for_agent(), at(0));
    let code = pending(net.redeem(&ticket, 2, at(1)));
    net.authority
        .revoke(Caller::Local, "nas", false, at(2))
        .unwrap();
    assert!(matches!(
        refused(net.redeem(&ticket, 2, at(3))),
        Refusal::Revoked { .. }
    ));
    let result = net.authority.approve(Caller::Local, "nas", &code, at(3));
    assert!(matches!(refusal(result), Refusal::UnknownDevice { .. }));
}
