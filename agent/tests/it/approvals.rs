//! Questions to people: answered once, used once, for exactly what was asked, also after a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homing_agent::approvals::{ApprovalError, Approvals, MAX_ARGUMENTS, Origin, Outcome};
use homing_agent::sessions::Speaker;
use homing_agent::store::{AnsweredBy, ApprovalState, MAX_PENDING, Resolution};
use homing_agent::turn::ToolCall;
use homing_certs::Role;
use http::StatusCode;
use serde_json::{Value, json};

use crate::network::{Device, EVERY_SCOPE};
use crate::rig::{LIMIT, Rig, Ws, post};
use crate::scripted::{Script, calls, says};

mod admins;

const SESSION: &str = "s";

fn touch(name: &str) -> Value {
    json!({"argv": ["touch", name]})
}

/// An agent whose model asks for `touch mark`, then says `done`.
async fn asking() -> (Rig, Arc<Script>) {
    asking_for(&[("shell", touch("mark"))]).await
}

async fn asking_for(wanted: &[(&str, Value)]) -> (Rig, Arc<Script>) {
    let script = Script::new(vec![calls(wanted), says("done")]);
    let models = script.models();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    (rig, script)
}

fn mark(rig: &Rig) -> PathBuf {
    rig.state.settings.workspace().join("mark")
}

async fn answer(rig: &Rig, device: &Arc<Device>, id: &Value, how: &str) -> crate::rig::Answer {
    rig.call(device, post(&format!("/api/approvals/{id}/{how}"), ""))
        .await
}

/// The id of what the session's turn asks for.
async fn asked(ws: &mut Ws) -> Value {
    ws.wait_for("approval_required").await["id"].clone()
}

async fn state_of(rig: &Rig, device: &Arc<Device>, id: &Value) -> Value {
    rig.get(device, &format!("/api/approvals/{id}"))
        .await
        .json()["state"]
        .clone()
}

#[tokio::test]
async fn what_changes_something_waits_for_a_person_runs_once_when_approved_and_is_on_record() {
    let (rig, script) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let question = ws.wait_for("approval_required").await;
    assert_eq!(question["tool"], "shell");
    assert_eq!(question["arguments"], touch("mark"));
    assert_eq!(question["summary"], "run touch mark");
    assert_eq!(question["bound"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(question["session_id"], SESSION);
    assert!(question["expires_at"].as_i64().unwrap() > homing_agent::clock::unix_secs() + 600);
    assert!(!mark(&rig).exists());
    let id = &question["id"];
    let listed = rig.get(&owner, "/api/approvals?state=pending").await.json();
    assert_eq!(listed["approvals"][0]["id"], *id);
    ws.send(json!({"type": "approval_answer", "id": id, "decision": "approve"}))
        .await;
    let resolved = ws.wait_for("approval_resolved").await;
    assert_eq!(resolved["decision"], "approved");
    assert_eq!(resolved["by"]["device"], owner.id().to_string());
    let frames = ws.until("turn_complete").await;
    assert_eq!(frames.last().unwrap()["reason"], "done");
    assert!(mark(&rig).exists());
    assert!(
        script.told()[0].contains("\"exit_code\":0"),
        "{:?}",
        script.told()
    );
    assert_eq!(state_of(&rig, &owner, id).await, "used");
    let lines = rig.audit_lines().await;
    let steps: Vec<&str> = lines
        .iter()
        .filter(|line| line["kind"] == "approval")
        .map(|line| line["method"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["ask", "approve", "use"]);
    let mut again = rig.ws(&owner).await;
    again.open(SESSION, 1).await;
    let replayed = again.until("turn_complete").await;
    let kinds: Vec<&str> = replayed
        .iter()
        .filter_map(|frame| frame["type"].as_str())
        .filter(|kind| kind.starts_with("approval") || kind.starts_with("tool"))
        .collect();
    let expected = [
        "tool_call",
        "approval_required",
        "approval_resolved",
        "tool_result",
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn what_is_denied_does_not_run_and_the_model_is_told_by_whom() {
    let (rig, script) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    assert_eq!(
        answer(&rig, &owner, &id, "deny").await.status,
        StatusCode::OK
    );
    ws.wait_for("turn_complete").await;
    assert_eq!(script.told(), ["error: owner denied it"]);
    assert!(!mark(&rig).exists());
}

#[tokio::test]
async fn the_first_answer_wins_on_all_devices_and_the_next_one_hears_who_was_faster() {
    let (rig, _) = asking().await;
    let first = rig.network.owner();
    let second = rig.network.owner();
    let mut ws = rig.ws(&first).await;
    let mut other = rig.ws(&second).await;
    other.open(SESSION, 1).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    assert_eq!(asked(&mut other).await, id);
    assert_eq!(
        answer(&rig, &second, &id, "deny").await.status,
        StatusCode::OK
    );
    let late = answer(&rig, &first, &id, "approve").await;
    assert_eq!(
        (late.status, late.code().as_str()),
        (StatusCode::CONFLICT, "already_answered")
    );
    let message = late.json()["error"]["message"].to_string();
    assert!(
        message.contains(&second.id().to_string()) && message.contains("denied"),
        "{message}"
    );
    ws.send(json!({"type": "approval_answer", "id": id, "decision": "approve"}))
        .await;
    assert_eq!(ws.wait_for("error").await["code"], "already_answered");
    assert_eq!(
        other.wait_for("approval_resolved").await["decision"],
        "denied"
    );
    other.wait_for("turn_complete").await;
    assert!(!mark(&rig).exists());
}

#[tokio::test]
async fn of_many_answers_at_once_one_counts_and_of_many_uses_at_once_one_is_let_through() {
    let (rig, _) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    let store = &rig.state.store;
    let row = store
        .approval(None, id.as_i64().unwrap())
        .await
        .unwrap()
        .unwrap();
    let answers = (0..40).map(|number| {
        let (rig, owner, id) = (&rig, &owner, &id);
        let how = if number % 2 == 0 { "approve" } else { "deny" };
        async move { answer(rig, owner, id, how).await.status }
    });
    let statuses = futures_util::future::join_all(answers).await;
    let won = statuses
        .iter()
        .filter(|status| **status == StatusCode::OK)
        .count();
    assert_eq!(won, 1, "{statuses:?}");
    ws.wait_for("turn_complete").await;
    let now = homing_agent::clock::unix_ms();
    let claims = (0..40)
        .map(|_| store.claim_approval(row.user, row.turn_id, row.id, row.hash, now, now - 60_000));
    let claimed = futures_util::future::join_all(claims).await;
    assert!(
        claimed.into_iter().all(|claimed| !claimed.unwrap()),
        "its turn is over"
    );
}

#[tokio::test]
async fn a_client_answers_for_its_own_user_an_admin_for_all_and_others_see_nothing() {
    let (rig, _) = asking().await;
    let phone = rig.network.device("ann", Role::Client, EVERY_SCOPE);
    let stranger = rig.network.device("bob", Role::Client, EVERY_SCOPE);
    let admin = rig.network.owner();
    let chat_only = rig.network.device("ann", Role::Client, &["chat"]);
    let mut ws = rig.ws(&phone).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    let theirs = rig.get(&stranger, "/api/approvals").await.json();
    assert_eq!(theirs["approvals"], json!([]));
    for how in ["approve", "deny"] {
        let answer = answer(&rig, &stranger, &id, how).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    let mut ears = rig.ws(&stranger).await;
    ears.send(json!({"type": "approval_answer", "id": id, "decision": "approve"}))
        .await;
    assert_eq!(ears.wait_for("error").await["code"], "not_found");
    assert_eq!(
        answer(&rig, &chat_only, &id, "approve").await.code(),
        "forbidden"
    );
    let mut chat = rig.ws(&chat_only).await;
    chat.send(json!({"type": "approval_answer", "id": id, "decision": "approve"}))
        .await;
    assert_eq!(chat.wait_for("error").await["code"], "forbidden");
    assert_eq!(state_of(&rig, &admin, &id).await, "pending");
    assert_eq!(
        answer(&rig, &admin, &id, "approve").await.status,
        StatusCode::OK
    );
    ws.wait_for("turn_complete").await;
    assert!(mark(&rig).exists());
}

#[tokio::test]
async fn an_interrupt_a_cleared_session_and_a_revoked_device_end_what_waits() {
    for way in ["interrupt", "clear", "revoke"] {
        let (rig, _) = asking().await;
        let device = rig.network.device("owner", Role::Client, EVERY_SCOPE);
        let admin = rig.network.owner();
        let mut ws = rig.ws(&device).await;
        ws.say(SESSION, "make a mark").await;
        let id = asked(&mut ws).await;
        let mut ears = rig.ws(&admin).await;
        match way {
            "interrupt" => {
                ws.send(json!({"type": "interrupt", "session_id": SESSION}))
                    .await;
            }
            "clear" => {
                rig.call(&admin, post("/api/sessions/s/clear", "")).await;
            }
            _ => rig.state.device_revoked(device.id()).await,
        }
        loop {
            let event = ears.wait_for("resource_event").await;
            if event["resource"] == "approval" && event["action"] == "resolved" {
                break;
            }
        }
        assert_eq!(state_of(&rig, &admin, &id).await, "denied", "{way}");
        let late = answer(&rig, &admin, &id, "approve").await;
        assert_eq!(late.code(), "already_answered", "{way}");
        assert!(!mark(&rig).exists());
    }
}

#[tokio::test]
async fn a_turn_that_waits_lets_its_devices_other_sessions_run_and_holds_its_own() {
    let script = Script::new(vec![
        calls(&[("shell", touch("mark"))]),
        says("other"),
        says("done"),
        says("next"),
    ]);
    let models = script.models();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    ws.say(SESSION, "and then").await;
    ws.wait_for("queued").await;
    let mut other = rig.ws(&owner).await;
    other.say("t", "something else").await;
    assert_eq!(other.wait_for("response").await["text"], "other");
    other.wait_for("turn_complete").await;
    answer(&rig, &owner, &id, "approve").await;
    assert_eq!(ws.wait_for("response").await["text"], "done");
    assert_eq!(ws.wait_for("response").await["text"], "next");
}

#[tokio::test]
async fn a_program_that_was_changed_after_the_question_does_not_run_under_its_answer() {
    for argv in [json!(["./job"]), json!(["sh", "job"])] {
        changed_after_the_question(argv).await;
    }
}

async fn changed_after_the_question(argv: Value) {
    let (rig, script) = asking_for(&[("shell", json!({ "argv": argv }))]).await;
    let job = rig.state.settings.workspace().join("job");
    write_program(&job, "#!/bin/sh\ntrue\n");
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "run the job").await;
    let id = asked(&mut ws).await;
    write_program(&job, "#!/bin/sh\ntouch mark\n");
    assert_eq!(
        answer(&rig, &owner, &id, "approve").await.status,
        StatusCode::OK
    );
    ws.wait_for("turn_complete").await;
    assert!(
        script.told()[0].contains("does not cover"),
        "{:?}",
        script.told()
    );
    assert!(!mark(&rig).exists());
    let lines = rig.audit_lines().await;
    let refused = lines
        .iter()
        .any(|line| line["method"] == "use" && line["decision"] == "refused");
    assert!(refused);
}

fn write_program(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn what_waits_outlives_a_stop_and_a_death_and_goes_on_with_the_answer() {
    for dies in [false, true] {
        let (rig, _) = asking_for(&[("shell", touch("mark")), ("whoami", json!({}))]).await;
        let owner = rig.network.owner();
        let mut ws = rig.ws(&owner).await;
        ws.say(SESSION, "make a mark").await;
        let id = asked(&mut ws).await;
        ws.wait_for("tool_result").await;
        kept(&rig).await;
        let script = Script::new(vec![says("done after all")]);
        let models = Some(script.models());
        let rig = match dies {
            true => {
                rig.die_in_place_with(|settings| settings.models = models)
                    .await
            }
            false => rig.restart_with(|settings| settings.models = models).await,
        };
        assert_eq!(rig.state.resume(|_| false).await.unwrap(), 1);
        assert_eq!(state_of(&rig, &owner, &id).await, "pending", "dies: {dies}");
        let mut ws = rig.ws(&owner).await;
        ws.open(SESSION, 1).await;
        assert_eq!(asked(&mut ws).await, id, "it is shown again");
        assert_eq!(
            answer(&rig, &owner, &id, "approve").await.status,
            StatusCode::OK
        );
        assert_eq!(ws.wait_for("response").await["text"], "done after all");
        ws.wait_for("turn_complete").await;
        assert!(mark(&rig).exists());
        let told = script.told();
        assert_eq!(told.len(), 2);
        assert!(
            told[0].contains("exit_code") && told[1].contains("owner"),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn what_was_said_and_given_before_a_restart_belongs_to_the_answer_after_it() {
    let mut first = says("Look: [FILE:/api/files/a.txt]");
    first.pop();
    first.extend(calls(&[("shell", touch("mark"))]));
    let script = Script::new(vec![first]);
    let models = Some(script.models());
    let rig = Rig::start_with(|settings| settings.models = models).await;
    let owner = rig.network.owner();
    let uploaded = rig
        .call(&owner, post("/api/upload?filename=a.txt", "x"))
        .await;
    assert_eq!(uploaded.json()["path"], "/api/files/a.txt");
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    kept(&rig).await;
    let script = Script::new(vec![says("Done.")]);
    let models = Some(script.models());
    let rig = rig
        .die_in_place_with(|settings| settings.models = models)
        .await;
    assert_eq!(rig.state.resume(|_| false).await.unwrap(), 1);
    let mut ws = rig.ws(&owner).await;
    ws.open(SESSION, 1).await;
    answer(&rig, &owner, &id, "approve").await;
    let frames = ws.until("turn_complete").await;
    let response = frames.iter().find(|frame| frame["type"] == "response");
    let response = response.unwrap();
    assert_eq!(response["text"], "Look: \n\nDone.");
    assert_eq!(response["text"], crate::rig::text_of(&frames));
    assert_eq!(response["attachments"][0]["path"], "/api/files/a.txt");
}

/// Waits until the turn's machine lies in the database: the sign is that its device is free again.
async fn kept(rig: &Rig) {
    let waits = async {
        loop {
            let turns = rig.state.store.unfinished_turns().await.unwrap();
            if turns.iter().all(|turn| turn.checkpoint.is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, waits).await.unwrap();
}

/// An agent that died while its turn waited, before it goes on.
async fn died_waiting() -> (Rig, Arc<Script>, i64, Arc<Device>) {
    let (rig, _) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await.as_i64().unwrap();
    kept(&rig).await;
    let script = Script::new(vec![says("on")]);
    let models = Some(script.models());
    let next = rig
        .die_in_place_with(|settings| settings.models = models)
        .await;
    (next, script, id, owner)
}

async fn approve_in_store(rig: &Rig, id: i64, by: &Device) {
    let now_ms = homing_agent::clock::unix_ms();
    let resolution = Resolution {
        state: ApprovalState::Approved,
        answered: Some(AnsweredBy {
            device: by.id(),
            handle: "owner".into(),
            at_ms: now_ms,
        }),
        reason: "",
        now_ms,
    };
    let body = homing_agent::approvals::resolved_body;
    let outcome = rig
        .state
        .store
        .resolve_approval(None, id, resolution, body, |_| ());
    assert!(outcome.await.unwrap().unwrap().1);
}

#[tokio::test]
async fn what_was_approved_and_not_begun_runs_once_after_a_restart() {
    let (rig, script, id, owner) = died_waiting().await;
    approve_in_store(&rig, id, &owner).await;
    rig.state.resume(|_| false).await.unwrap();
    let mut ws = rig.ws(&owner).await;
    ws.open(SESSION, 1).await;
    ws.wait_for("turn_complete").await;
    assert!(
        script.told()[0].contains("exit_code"),
        "{:?}",
        script.told()
    );
    assert!(mark(&rig).exists());
    assert_eq!(state_of(&rig, &owner, &json!(id)).await, "used");
}

#[tokio::test]
async fn what_was_begun_before_a_restart_is_not_run_again_and_the_model_is_told_so() {
    let (rig, script, id, owner) = died_waiting().await;
    approve_in_store(&rig, id, &owner).await;
    let store = &rig.state.store;
    let row = store.approval(None, id).await.unwrap().unwrap();
    let now = homing_agent::clock::unix_ms();
    let claimed = store.claim_approval(row.user, row.turn_id, id, row.hash, now, now - 60_000);
    assert!(claimed.await.unwrap());
    rig.state.resume(|_| false).await.unwrap();
    let mut ws = rig.ws(&owner).await;
    ws.open(SESSION, 1).await;
    ws.wait_for("turn_complete").await;
    assert!(
        script.told()[0].contains("not known"),
        "{:?}",
        script.told()
    );
    assert!(!mark(&rig).exists());
}

#[tokio::test]
async fn a_claim_for_another_call_another_turn_or_too_late_is_refused_and_uses_nothing_up() {
    let (rig, _, id, owner) = died_waiting().await;
    approve_in_store(&rig, id, &owner).await;
    let store = &rig.state.store;
    let row = store.approval(None, id).await.unwrap().unwrap();
    let now = homing_agent::clock::unix_ms();
    let long_ago = now - 60_000;
    let mut other = row.hash;
    other[0] ^= 1;
    for (turn, hash, after) in [
        (row.turn_id, other, long_ago),
        (row.turn_id + 1, row.hash, long_ago),
        (row.turn_id, row.hash, now + 1),
    ] {
        let claim = store.claim_approval(row.user, turn, id, hash, now, after);
        assert!(!claim.await.unwrap());
    }
    let claims =
        (0..40).map(|_| store.claim_approval(row.user, row.turn_id, id, row.hash, now, long_ago));
    let claimed = futures_util::future::join_all(claims).await;
    let through = claimed
        .into_iter()
        .filter(|claimed| *claimed.as_ref().unwrap());
    assert_eq!(through.count(), 1);
}

#[tokio::test]
async fn a_device_that_was_revoked_while_the_agent_was_down_gets_nothing_approved() {
    let (rig, _, id, owner) = died_waiting().await;
    let revoked = owner.id();
    rig.state.resume(|device| *device == revoked).await.unwrap();
    let admin = rig.network.owner();
    let mut ws = rig.ws(&admin).await;
    ws.open(SESSION, 1).await;
    assert_eq!(ws.wait_for("turn_complete").await["reason"], "revoked");
    assert_eq!(state_of(&rig, &admin, &json!(id)).await, "denied");
}

#[tokio::test]
async fn an_approval_does_not_outweigh_read_only_mode() {
    let (rig, _) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    let id = asked(&mut ws).await;
    kept(&rig).await;
    let script = Script::new(vec![says("on")]);
    let models = Some(script.models());
    let rig = rig
        .restart_with(|settings| {
            settings.models = models;
            settings.policy.read_only = true;
        })
        .await;
    rig.state.resume(|_| false).await.unwrap();
    assert_eq!(
        answer(&rig, &owner, &id, "approve").await.status,
        StatusCode::OK
    );
    let mut ws = rig.ws(&owner).await;
    ws.open(SESSION, 1).await;
    ws.wait_for("turn_complete").await;
    assert!(
        script.told()[0].contains("read-only"),
        "{:?}",
        script.told()
    );
    assert!(!mark(&rig).exists());
}

/// Approvals that wait this long, on the files of a running agent, and a place to ask from.
async fn approvals_of(rig: &Rig, owner: &Device, lifetime: Duration) -> (Approvals, Origin) {
    let state = &rig.state;
    let logs = state.approvals.logs().clone();
    let approvals = Approvals::new(state.store.clone(), logs, state.audit.clone(), lifetime);
    let speaker = Speaker {
        node_id: owner.id(),
        user_id: owner.user(),
        handle: "owner".into(),
        role: "admin".into(),
        scopes: vec!["*".into()],
        path: "direct".into(),
    };
    let origin = Origin {
        speaker: Arc::new(speaker),
        session: SESSION.into(),
        turn_id: 1,
    };
    (approvals, origin)
}

fn call(arguments: Value) -> ToolCall {
    ToolCall {
        id: "c".into(),
        name: "shell".into(),
        arguments,
    }
}

#[tokio::test]
async fn what_nobody_answers_in_time_is_a_no_and_stays_one() {
    let (rig, _) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    asked(&mut ws).await;
    let (approvals, origin) = approvals_of(&rig, &owner, Duration::from_millis(50)).await;
    let asked_for = call(touch("other"));
    let id = approvals
        .ask(&origin, &asked_for, "x".into(), json!({}))
        .await;
    let id = id.unwrap();
    let outcome = tokio::time::timeout(LIMIT, approvals.outcome(owner.user(), id)).await;
    let why = "nobody approved it in time".to_owned();
    assert_eq!(outcome.unwrap(), Outcome::Denied(why));
    let late = answer(&rig, &owner, &json!(id), "approve").await;
    assert_eq!(late.code(), "already_answered");
    assert!(
        late.json()["error"]["message"]
            .to_string()
            .contains("expired")
    );
    assert_eq!(state_of(&rig, &owner, &json!(id)).await, "expired");
    assert_eq!(
        ws.wait_for("approval_resolved").await["decision"],
        "expired"
    );
}

#[tokio::test]
async fn an_answer_after_the_time_counts_as_none_even_when_nobody_has_noticed_yet() {
    let (rig, _) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    asked(&mut ws).await;
    let (approvals, origin) = approvals_of(&rig, &owner, Duration::ZERO).await;
    let asked_for = call(touch("other"));
    let id = approvals
        .ask(&origin, &asked_for, "x".into(), json!({}))
        .await;
    let late = answer(&rig, &owner, &json!(id.unwrap()), "approve").await;
    assert_eq!(late.code(), "already_answered");
    assert!(
        late.json()["error"]["message"]
            .to_string()
            .contains("expired")
    );
}

#[tokio::test]
async fn the_same_question_is_asked_once_one_too_many_not_at_all_and_one_too_long_neither() {
    let (rig, _) = asking().await;
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say(SESSION, "make a mark").await;
    asked(&mut ws).await;
    let (approvals, origin) = approvals_of(&rig, &owner, Duration::from_secs(60)).await;
    let ask = async |arguments: Value| {
        let asked_for = call(arguments);
        approvals
            .ask(&origin, &asked_for, "x".into(), json!({}))
            .await
    };
    let first = ask(touch("0")).await.unwrap();
    assert_eq!(ask(touch("0")).await.unwrap(), first);
    // One waits already, for the turn itself.
    for number in 1..MAX_PENDING - 1 {
        assert!(ask(touch(&number.to_string())).await.unwrap() > first);
    }
    let many = ask(touch("more")).await.unwrap_err();
    assert!(matches!(many, ApprovalError::TooMany), "{many}");
    let long = ask(touch(&"x".repeat(MAX_ARGUMENTS))).await.unwrap_err();
    assert!(matches!(long, ApprovalError::TooLong), "{long}");
    let page = rig.get(&owner, "/api/approvals?limit=60").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = rig
        .get(&owner, &format!("/api/approvals?limit=60&cursor={cursor}"))
        .await;
    let count = |page: &Value| page["approvals"].as_array().unwrap().len();
    assert_eq!((count(&page), count(&rest.json())), (60, 40));
}
