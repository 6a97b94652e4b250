//! How busy the machine is, on `/ws`, for whoever has asked for it.

use std::time::Duration;

use homing_certs::Role;
use serde_json::{Value, json};

use crate::rig::{LIMIT, Rig};

fn subscribe() -> Value {
    json!({"type": "subscribe", "topics": ["system"]})
}

fn unsubscribe() -> Value {
    json!({"type": "unsubscribe", "topics": ["system"]})
}

async fn until_nothing_runs(rig: &Rig) {
    let ended = async {
        while rig.state.snapshots.is_running() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_subscribed_gets_snapshots_and_nothing_runs_before_or_after() {
    let rig = Rig::start().await;
    assert!(!rig.state.snapshots.is_running());
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.send(subscribe()).await;
    let subscribed = ws.wait_for("subscribed").await;
    assert_eq!(subscribed["topics"], json!(["system"]));
    for _ in 0..2 {
        let snapshot = ws.wait_for("system_snapshot").await;
        for name in ["cpu_percent", "ram_percent", "disk_percent"] {
            let percent = snapshot[name].as_f64().unwrap();
            assert!((0.0..=100.0).contains(&percent), "{snapshot}");
        }
        assert_eq!(snapshot.as_object().unwrap().len(), 4, "{snapshot}");
    }
    assert!(rig.state.snapshots.is_running());
    ws.send(unsubscribe()).await;
    let subscribed = ws.wait_for("subscribed").await;
    assert_eq!(subscribed["topics"], json!([]));
    until_nothing_runs(&rig).await;
    // And again, after the end of the first task.
    ws.send(subscribe()).await;
    ws.wait_for("system_snapshot").await;
}

#[tokio::test]
async fn all_sockets_are_told_the_same_reading_and_the_last_one_to_go_ends_it() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    let mut sockets = vec![rig.ws(&owner).await, rig.ws(&owner).await];
    let mut told = vec![];
    for ws in &mut sockets {
        ws.send(subscribe()).await;
        told.push(ws.wait_for("system_snapshot").await);
    }
    assert_eq!(told[0], told[1]);
    drop(sockets.pop());
    sockets[0].wait_for("system_snapshot").await;
    assert!(rig.state.snapshots.is_running());
    drop(sockets);
    until_nothing_runs(&rig).await;
}

#[tokio::test]
async fn a_device_without_the_scope_gets_none_and_one_that_loses_it_gets_no_more() {
    let rig = Rig::start().await;
    let guest = rig.network.device("guest", Role::Client, &["chat"]);
    let mut ws = rig.ws(&guest).await;
    ws.send(subscribe()).await;
    let error = ws.next().await;
    assert_eq!(error["code"], "forbidden");
    assert!(!rig.state.snapshots.is_running());

    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.send(subscribe()).await;
    ws.wait_for("system_snapshot").await;
    owner.renew(Role::Admin, &["chat"]);
    let error = ws.wait_for("error").await;
    assert_eq!(error["code"], "forbidden");
    until_nothing_runs(&rig).await;
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_named_and_nothing_is_subscribed() {
    let rig = Rig::start().await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.send(json!({"type": "subscribe", "topics": ["system", "stocks"]}))
        .await;
    let error = ws.next().await;
    assert_eq!(error["code"], "unknown_topic");
    assert!(
        error["text"].as_str().unwrap().contains("stocks"),
        "{error}"
    );
    assert!(!rig.state.snapshots.is_running());
    for _ in 0..3 {
        ws.send(subscribe()).await;
    }
    for _ in 0..3 {
        ws.wait_for("subscribed").await;
    }
    ws.wait_for("system_snapshot").await;
}
