//! The process dies by SIGKILL at each step of a revocation; what was promised is kept.
//!
//! Debug builds have the points (`homing_transport::crash`).
#![cfg(debug_assertions)]

use serde_json::Value;

use crate::kit::{Curled, Dir, Running, Said, curl, eventually};

const REFUSED: i32 = 3;

struct Scene {
    host: Dir,
    phone: Dir,
    proxy: Running,
}

/// A phone that is being served, and a host that dies at `point` while it revokes it.
fn die_at(point: &str) -> (Scene, Said) {
    let host = Dir::new();
    let first = host.up();
    let phone = host.invite_and_join("phone");
    first.stop();
    let mut command = host.command(["up", "--port", "0", "--bind", "127.0.0.1:0"]);
    command.env("HOMING_CRASH_AT", point);
    let mut up = host.start_command(command);
    let proxy = phone.proxy();
    curl([proxy.url("/api/health")]).ok();
    let said = host.run(["revoke", "phone"]);
    assert_eq!(up.died_of(), Some(9), "it did not die at {point}");
    (Scene { host, phone, proxy }, said)
}

impl Scene {
    /// After a restart the phone is refused from the first request on.
    fn must_be_refused_after_a_restart(self) {
        let up = self.host.up();
        let health = self.proxy.url("/api/health");
        let refused: Curled = eventually("the refusal", || {
            let answer = curl(["--max-time", "30", &health]);
            assert_ne!(answer.status, 200, "a revoked device was served");
            (answer.status == 403).then_some(answer)
        });
        refused.refused(403, "revoked");
        self.phone.run(["dial"]).refused(REFUSED, "revoked");
        assert_eq!(status(&self.host), "revoked");
        // The owner is served, and may say it again.
        curl([up.url("/api/health")]).ok();
        self.host.run(["revoke", "phone"]).ok();
        self.end(up);
    }

    fn end(self, up: Running) {
        self.proxy.stop();
        up.stop();
        self.host.run(["audit", "verify"]).ok();
    }
}

fn status(host: &Dir) -> Value {
    let devices = host.run(["devices"]).ok();
    let listed = devices["devices"].as_array().unwrap();
    let phone = listed.iter().find(|device| device["device"] == "phone");
    phone.unwrap()["status"].clone()
}

#[test]
fn killed_before_the_commit_nothing_is_revoked_and_the_next_revoke_works() {
    let (scene, said) = die_at("before_commit");
    assert!(
        !said.status.success(),
        "a revoke that did not happen was confirmed"
    );
    let up = scene.host.up();
    assert_eq!(status(&scene.host), "active");
    let health = scene.proxy.url("/api/health");
    eventually("the phone's return", || {
        (curl([&health]).status == 200).then_some(())
    });
    scene.host.run(["revoke", "phone"]).ok();
    scene.phone.run(["dial"]).refused(REFUSED, "revoked");
    up.stop();
    scene.must_be_refused_after_a_restart();
}

#[test]
fn killed_after_the_commit_the_device_is_refused() {
    die_at("after_commit").0.must_be_refused_after_a_restart();
}

#[test]
fn killed_after_the_push_the_device_is_refused() {
    die_at("after_push").0.must_be_refused_after_a_restart();
}

#[test]
fn killed_after_the_agent_swapped_its_set_the_device_is_refused() {
    die_at("after_swap").0.must_be_refused_after_a_restart();
}

#[test]
fn killed_after_the_agent_persisted_the_device_is_refused() {
    die_at("after_persist").0.must_be_refused_after_a_restart();
}

#[test]
fn killed_before_the_agent_acknowledged_the_device_is_refused() {
    die_at("before_ack").0.must_be_refused_after_a_restart();
}
