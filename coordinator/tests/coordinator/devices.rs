use homing_coordinator::authority::{Caller, Refusal};
use homing_protocol::control::InviteRequest;

use crate::support::{Net, at, device, key, node, refusal};

fn guest() -> InviteRequest {
    InviteRequest {
        user: Some("bea".to_owned()),
        name: Some("guest".to_owned()),
        ..InviteRequest::default()
    }
}

#[test]
fn a_device_sees_its_own_users_devices_and_nobody_elses() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.add(3, &guest(), at(0));
    let names = |net: &mut Net, caller| {
        net.authority
            .devices(caller)
            .unwrap()
            .into_iter()
            .map(|row| row.device)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&mut net, device(1)), ["guest", "laptop", "phone"]);
    assert_eq!(names(&mut net, device(2)), ["laptop", "phone"]);
    assert_eq!(names(&mut net, device(3)), ["guest"]);
}

#[test]
fn another_users_device_does_not_exist_for_a_selector() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.add(3, &guest(), at(0));
    let unknown = Refusal::UnknownDevice {
        selector: "nothing".to_owned(),
    }
    .code();
    for selector in [
        "phone".to_owned(),
        node(2).to_string(),
        node(2).to_string()[..12].to_owned(),
    ] {
        let revoke = refusal(net.authority.revoke(device(3), &selector, false, at(1)));
        assert_eq!(
            revoke,
            Refusal::UnknownDevice {
                selector: selector.clone()
            }
        );
        let rename = refusal(net.authority.rename(device(3), &selector, "mine", at(1)));
        assert_eq!(rename.code(), unknown);
    }
}

#[test]
fn a_key_prefix_names_a_device_from_eight_digits_on() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let hex = node(2).to_string();
    let rename = |net: &mut Net, selector: &str| {
        net.authority.rename(Caller::Local, selector, "mine", at(1))
    };
    assert!(matches!(
        refusal(rename(&mut net, &hex[..7])),
        Refusal::UnknownDevice { .. }
    ));
    assert_eq!(
        rename(&mut net, &hex[..8].to_uppercase()).unwrap().device,
        "mine"
    );
    assert!(matches!(
        refusal(rename(&mut net, "%%%%%%%%")),
        Refusal::UnknownDevice { .. }
    ));
}

#[test]
fn an_ambiguous_prefix_lists_its_candidates() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.add_named(3, "tablet", at(0));
    // Real keys with eight equal digits take hours to find, so the rows are made to collide.
    let db = rusqlite::Connection::open(net.dir().join("coordinator.db")).unwrap();
    for (n, end) in [(2, 1u8), (3, 2)] {
        let mut colliding = [0xab; 32];
        colliding[31] = end;
        db.execute(
            "UPDATE devices SET node_id = ?1 WHERE node_id = ?2",
            (colliding, node(n).as_bytes()),
        )
        .unwrap();
    }
    let Refusal::AmbiguousDevice { candidates, .. } =
        refusal(
            net.authority
                .revoke(Caller::Local, "abababab", false, at(1)),
        )
    else {
        panic!("it fits two");
    };
    assert_eq!(candidates, ["phone (ababababab)", "tablet (ababababab)"]);
    let exact = format!("{}01", "ab".repeat(31));
    assert_eq!(
        net.authority
            .rename(Caller::Local, &exact, "mine", at(1))
            .unwrap()
            .device,
        "mine"
    );
}

#[test]
fn names_are_unique_and_well_formed() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let rename = |net: &mut Net, name: &str| net.authority.rename(device(1), "phone", name, at(1));
    assert_eq!(
        refusal(rename(&mut net, "laptop")),
        Refusal::NameTaken {
            name: "laptop".to_owned()
        }
    );
    for bad in [
        "",
        "My Phone",
        "phöne",
        "a/b",
        "deadbeefcafe",
        &"x".repeat(65),
    ] {
        assert!(
            matches!(refusal(rename(&mut net, bad)), Refusal::BadName { .. }),
            "{bad:?}"
        );
    }
    assert_eq!(rename(&mut net, "phone").unwrap().device, "phone");
    assert_eq!(rename(&mut net, "a.b_c-9").unwrap().device, "a.b_c-9");
}

#[test]
fn a_phone_cannot_rename_the_owners_laptop() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let result = net.authority.rename(device(2), "laptop", "mine", at(1));
    assert!(matches!(refusal(result), Refusal::Forbidden { .. }));
    assert_eq!(
        net.authority
            .rename(device(2), "phone", "mine", at(1))
            .unwrap()
            .device,
        "mine"
    );
}

#[test]
fn the_list_says_who_invited_a_device_and_when_it_was_seen() {
    let mut net = Net::with_owner();
    let info = net
        .invite(device(1), &InviteRequest::default(), at(0))
        .unwrap();
    let ticket = homing_certs::Ticket::decode(&info.ticket).unwrap();
    crate::support::enrolled(net.redeem(&(ticket.invite_id, ticket.secret), 2, at(1)));
    net.authority.seen(&[node(2)], at(77).wall).unwrap();
    let list = net.authority.devices(device(1)).unwrap();
    let row = list
        .iter()
        .find(|row| row.node_id == homing_certs::NodeId::from(&key(2)))
        .unwrap();
    assert_eq!(row.invited_by.as_deref(), Some("laptop"));
    assert_eq!(row.last_seen, Some(at(77).wall.0));
    assert_eq!(row.platform.as_deref(), Some("linux"));
}

#[test]
fn a_blocked_user_has_no_devices_that_may_act() {
    let mut net = Net::with_owner();
    net.add(3, &guest(), at(0));
    let db = rusqlite::Connection::open(net.dir().join("coordinator.db")).unwrap();
    db.execute(
        "UPDATE users SET status = 'blocked' WHERE handle = 'bea'",
        [],
    )
    .unwrap();
    let blocked = Refusal::UserBlocked {
        handle: "bea".to_owned(),
    };
    assert_eq!(refusal(net.authority.renew(node(3), 0, at(1))), blocked);
    assert_eq!(refusal(net.authority.devices(device(3))), blocked);
    assert_eq!(refusal(net.invite(device(1), &guest(), at(1))), blocked);
}
