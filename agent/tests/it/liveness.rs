//! How sockets end: revoked, expired, silent, or with the agent; and what a slow reader costs.

use std::time::Duration;

use homing_agent::gateway::close_code;
use homing_agent::limits::Rates;
use serde_json::json;

use crate::rig::{LIMIT, Rig};

/// Between two looks at a count that nothing announces.
const POLL: Duration = Duration::from_millis(5);

#[tokio::test]
async fn a_revoked_device_is_told_4003_and_nothing_of_its_runs_goes_on() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_secs(5)).await;
    let device = rig.network.owner();
    let other = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.say("a", "help").await;
    ws.say("b", "help").await;
    ws.wait_for("queued").await;
    let mut watching = rig.ws(&other).await;
    watching.open("a", 1).await;
    watching.open("b", 1).await;
    device.revoke();
    rig.state.device_revoked(device.id()).await;
    assert_eq!(ws.close_code().await, close_code::REVOKED);
    for _ in 0..2 {
        assert_eq!(
            watching.wait_for("turn_complete").await["reason"],
            "revoked"
        );
    }
    let lines = rig.audit_lines().await;
    let line = lines.iter().find(|line| line["kind"] == "revoked").unwrap();
    assert_eq!(line["detail"]["turns_cancelled"], 2);
}

#[tokio::test]
async fn the_next_byte_of_a_device_that_was_revoked_in_the_log_fails() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.send(json!({"type": "ping"})).await;
    ws.wait_for("pong").await;
    device.revoke_quietly();
    ws.send(json!({"type": "ping"})).await;
    assert_eq!(ws.close_code().await, close_code::REVOKED);
}

#[tokio::test]
async fn a_revoked_device_that_reads_nothing_is_dropped_all_the_same() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut ws = rig.ws_with(&device, 512).await;
    for _ in 0..5 {
        ws.say("s", "help").await;
    }
    device.revoke();
    let state = rig.state.clone();
    let gone = async move {
        while state.connections.count() > 0 {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_runs_out_ends_a_quiet_socket() {
    let rig =
        Rig::start_with(|settings| settings.liveness.ping_every = Duration::from_millis(20)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    ws.send(json!({"type": "ping"})).await;
    ws.wait_for("pong").await;
    device
        .later
        .store(40 * 86_400, std::sync::atomic::Ordering::Relaxed);
    let close = ws.closed().await.unwrap();
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (close_code::POLICY, "cert_expired")
    );
}

#[tokio::test]
async fn a_silent_peer_is_noticed_and_one_that_answers_pings_is_not() {
    let rig = Rig::start_with(|settings| {
        settings.liveness.ping_every = Duration::from_millis(50);
        settings.liveness.dead_after = Duration::from_secs(2);
    })
    .await;
    let (alive, dead) = (rig.network.owner(), rig.network.owner());
    let mut reads = rig.ws(&alive).await;
    let silent = rig.ws(&dead).await;
    // A client answers pings only while it reads.
    let reading = async {
        loop {
            reads.next().await;
        }
    };
    let gone = async {
        while rig.state.connections.online(&dead.id()) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = reading => {}
        gone = tokio::time::timeout(LIMIT, gone) => gone.unwrap(),
    }
    assert!(rig.state.connections.online(&alive.id()));
    drop(silent);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_holds_up_nobody() {
    let rig = Rig::start_with(|settings| {
        settings.rates = Rates {
            runs_per_minute: 1_000,
            chat_per_minute: 1_000,
            ..Rates::default()
        };
    })
    .await;
    let device = rig.network.owner();
    let mut slow = rig.ws_with(&device, 256).await;
    slow.open("s", 1).await;
    let mut fast = rig.ws(&rig.network.owner()).await;
    for _ in 0..40 {
        fast.say("s", "help").await;
        fast.wait_for("turn_complete").await;
    }
    let last = rig.get(&device, "/api/sessions").await.json()["sessions"][0]["last_seq"]
        .as_u64()
        .unwrap();
    let mut seen = vec![];
    while seen.last() != Some(&last) {
        let frame = slow.next().await;
        seen.extend(frame["seq"].as_u64());
    }
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_agent_that_goes_says_so() {
    let rig = Rig::start_with(|settings| settings.pace = Duration::from_secs(5)).await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "help").await;
    ws.wait_for("message").await;
    let (close, ()) = tokio::join!(ws.close_code(), rig.state.shutdown());
    assert_eq!(close, close_code::GOING_AWAY);
}
