//! Coordinator and agent as processes of their own, with data directories of their own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{Dir, Running, curl, eventually};
use crate::story::{open_socket, say, until};

/// `coordinator run` on loopback with a free port.
pub(crate) fn coordinator(dir: &Dir) -> Running {
    dir.start(["coordinator", "run", "--bind", "127.0.0.1:0"])
}

/// `agent run` of an agent that is enrolled already.
pub(crate) fn agent(dir: &Dir) -> Running {
    dir.start(["agent", "run", "--bind", "127.0.0.1:0"])
}

/// Invites an agent without an approval and starts it for the first time.
pub(crate) fn first_agent(coordinator: &Dir, name: &str) -> (Dir, Running) {
    let invited = coordinator
        .run(["invite", "--role", "agent", "--name", name, "--no-approve"])
        .ok();
    let dir = Dir::new();
    let ticket = invited["ticket"].as_str().unwrap();
    let running = dir.start(["agent", "run", "--bind", "127.0.0.1:0", "--ticket", ticket]);
    assert_eq!(running.text("agent"), name);
    (dir, running)
}

fn row<'a>(list: &'a Value, name: &str) -> &'a Value {
    list["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["device"] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_reaches_an_agent_that_enrolled_by_ticket_and_is_cut_off_at_it_within_a_second() {
    let home = Dir::new();
    let coordinating = coordinator(&home);
    let (agent_dir, running) = first_agent(&home, "home");
    assert_eq!(running.text("network_id"), coordinating.text("network_id"));
    let node_id = running.text("node_id");

    let phone = home.invite_and_join("phone");
    for target in [node_id.as_str(), "home"] {
        let dialed = phone.run(["dial", target]).ok();
        assert_eq!(
            (&dialed["node_id"], &dialed["certificate"]),
            (&json!(node_id), &json!("ok"))
        );
    }
    let proxy = phone.proxy();
    assert_eq!(curl([proxy.url("/api/whoami")]).ok()["role"], "client");

    let mut socket = open_socket(&proxy.text("proxy_url")).await;
    say(&mut socket, json!({"type": "ping"})).await;
    until(&mut socket, "pong").await;
    let clock = Instant::now();
    let mut command = home.command(["revoke", "phone"]);
    let revoking = tokio::task::spawn_blocking(move || command.output().unwrap());
    let closed = tokio::time::timeout(
        crate::kit::LIMIT,
        futures_util::StreamExt::for_each(&mut socket, |_| async {}),
    );
    closed.await.expect("the socket is cut");
    assert!(
        clock.elapsed() < Duration::from_secs(1),
        "the socket lived for {:?}",
        clock.elapsed()
    );
    let said = revoking.await.unwrap();
    assert!(said.status.success());
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        said["agents"],
        json!([{"agent": "home", "confirmed": true, "ms": said["agents"][0]["ms"]}])
    );
    phone.run(["dial"]).refused(3, "revoked");

    // The agent's host has no coordinator to ask, and says so; its own state it knows.
    agent_dir.run(["devices"]).refused(1, "no_coordinator");
    let status = agent_dir.run(["status"]).ok();
    assert_eq!(status["host"]["agent"], "home");
    assert_eq!(status["host"]["revoked_devices"], 1);
    assert_eq!(status["device"], Value::Null);
    proxy.stop();
    running.stop();
    coordinating.stop();
}

#[test]
fn an_agent_that_was_away_during_a_revocation_hears_of_it_before_it_admits_anyone() {
    let home = Dir::new();
    let coordinating = coordinator(&home);
    let (agent_dir, running) = first_agent(&home, "home");
    let phone = home.invite_and_join("phone");
    phone.run(["dial"]).ok();
    running.kill();

    let revoked = home.run(["revoke", "phone"]).ok();
    assert_eq!(revoked["agents"][0]["confirmed"], false, "{revoked}");
    assert_eq!(revoked["agents"][0]["agent"], "home");

    // Later starts need no ticket.
    let running = agent(&agent_dir);
    phone.run(["dial"]).refused(3, "revoked");
    let agents = home.run(["agents"]).ok();
    assert_eq!(agents["agents"][0]["online"], true);
    running.stop();
    coordinating.stop();
}

#[test]
fn an_agent_serves_on_and_starts_again_while_its_coordinator_is_down() {
    let home = Dir::new();
    let coordinating = coordinator(&home);
    let (agent_dir, running) = first_agent(&home, "home");
    let phone = home.invite_and_join("phone");
    let lost = home.invite_and_join("lost");
    let proxy = phone.proxy();
    curl([proxy.url("/api/whoami")]).ok();
    home.run(["revoke", "lost"]).ok();
    coordinating.kill();
    curl([proxy.url("/api/whoami")]).ok();

    running.stop();
    let running = agent(&agent_dir);
    eventually("the proxy's way back", || {
        (curl([proxy.url("/api/whoami")]).status == 200).then_some(())
    });
    // What it had acknowledged it knows without the coordinator.
    lost.run(["dial"]).refused(3, "revoked");

    let coordinating = coordinator(&home);
    eventually("the agent's way back to its coordinator", || {
        (home.run(["agents"]).ok()["agents"][0]["online"] == true).then_some(())
    });
    proxy.stop();
    running.stop();
    coordinating.stop();
}

#[test]
fn an_agents_ticket_waits_for_an_approval_by_default_and_one_for_a_device_is_refused() {
    let home = Dir::new();
    let coordinating = coordinator(&home);
    let invited = home
        .run(["invite", "--role", "agent", "--name", "home"])
        .ok();
    assert_eq!(invited["approval"], true);
    let dir = Dir::new();
    let ticket = invited["ticket"].as_str().unwrap();
    let waiting = dir.start(["agent", "run", "--bind", "127.0.0.1:0", "--ticket", ticket]);
    assert_eq!(waiting.text("status"), "pending");
    let code = waiting.text("check_code");
    home.run(["approve", "home", "--code", "BBBB-BBBB"])
        .refused(3, "wrong_code");
    home.run(["approve", "home", "--code", &code]).ok();
    eventually("the agent", || {
        (home.run(["agents"]).ok()["agents"][0]["online"] == true).then_some(())
    });
    waiting.stop();

    let phone = home.run(["invite", "--name", "phone"]).ok();
    let wrong = Dir::new();
    wrong
        .run([
            "agent",
            "run",
            "--bind",
            "127.0.0.1:0",
            "--ticket",
            phone["ticket"].as_str().unwrap(),
        ])
        .refused(1, "not_an_agent_ticket");
    Dir::new()
        .run(["agent", "run", "--bind", "127.0.0.1:0"])
        .refused(1, "not_enrolled");
    coordinating.stop();
}

#[test]
fn a_device_that_is_denied_locally_is_cut_off_without_the_coordinator_and_stays_out() {
    let home = Dir::new();
    let coordinating = coordinator(&home);
    let (agent_dir, running) = first_agent(&home, "home");
    let phone = home.invite_and_join("phone");
    let other = home.invite_and_join("other");
    let devices = home.run(["devices"]).ok();
    let key = row(&devices, "phone")["node_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let other_key = row(&devices, "other")["node_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let proxy = phone.proxy();
    curl([proxy.url("/api/whoami")]).ok();
    other.run(["dial"]).ok();
    coordinating.kill();

    agent_dir
        .run(["revoke", "--local", "phone"])
        .refused(2, "unknown_device");
    let denied = agent_dir.run(["revoke", "--local", &key[..10]]).ok();
    assert_eq!(
        (&denied["node_id"], &denied["local"]),
        (&json!(key), &json!(true))
    );
    eventually("the refusal", || {
        (curl([proxy.url("/api/whoami")]).status == 403).then_some(())
    });
    proxy.stop();
    phone.run(["dial"]).refused(3, "forbidden");
    other.run(["dial"]).ok();

    // It survives the death of the agent, and works while nothing runs.
    running.kill();
    agent_dir.run(["revoke", "--local", &other_key]).ok();
    let running = agent(&agent_dir);
    phone.run(["dial"]).refused(3, "forbidden");
    other.run(["dial"]).refused(3, "forbidden");
    running.stop();
}

#[test]
fn completions_and_the_manual_page_need_no_data_directory() {
    for args in [&["completions", "bash"][..], &["man"]] {
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_homing"))
            .args(args)
            .env_clear()
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        let text = String::from_utf8(said.stdout).unwrap();
        assert!(
            text.contains("homing") && text.contains("coordinator"),
            "{text}"
        );
    }
}
