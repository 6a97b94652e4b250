//! Clocks that are a year off, on either side and in either direction.
//!
//! `faketime` moves the wall clock of a process; its monotonic clock goes on as it is, as on a
//! machine whose clock somebody has set.

use std::process::Command;

use serde_json::Value;

use crate::kit::{Dir, Running, curl, explained};

const AHEAD: &str = "+365d";
const BEHIND: &str = "-365d";
const FAILED: i32 = 1;
const REFUSED: i32 = 3;
const UP: [&str; 5] = ["up", "--port", "0", "--bind", "127.0.0.1:0"];

/// The same command with its wall clock moved. The process itself, not `faketime` around it, so
/// that signals reach it.
fn moved(mut command: Command, by: &str) -> Command {
    let output = Command::new("faketime")
        .args(["-f", by, "env"])
        .output()
        .expect("faketime is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let library = text
        .lines()
        .find_map(|line| line.strip_prefix("LD_PRELOAD="));
    command
        .env("LD_PRELOAD", library.unwrap())
        .env("FAKETIME", by)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

fn said(command: Command, by: &str) -> Value {
    let output = moved(command, by).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("not one document: {output:?}"))
}

fn up_moved(host: &Dir, by: &str) -> Running {
    host.start_command(moved(host.command(UP), by))
}

#[test]
fn a_device_a_year_ahead_takes_the_agents_certificate_for_ended_until_its_clock_is_right() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let error = said(phone.command(["dial"]), AHEAD)["error"].clone();
    assert_eq!(error["code"], "agent_certificate", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("clock"), "{error}");
    let proxy = phone.start_command(moved(phone.command(["proxy", "--port", "0"]), AHEAD));
    curl([proxy.url("/api/health")]).refused(502, "agent_certificate");
    // Nothing of its wrong clock stays.
    proxy.stop();
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_device_a_year_behind_is_served_because_signed_times_carry_its_clock() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let dialed = said(phone.command(["dial"]), BEHIND);
    assert_eq!(dialed["certificate"], "ok", "{dialed}");
    let proxy = phone.start_command(moved(phone.command(["proxy", "--port", "0"]), BEHIND));
    curl([proxy.url("/api/whoami")]).ok();
    proxy.stop();
    phone.run(["dial"]).ok();
    up.stop();
}

fn ticket_file(host: &Dir) -> tempfile::NamedTempFile {
    let ticket = host.run(["invite", "--name", "phone"]).ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ticket["ticket"].as_str().unwrap()).unwrap();
    file
}

#[test]
fn a_device_a_year_ahead_that_joins_is_told_and_the_same_ticket_is_good_afterwards() {
    let host = Dir::new();
    let up = host.up();
    let ticket = ticket_file(&host);
    let phone = Dir::new();
    let join = ["join", "--ticket-file", ticket.path().to_str().unwrap()];
    let answer = said(phone.command(join), AHEAD);
    assert_eq!(answer["error"]["code"], "cert_expired", "{answer}");
    explained(&answer["error"]);
    phone.run(join).ok();
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_device_a_year_behind_joins() {
    let host = Dir::new();
    let up = host.up();
    let ticket = ticket_file(&host);
    let phone = Dir::new();
    let join = ["join", "--ticket-file", ticket.path().to_str().unwrap()];
    let answer = said(phone.command(join), BEHIND);
    assert_eq!(answer["status"], "enrolled", "{answer}");
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_host_a_year_behind_signs_nothing_serves_on_and_comes_back_with_its_clock() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    up.stop();
    let up = up_moved(&host, BEHIND);
    host.run(["revoke", "phone"])
        .refused(FAILED, "clock_departed");
    // Those who are enrolled are served: the times that were signed carry the agent's clock.
    phone.run(["dial"]).ok();
    curl([up.url("/api/health")]).ok();
    up.stop();
    let up = host.up();
    phone.run(["dial"]).ok();
    host.run(["revoke", "phone"]).ok();
    phone.run(["dial"]).refused(REFUSED, "revoked");
    up.stop();
}

#[test]
fn a_host_a_year_ahead_signs_nothing_more_after_that_until_the_owner_confirms_the_time() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    up.stop();
    let up = up_moved(&host, AHEAD);
    // The phone's certificate has ended by the host's clock.
    let error = phone.run(["dial"]).json()["error"].clone();
    explained(&error);
    up.stop();
    let up = host.up();
    host.run(["revoke", "phone"])
        .refused(FAILED, "clock_departed");
    host.run(["coordinator", "resume"]).ok();
    // What was issued in that year is issued anew at the next start; the confirmation outlives it.
    up.stop();
    let up = host.up();
    phone.run(["dial"]).ok();
    host.run(["revoke", "phone"]).ok();
    phone.run(["dial"]).refused(REFUSED, "revoked");
    up.stop();
}
