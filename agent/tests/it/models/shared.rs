//! What belongs to all users of the agent: who hears of its changes.

use super::*;

#[tokio::test]
async fn whoever_may_change_models_hears_of_every_change_of_them_and_of_providers() {
    let (rig, fake) = (
        Rig::start().await,
        Fake::always(openai::answer(&["a"])).await,
    );
    let owner = rig.network.owner();
    let other = rig.network.device("ann", Role::Admin, &["chat", "models"]);
    let without = rig
        .network
        .device("bob", Role::Admin, &["chat", "status.read"]);
    let (mut ws, mut deaf) = (rig.ws(&other).await, rig.ws(&without).await);
    for ws in [&mut ws, &mut deaf] {
        ws.send(json!({ "type": "ping" })).await;
        ws.until("pong").await;
    }
    let id = provider(&rig, &owner, "home", &fake).await;
    let event = ws.wait_for("resource_event").await;
    assert_eq!(
        (&event["resource"], &event["action"], &event["id"]),
        (&json!("provider"), &json!("created"), &json!(id))
    );
    let model = model(&rig, &owner, &id, json!({ "model": "m" })).await;
    let event = ws.wait_for("resource_event").await;
    assert_eq!(
        (&event["resource"], &event["action"], &event["id"]),
        (&json!("model"), &json!("created"), &json!(model))
    );
    deaf.send(json!({ "type": "ping" })).await;
    let frames = deaf.until("pong").await;
    assert_eq!(frames.len(), 1, "{frames:?}");
    // Rights that were taken away meanwhile count.
    other.renew(Role::Admin, &["chat"]);
    let path = format!("/api/models/{model}/disable");
    send(&rig, &owner, "POST", &path, json!({})).await;
    ws.send(json!({ "type": "ping" })).await;
    let frames = ws.until("pong").await;
    assert_eq!(frames.len(), 1, "{frames:?}");
}
