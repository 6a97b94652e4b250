//! Every ticket that is not good: what `join` says, and that the device loses nothing by it.

use std::time::SystemTime;

use homing_certs::{Ticket, TicketSecret};
use serde_json::Value;

use crate::kit::{Dir, Said, eventually};

const MALFORMED: i32 = 2;
const REFUSED: i32 = 3;
const NOT_REACHABLE: i32 = 4;

fn invite(host: &Dir, more: &[&str]) -> String {
    let said = host.run([&["invite", "--name", "phone"], more].concat());
    said.ok()["ticket"].as_str().unwrap().to_owned()
}

fn join(device: &Dir, ticket: &str) -> Said {
    device.run_with_stdin(["join", "-"], ticket)
}

fn altered(ticket: &str, alter: impl FnOnce(&mut Ticket)) -> String {
    let mut ticket = Ticket::decode(ticket).unwrap();
    alter(&mut ticket);
    ticket.encode()
}

fn devices(host: &Dir) -> Vec<Value> {
    let listed = host.run(["devices"]).ok();
    listed["devices"].as_array().unwrap().clone()
}

#[test]
fn a_used_ticket_is_refused_and_an_enrolled_device_keeps_its_key() {
    let host = Dir::new();
    let up = host.up();
    let ticket = invite(&host, &[]);
    let phone = Dir::new();
    let node_id = join(&phone, &ticket).ok()["node_id"].clone();

    join(&Dir::new(), &ticket).refused(REFUSED, "ticket_invalid");
    // The phone itself tries the used ticket again: refused, and the phone goes on as it was.
    join(&phone, &ticket).refused(REFUSED, "ticket_invalid");
    phone.run(["dial"]).ok();

    // With a good ticket the same directory becomes another device.
    let again = join(&phone, &invite(&host, &[])).ok();
    assert_ne!(again["node_id"], node_id);
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn an_expired_ticket_is_refused() {
    let host = Dir::new();
    let up = host.up();
    let invited = host.run(["invite", "--ttl", "1s"]).ok();
    let ends = humantime::parse_rfc3339(invited["expires_at"].as_str().unwrap()).unwrap();
    let ticket = invited["ticket"].as_str().unwrap();
    let phone = Dir::new();
    eventually("the end of the ticket", || {
        (SystemTime::now() > ends).then_some(())
    });
    join(&phone, ticket).refused(REFUSED, "ticket_invalid");
    assert!(!phone.path().join("device/network").exists());
    // The same directory joins with a good one.
    join(&phone, &invite(&host, &[])).ok();
    up.stop();
}

#[test]
fn a_garbled_ticket_is_named_as_such_and_nothing_is_asked() {
    let host = Dir::new();
    let up = host.up();
    let ticket = invite(&host, &[]);
    let (rest, last) = ticket.split_at(ticket.len() - 6);
    let swapped: String = last.chars().rev().collect();
    let phone = Dir::new();
    for text in [
        format!("{rest}{swapped}"),
        rest.to_owned(),
        format!("{ticket}aaaaaaaa"),
        ticket.replace("homing", "hominy"),
        ticket.replacen('a', "1", 1),
        "homing".to_owned(),
        String::new(),
        "a".repeat(10_000),
    ] {
        join(&phone, &text).refused(MALFORMED, "ticket_malformed");
    }
    join(&phone, &ticket).ok();
    up.stop();
}

#[test]
fn a_ticket_wrapped_over_lines_indented_and_in_capitals_is_good() {
    let host = Dir::new();
    let up = host.up();
    let ticket = invite(&host, &[]).to_uppercase();
    let lines: Vec<&str> = ticket
        .as_bytes()
        .chunks(23)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let wrapped = format!("  {}\r\n\n", lines.join(" \r\n\t  "));
    let phone = Dir::new();
    join(&phone, &wrapped).ok();
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_ticket_of_another_network_enrols_nowhere() {
    let (ours, theirs) = (Dir::new(), Dir::new());
    let (up_ours, up_theirs) = (ours.up(), theirs.up());
    let good = invite(&ours, &[]);
    let foreign = Ticket::decode(&invite(&theirs, &[])).unwrap();
    let phone = Dir::new();

    // Our invitation at their coordinator: they do not know it.
    let elsewhere = altered(&good, |ticket| {
        ticket.coordinator = foreign.coordinator;
        ticket.addresses.clone_from(&foreign.addresses);
    });
    join(&phone, &elsewhere).refused(REFUSED, "ticket_invalid");

    // Our coordinator at their address: it is not the one that answers there.
    let impostor = altered(&good, |ticket| {
        ticket.addresses.clone_from(&foreign.addresses);
    });
    join(&phone, &impostor).refused(NOT_REACHABLE, "not_reachable");

    // A coordinator that shows the root document of another network than the ticket's.
    let wrong_network = altered(&invite(&ours, &[]), |ticket| {
        ticket.network_id = foreign.network_id;
    });
    join(&phone, &wrong_network).refused(REFUSED, "wrong_network");

    // An enrolled device stays in its network.
    let device = Dir::new();
    join(&device, &good).ok();
    join(&device, &foreign.encode()).refused(1, "already_enrolled");
    device.run(["dial"]).ok();
    up_ours.stop();
    up_theirs.stop();
}

#[test]
fn a_wrong_secret_five_times_burns_the_ticket() {
    let host = Dir::new();
    let up = host.up();
    let ticket = invite(&host, &[]);
    let wrong = altered(&ticket, |ticket| {
        ticket.secret = TicketSecret::from([7; 16])
    });
    let phone = Dir::new();
    let before = devices(&host).len();
    for _ in 0..5 {
        join(&phone, &wrong).refused(REFUSED, "ticket_invalid");
    }
    // The right secret is too late, and reads the same.
    join(&phone, &ticket).refused(REFUSED, "ticket_invalid");
    assert_eq!(devices(&host).len(), before);
    up.stop();
}

#[test]
fn many_devices_that_redeem_one_ticket_at_once_are_one_member() {
    let host = Dir::new();
    let up = host.up();
    let ticket = invite(&host, &[]);
    let codes: Vec<Value> = std::thread::scope(|scope| {
        let joining: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| join(&Dir::new(), &ticket).json()))
            .collect();
        joining
            .into_iter()
            .map(|device| device.join().unwrap())
            .collect()
    });
    let enrolled = codes.iter().filter(|said| said["status"] == "enrolled");
    assert_eq!(enrolled.count(), 1, "{codes:?}");
    let refused = codes
        .iter()
        .filter(|said| said["error"]["code"] == "ticket_invalid");
    assert_eq!(refused.count(), 7, "{codes:?}");
    up.stop();
}

#[test]
fn a_stolen_certificate_is_worth_nothing_in_another_directory() {
    let host = Dir::new();
    let up = host.up();
    let (phone, thief) = (host.invite_and_join("phone"), host.invite_and_join("thief"));
    let stolen = std::fs::read(phone.path().join("device/cert")).unwrap();
    let own = thief.path().join("device/cert");
    let before = std::fs::read(&own).unwrap();
    std::fs::write(&own, stolen).unwrap();
    thief.run(["dial"]).refused(REFUSED, "wrong_key");
    thief.run(["devices"]).ok();
    // With its own again it is itself, and the phone has lost nothing.
    std::fs::write(&own, before).unwrap();
    thief.run(["dial"]).ok();
    phone.run(["dial"]).ok();
    up.stop();
}
