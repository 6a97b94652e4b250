//! Tickets beyond their vectors.

use homing_certs::*;

use crate::support::*;
use crate::vectors::ticket::ticket;

#[test]
fn every_single_changed_letter_of_a_ticket_is_noticed() {
    let text = ticket().encode();
    for at in 0..text.len() {
        for other in *b"a7z1" {
            let mut changed = text.clone().into_bytes();
            if changed[at] == other {
                continue;
            }
            changed[at] = other;
            assert!(
                Ticket::decode(&String::from_utf8(changed).unwrap()).is_err(),
                "letter {at}"
            );
        }
    }
    for len in 0..text.len() {
        assert!(Ticket::decode(&text[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn a_ticket_does_not_print_its_secret() {
    let printed = format!("{:?}", ticket());
    assert!(printed.contains("TicketSecret(..)"));
    assert!(!printed.contains("92, 92") && !printed.to_lowercase().contains("5c5c"));
}

#[test]
fn hints_that_do_not_fit_are_left_out_and_the_ticket_still_works() {
    let greedy = Ticket {
        relay: Some("r".repeat(MAX_RELAY_LEN + 1)),
        addresses: vec!["192.0.2.1:7071".parse().unwrap(); MAX_ADDRESSES + 1],
        ..ticket()
    };
    let read = Ticket::decode(&greedy.encode()).unwrap();
    assert_eq!((read.relay, read.addresses.len()), (None, MAX_ADDRESSES));
    let spaced = Ticket {
        relay: Some("http://a b".into()),
        addresses: vec!["192.0.2.1:0".parse().unwrap()],
        ..ticket()
    };
    let read = Ticket::decode(&spaced.encode()).unwrap();
    assert_eq!((read.relay, read.addresses.len()), (None, 0));
}

#[test]
fn a_check_code_depends_on_each_of_its_parts() {
    let (network, invite) = (chain().network_id(), InviteId::from([1; 8]));
    let code = check_code(network, invite, device(), coordinator());
    let (other_network, other_invite) = (NetworkId::from([1; 16]), InviteId::from([2; 8]));
    assert_ne!(
        code,
        check_code(other_network, invite, device(), coordinator())
    );
    assert_ne!(
        code,
        check_code(network, other_invite, device(), coordinator())
    );
    assert_ne!(code, check_code(network, invite, node(11), coordinator()));
    assert_ne!(code, check_code(network, invite, device(), node(11)));
    assert_eq!(code.len(), 9);
    assert!(
        code.bytes()
            .all(|b| b == b'-' || CHECK_CODE_ALPHABET.contains(&b))
    );
}
