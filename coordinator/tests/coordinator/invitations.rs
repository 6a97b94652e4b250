use homing_certs::{Role, Ticket};
use homing_coordinator::authority::{Caller, MAX_OPEN_INVITATIONS, OWN_DEVICE_SCOPES, Refusal};
use homing_protocol::control::InviteRequest;
use homing_protocol::gateway::Reach;

use crate::support::{Net, at, device, enrolled, node, refusal, refused};

fn request() -> InviteRequest {
    InviteRequest::default()
}

#[test]
fn an_invitation_without_wishes_is_for_a_client_of_the_own_user() {
    let mut net = Net::with_owner();
    let info = net.invite(device(1), &request(), at(5)).unwrap();
    let mut expected = OWN_DEVICE_SCOPES.to_vec();
    expected.sort_unstable();
    assert_eq!(
        (info.role, info.user.as_str(), info.approval),
        (Role::Client, "owner", false)
    );
    assert_eq!(info.scopes, expected);
    assert_eq!(info.expires_at, at(5).wall.0 + 600);
}

#[test]
fn a_ticket_says_where_the_coordinator_is_and_what_it_must_prove() {
    let mut net = Net::with_owner();
    let reach = Reach {
        node_id: net.authority.node_id(),
        relay: Some("https://relay.example/".to_owned()),
        addresses: vec!["192.0.2.7:4433".parse().unwrap()],
    };
    let info = net
        .authority
        .invite(Caller::Local, &request(), &reach, at(0))
        .unwrap();
    let ticket = Ticket::decode(&info.ticket).unwrap();
    assert_eq!(ticket.coordinator, net.authority.node_id());
    assert_eq!(ticket.network_id, net.authority.network_id());
    assert_eq!(ticket.invite_id.to_string(), info.invite_id);
    assert_eq!(
        (ticket.relay, ticket.addresses),
        (reach.relay, reach.addresses)
    );
}

#[test]
fn a_ticket_lives_ten_minutes_or_as_long_as_its_role_allows() {
    let mut net = Net::with_owner();
    let day = 86_400;
    for (role, seconds, allowed) in [
        (Role::Client, day, true),
        (Role::Client, day + 1, false),
        (Role::Admin, day + 1, false),
        (Role::Bridge, day + 1, false),
        (Role::Agent, 7 * day, true),
        (Role::Agent, 7 * day + 1, false),
        (Role::Node, 7 * day, true),
        (Role::Client, 0, false),
        (Role::Client, 1, true),
    ] {
        let wish = InviteRequest {
            role: Some(role),
            ttl_seconds: Some(seconds),
            ..request()
        };
        let result = net.invite(Caller::Local, &wish, at(0));
        assert_eq!(result.is_ok(), allowed, "{role} {seconds}: {result:?}");
    }
}

#[test]
fn approval_is_on_for_all_but_a_clients_short_ticket() {
    let mut net = Net::with_owner();
    for (role, ttl, expected) in [
        (Role::Client, None, false),
        (Role::Client, Some(600), false),
        (Role::Client, Some(601), true),
        (Role::Admin, None, true),
        (Role::Agent, None, true),
        (Role::Node, None, true),
        (Role::Bridge, None, true),
    ] {
        let wish = InviteRequest {
            role: Some(role),
            ttl_seconds: ttl,
            ..request()
        };
        let info = net.invite(Caller::Local, &wish, at(0)).unwrap();
        assert_eq!(info.approval, expected, "{role} {ttl:?}");
        let forced = InviteRequest {
            approve: Some(!expected),
            ..wish
        };
        let info = net.invite(device(1), &forced, at(0)).unwrap();
        assert_eq!(
            info.approval, !expected,
            "an admin says otherwise: {role} {ttl:?}"
        );
    }
}

#[test]
fn only_an_admin_may_leave_the_approval_out() {
    let mut net = Net::with_owner();
    let scopes = Some(vec!["chat".to_owned(), "invite".to_owned()]);
    net.add(
        2,
        &InviteRequest {
            scopes,
            ..request()
        },
        at(0),
    );
    let long = InviteRequest {
        ttl_seconds: Some(3_600),
        approve: Some(false),
        ..request()
    };
    assert!(matches!(
        refusal(net.invite(device(2), &long, at(1))),
        Refusal::Forbidden { .. }
    ));
    let short = InviteRequest {
        approve: Some(false),
        ..request()
    };
    assert!(
        !net.invite(device(2), &short, at(1)).unwrap().approval,
        "that is the rule anyway"
    );
}

#[test]
fn an_inviter_without_a_right_passes_on_what_it_has_and_no_more() {
    let mut net = Net::with_owner();
    let scopes = Some(vec![
        "chat".to_owned(),
        "invite".to_owned(),
        "messages".to_owned(),
    ]);
    net.add(
        2,
        &InviteRequest {
            scopes,
            ..request()
        },
        at(0),
    );
    let info = net.invite(device(2), &request(), at(1)).unwrap();
    assert_eq!(
        info.scopes,
        ["chat", "messages"],
        "the defaults that it has itself"
    );
    let wish = InviteRequest {
        scopes: Some(vec!["terminal".to_owned()]),
        ..request()
    };
    assert!(matches!(
        refusal(net.invite(device(2), &wish, at(1))),
        Refusal::Forbidden { .. }
    ));
    net.add(
        3,
        &InviteRequest {
            scopes: Some(vec!["chat".to_owned()]),
            ..request()
        },
        at(0),
    );
    assert!(matches!(
        refusal(net.invite(device(3), &request(), at(1))),
        Refusal::Forbidden { .. }
    ));
}

#[test]
fn another_users_device_gets_less_and_the_user_is_made() {
    let mut net = Net::with_owner();
    let wish = InviteRequest {
        user: Some("bea".to_owned()),
        ..request()
    };
    let info = net.invite(device(1), &wish, at(0)).unwrap();
    assert_eq!(
        (info.user.as_str(), info.scopes.join(" ").as_str()),
        ("bea", "chat messages push status.read")
    );
    let ticket = Ticket::decode(&info.ticket).unwrap();
    let guest = enrolled(net.redeem(&(ticket.invite_id, ticket.secret), 2, at(1)));
    assert_eq!(guest.device.user, "bea");
    let certificate = net.verified(&guest.certificate);
    assert_eq!(certificate.certificate().handle.as_str(), "bea");
    let bad = InviteRequest {
        user: Some("Bea B".to_owned()),
        ..request()
    };
    assert!(matches!(
        refusal(net.invite(device(1), &bad, at(0))),
        Refusal::BadUser { .. }
    ));
}

#[test]
fn an_inviter_that_lost_its_right_has_given_out_nothing() {
    let mut net = Net::with_owner();
    let scopes = Some(vec!["chat".to_owned(), "invite".to_owned()]);
    net.add(
        2,
        &InviteRequest {
            scopes,
            ..request()
        },
        at(0),
    );
    let info = net.invite(device(2), &request(), at(1)).unwrap();
    let ticket = Ticket::decode(&info.ticket).unwrap();
    net.authority
        .revoke(Caller::Local, &node(2).to_string(), false, at(2))
        .unwrap();
    let outcome = net.redeem(&(ticket.invite_id, ticket.secret), 3, at(3));
    assert_eq!(refused(outcome), Refusal::TicketNotGood);
}

#[test]
fn one_inviter_cannot_fill_the_database_with_open_invitations() {
    let mut net = Net::with_owner();
    for _ in 0..MAX_OPEN_INVITATIONS {
        net.invite(device(1), &request(), at(0)).unwrap();
    }
    let limit = Refusal::TooManyInvitations {
        limit: MAX_OPEN_INVITATIONS,
    };
    assert_eq!(refusal(net.invite(device(1), &request(), at(0))), limit);
    net.invite(device(1), &request(), at(601)).unwrap();
}

#[test]
fn bad_names_and_scopes_are_refused_with_their_own_codes() {
    let mut net = Net::with_owner();
    let name = InviteRequest {
        name: Some("my phone".to_owned()),
        ..request()
    };
    assert_eq!(
        refusal(net.invite(device(1), &name, at(0))).code(),
        "bad_name"
    );
    let scope = InviteRequest {
        scopes: Some(vec!["root".to_owned()]),
        ..request()
    };
    assert_eq!(
        refusal(net.invite(device(1), &scope, at(0))).code(),
        "bad_scope"
    );
    let above = InviteRequest {
        scopes: Some(vec!["config.write".to_owned()]),
        ..request()
    };
    assert_eq!(
        refusal(net.invite(device(1), &above, at(0))).code(),
        "above_ceiling"
    );
    assert_eq!(
        refusal(net.invite(device(99), &request(), at(0))),
        Refusal::NotEnrolled
    );
}
