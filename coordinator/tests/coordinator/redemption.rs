use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use homing_certs::{InviteId, NodeId, Role, TicketSecret};
use homing_coordinator::Authority;
use homing_coordinator::authority::{Applicant, Caller, MAX_WRONG_SECRETS, RedeemOutcome, Refusal};
use homing_protocol::control::InviteRequest;

use crate::support::{Net, at, enrolled, node, refused};

fn request() -> InviteRequest {
    InviteRequest::default()
}

#[test]
fn a_ticket_makes_a_member_with_a_certificate_that_verifies() {
    let mut net = Net::with_owner();
    let device = net.add_named(2, "phone", at(10));
    assert_eq!(device.device.device, "phone");
    let verified = net.verified(&device.certificate);
    net.trust().check(&verified, &node(2), at(20).wall).unwrap();
    assert_eq!(verified.certificate().role, Role::Client);
    assert_eq!(verified.certificate().handle.as_str(), "owner");
    let listed = net.authority.devices(Caller::Local).unwrap();
    assert!(
        listed
            .iter()
            .any(|row| row.device == "phone" && row.node_id == node(2))
    );
}

#[test]
fn a_thousand_redemptions_of_one_ticket_make_one_member() {
    const THREADS: u16 = 20;
    const EACH: u16 = 50;
    let mut net = Net::with_owner();
    let ticket = net.ticket(&request(), at(0));
    let (dir, ticket) = (&net.dir(), &ticket);
    let (successes, refusals) = (&AtomicU32::new(0), &AtomicU32::new(0));
    let start = &Barrier::new(THREADS.into());
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            threads.spawn(move || {
                let mut authority = Authority::open(dir, at(1)).unwrap();
                start.wait();
                for n in 0..EACH {
                    let key = node(1_000 + thread * EACH + n);
                    let outcome = authority
                        .redeem(ticket.0, &ticket.1, key, &Applicant::default(), at(1))
                        .unwrap();
                    match outcome {
                        RedeemOutcome::Enrolled(_) => successes.fetch_add(1, Ordering::SeqCst),
                        RedeemOutcome::Refused(Refusal::TicketNotGood) => {
                            refusals.fetch_add(1, Ordering::SeqCst)
                        }
                        other => panic!("{other:?}"),
                    };
                }
            });
        }
    });
    assert_eq!(successes.load(Ordering::SeqCst), 1);
    assert_eq!(
        refusals.load(Ordering::SeqCst),
        u32::from(THREADS * EACH) - 1
    );
    assert_eq!(net.authority.devices(Caller::Local).unwrap().len(), 2);
}

#[test]
fn the_same_device_asking_again_gets_the_same_answer() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&request(), at(0));
    let first = enrolled(net.redeem(&ticket, 2, at(1)));
    // Long after the ticket's end: its reply may have been lost on a slow line.
    let second = enrolled(net.redeem(&ticket, 2, at(5_000)));
    assert_eq!(first.device.device, second.device.device);
    let (first, second) = (
        net.verified(&first.certificate),
        net.verified(&second.certificate),
    );
    assert!(second.certificate().generation > first.certificate().generation);
    assert_eq!(net.authority.devices(Caller::Local).unwrap().len(), 2);
}

#[test]
fn a_device_that_was_revoked_since_gets_no_second_answer() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&request(), at(0));
    enrolled(net.redeem(&ticket, 2, at(1)));
    net.authority
        .revoke(Caller::Local, &node(2).to_string(), false, at(2))
        .unwrap();
    assert!(matches!(
        refused(net.redeem(&ticket, 2, at(3))),
        Refusal::Revoked { proof: Some(_) }
    ));
}

#[test]
fn unknown_used_expired_withdrawn_and_wrong_read_the_same() {
    let mut net = Net::with_owner();
    let used = net.ticket(&request(), at(0));
    enrolled(net.redeem(&used, 2, at(1)));
    let open = net.ticket(&request(), at(0));
    let wrong = (open.0, TicketSecret::from([0; 16]));
    let unknown = (InviteId::from([9; 8]), TicketSecret::from([9; 16]));
    let expired = net.ticket(&request(), at(0));
    let answers = [
        net.redeem(&used, 3, at(2)),
        net.redeem(&wrong, 3, at(2)),
        net.redeem(&unknown, 3, at(2)),
        net.redeem(&expired, 3, at(601)),
    ]
    .map(|outcome| homing_protocol::ErrorBody::from(&refused(outcome)));
    assert!(
        answers.iter().all(|answer| answer == &answers[0]),
        "{answers:?}"
    );
    assert_eq!(answers[0].code, "ticket_invalid");
}

#[test]
fn five_wrong_secrets_burn_an_invitation() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&request(), at(0));
    let wrong = (ticket.0, TicketSecret::from([7; 16]));
    let before = net.authority.newest_notice();
    for _ in 0..MAX_WRONG_SECRETS {
        assert_eq!(
            refused(net.redeem(&wrong, 9, at(1))),
            Refusal::TicketNotGood
        );
    }
    assert_eq!(
        refused(net.redeem(&ticket, 2, at(2))),
        Refusal::TicketNotGood
    );
    let notices = net.authority.notices(Caller::Local, before).unwrap();
    assert_eq!(
        notices
            .iter()
            .map(|notice| notice.kind.as_str())
            .collect::<Vec<_>>(),
        ["invitation_burned"]
    );
}

#[test]
fn four_wrong_secrets_do_not() {
    let mut net = Net::with_owner();
    let ticket = net.ticket(&request(), at(0));
    let wrong = (ticket.0, TicketSecret::from([7; 16]));
    for _ in 0..MAX_WRONG_SECRETS - 1 {
        net.redeem(&wrong, 9, at(1));
    }
    enrolled(net.redeem(&ticket, 2, at(2)));
}

#[test]
fn a_conflict_does_not_spend_the_ticket() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.add_named(3, "lost", at(0));
    net.authority
        .revoke(Caller::Local, "lost", false, at(1))
        .unwrap();
    let ticket = net.ticket(&request(), at(2));
    let redeem = |net: &mut Net, key: NodeId| {
        let outcome = net
            .authority
            .redeem(ticket.0, &ticket.1, key, &Applicant::default(), at(3))
            .unwrap();
        refused(outcome)
    };
    assert!(matches!(redeem(&mut net, node(3)), Refusal::Revoked { .. }));
    assert_eq!(
        redeem(&mut net, node(2)),
        Refusal::KeyInUse {
            device: "phone".to_owned()
        }
    );
    assert_eq!(redeem(&mut net, NodeId::from([0; 32])), Refusal::WeakKey);
    let coordinator = net.authority.node_id();
    assert!(matches!(
        redeem(&mut net, coordinator),
        Refusal::KeyInUse { .. }
    ));
    enrolled(net.redeem(&ticket, 4, at(4)));
}

#[test]
fn a_taken_name_gets_a_number_and_odd_characters_are_replaced() {
    let mut net = Net::with_owner();
    let named = |net: &mut Net, n: u16, name: &str| {
        let ticket = net.ticket(&request(), at(0));
        let applicant = Applicant {
            name: Some(name),
            ..Applicant::default()
        };
        let outcome = net
            .authority
            .redeem(ticket.0, &ticket.1, node(n), &applicant, at(1))
            .unwrap();
        enrolled(outcome).device.device
    };
    assert_eq!(named(&mut net, 2, "Anna's Phone"), "anna-s-phone");
    assert_eq!(named(&mut net, 3, "anna-s-phone"), "anna-s-phone-2");
    assert_eq!(named(&mut net, 4, "anna-s-phone"), "anna-s-phone-3");
    assert_eq!(named(&mut net, 5, "   "), "device");
    assert_eq!(
        named(&mut net, 6, "deadbeef"),
        "device-2",
        "a name must not look like a key"
    );
    let long = "x".repeat(64);
    assert_eq!(named(&mut net, 7, &long), long);
    assert_eq!(named(&mut net, 8, &long), format!("{}-2", "x".repeat(62)));
}

#[test]
fn the_inviters_rights_are_asked_for_again_at_redemption() {
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
    let info = net
        .invite(Caller::Device(node(2)), &request(), at(1))
        .unwrap();
    let ticket = homing_certs::Ticket::decode(&info.ticket).unwrap();
    // As a change of the row by an admin would leave it.
    let db = rusqlite::Connection::open(net.dir().join("coordinator.db")).unwrap();
    db.execute(
        "UPDATE devices SET scopes = 'chat' WHERE node_id = ?1",
        [node(2).as_bytes()],
    )
    .unwrap();
    let outcome = net.redeem(&(ticket.invite_id, ticket.secret), 3, at(2));
    assert_eq!(refused(outcome), Refusal::TicketNotGood);
}
