//! Approvals of other users: who hears of them, and who answers.

use super::*;

/// The next change of an approval that this socket hears of.
async fn hears(ws: &mut Ws) -> (Value, Value) {
    loop {
        let event = ws.wait_for("resource_event").await;
        if event["resource"] == "approval" {
            return (event["action"].clone(), event["id"].clone());
        }
    }
}

#[tokio::test]
async fn an_admin_hears_of_every_users_approvals_and_answers_them_by_name_and_a_client_does_not() {
    for over_ws in [false, true] {
        let (rig, _) = asking().await;
        let phone = rig.network.device("ann", Role::Client, EVERY_SCOPE);
        let stranger = rig.network.device("bob", Role::Client, EVERY_SCOPE);
        let deaf = rig.network.device("eve", Role::Admin, &["chat"]);
        let admin = rig.network.owner();
        let (mut ears, mut theirs) = (rig.ws(&admin).await, rig.ws(&stranger).await);
        let mut deaf = rig.ws(&deaf).await;
        for ws in [&mut ears, &mut theirs, &mut deaf] {
            ws.send(json!({ "type": "ping" })).await;
            ws.until("pong").await;
        }
        let mut ws = rig.ws(&phone).await;
        ws.say(SESSION, "make a mark").await;
        let id = asked(&mut ws).await;
        let named = json!(id.to_string());
        assert_eq!(hears(&mut ears).await, (json!("created"), named.clone()));
        let listed = rig.get(&admin, "/api/approvals").await.json();
        assert_eq!(
            (
                &listed["approvals"][0]["id"],
                &listed["approvals"][0]["user"]
            ),
            (&id, &json!("ann"))
        );
        match over_ws {
            true => {
                let answer = json!({ "type": "approval_answer", "id": id, "decision": "approve" });
                ears.send(answer).await;
            }
            false => {
                answer(&rig, &admin, &id, "approve").await.json();
            }
        }
        assert_eq!(hears(&mut ears).await, (json!("resolved"), named));
        let resolved = ws.wait_for("approval_resolved").await;
        assert_eq!(
            (&resolved["decision"], &resolved["by"]["user"]),
            (&json!("approved"), &json!("owner"))
        );
        assert_eq!(resolved["by"]["device"], admin.id().to_string());
        ws.wait_for("turn_complete").await;
        assert!(mark(&rig).exists());
        // Of all this the others have heard nothing until now.
        for ws in [&mut theirs, &mut deaf] {
            ws.send(json!({ "type": "ping" })).await;
            let frames = ws.until("pong").await;
            assert_eq!(frames.len(), 1, "{frames:?}");
        }
    }
}
