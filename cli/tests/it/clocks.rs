//! Clocks that are a year off, on either side and in either direction.
//!
//! `faketime` moves the wall clock of a process; its monotonic clock goes on as it is, as on a
//! machine whose clock somebody has set.

use std::process::Command;

use serde_json::Value;

use crate::kit::{Dir, Running, curl, eventually, explained};

const AHEAD: &str = "+365d";
const BEHIND: &str = "-365d";
const UP: [&str; 5] = ["up", "--port", "0", "--bind", "127.0.0.1:0"];

/// The same command with its wall clock moved.
fn moved(command: &Command, by: &str) -> Command {
    let mut faked = Command::new("faketime");
    faked
        .args(["--exclude-monotonic", "-f", by])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => faked.env(key, value),
            None => faked.env_remove(key),
        };
    }
    faked
}

fn said(command: &Command, by: &str) -> Value {
    let output = moved(command, by).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("not one document: {output:?}"))
}

fn up_moved(host: &Dir, by: &str) -> Running {
    host.start_command(moved(&host.command(UP), by))
}

/// A device whose clock is wrong is served all the same: the agent's clock decides.
fn a_device_that_is_off_dials(by: &str) {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let dialed = said(&phone.command(["dial"]), by);
    assert_eq!(dialed["certificate"], "ok", "{dialed}");
    let proxy = phone.start_command(moved(&phone.command(["proxy", "--port", "0"]), by));
    curl([proxy.url("/api/whoami")]).ok();
    // Nothing of its wrong clock stays: with the right one it goes on.
    proxy.stop();
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_device_whose_clock_is_a_year_ahead_is_served() {
    a_device_that_is_off_dials(AHEAD);
}

#[test]
fn a_device_whose_clock_is_a_year_behind_is_served() {
    a_device_that_is_off_dials(BEHIND);
}

#[test]
fn a_device_whose_clock_is_a_year_ahead_joins_or_says_why_and_loses_nothing() {
    let host = Dir::new();
    let up = host.up();
    let ticket = host.run(["invite", "--name", "phone"]).ok();
    let phone = Dir::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ticket["ticket"].as_str().unwrap()).unwrap();
    let join = phone.command(["join", "--ticket-file", file.path().to_str().unwrap()]);
    let answer = said(&join, AHEAD);
    assert_eq!(answer["error"]["code"], "cert_expired", "{answer}");
    explained(&answer["error"]);
    // The clock is put right: the same ticket gives the same answer to the same device.
    let mut join = join;
    let output = join.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_host_that_wakes_a_year_behind_signs_nothing_serves_on_and_comes_back() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    up.stop();
    let up = up_moved(&host, BEHIND);
    let error = host.run(["invite"]).json()["error"].clone();
    assert_eq!(error["code"], "clock_departed", "{error}");
    explained(&error);
    // Those who are enrolled are served: the time that was signed carries the agent's clock.
    phone.run(["dial"]).ok();
    curl([up.url("/api/health")]).ok();
    up.stop();
    // With the right clock everything works again.
    let up = host.up();
    host.run(["invite"]).ok();
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_host_that_wakes_a_year_ahead_renews_and_never_locks_its_devices_out() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    up.stop();
    let up = up_moved(&host, AHEAD);
    // The phone's certificate has ended by the host's clock, long after it could renew.
    let dialed = phone.run(["dial"]).json();
    explained(&dialed["error"]);
    assert_eq!(dialed["error"]["code"], "cert_expired", "{dialed}");
    up.stop();
    // What was signed in that year stays signed: the coordinator will not sign an earlier time.
    let up = host.up();
    let error = host.run(["invite"]).json()["error"].clone();
    assert_eq!(error["code"], "clock_departed", "{error}");
    explained(&error);
    eventually("the owner's way in", || {
        (curl([up.url("/api/health")]).status == 200).then_some(())
    });
    up.stop();
}
