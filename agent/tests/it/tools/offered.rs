//! The built-in tools in a real turn: to whom they are offered, and that the one which changes something
//! waits for a person.

use homing_agent::AgentSettings;
use homing_agent::tools::builtin;
use homing_certs::Role;
use serde_json::json;

use crate::network::EVERY_SCOPE;
use crate::rig::Rig;
use crate::scripted::{Script, calls, says};

async fn offered(scopes: &[&str], change: impl FnOnce(&mut AgentSettings)) -> Vec<String> {
    let script = Script::new(vec![says("hello")]);
    let models = script.models();
    let rig = Rig::start_with(|settings| {
        settings.models = Some(models);
        change(settings);
    })
    .await;
    let device = rig.network.device("ann", Role::Client, scopes);
    let mut ws = rig.ws(&device).await;
    ws.say("s", "hi").await;
    ws.wait_for("turn_complete").await;
    script.tools()
}

#[tokio::test]
async fn a_model_is_offered_what_the_asking_device_may_use() {
    assert_eq!(
        offered(&["chat"], |_| {}).await,
        ["devices", "time", "whoami"]
    );
    let status = offered(&["chat", "status.read"], |_| {}).await;
    for name in [
        "system",
        "network",
        "processes",
        "sensors",
        "containers",
        "services",
    ] {
        assert!(status.iter().any(|tool| tool == name), "{name}: {status:?}");
    }
    for name in [
        "journal",
        "container_logs",
        "read_file",
        "write_file",
        "fetch",
    ] {
        assert!(
            !status.iter().any(|tool| tool == name),
            "{name}: {status:?}"
        );
    }
}

#[tokio::test]
async fn pages_of_the_web_are_offered_only_when_the_owner_has_said_so() {
    let fetch = |tools: Vec<String>| tools.iter().any(|tool| tool == "fetch");
    assert!(!fetch(offered(EVERY_SCOPE, |_| {}).await));
    let on = |settings: &mut AgentSettings| settings.tools.fetch.enabled = true;
    assert!(fetch(offered(EVERY_SCOPE, on).await));
    assert!(!fetch(offered(&["chat", "status.read", "files"], on).await));
}

#[tokio::test]
async fn every_tool_describes_itself_as_providers_want_it() {
    let rig = Rig::start_with(|settings| settings.tools.fetch.enabled = true).await;
    let state = &rig.state;
    let tools = builtin(
        &state.settings,
        &state.system,
        &state.store,
        &state.connections,
        &state.confinement,
    );
    assert!(tools.len() >= 16);
    let mut words = 0;
    for tool in tools {
        let spec = tool.spec();
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!((1..=64).contains(&spec.name.len()) && spec.name.chars().all(letter));
        assert_eq!(spec.parameters["type"], "object", "{}", spec.name);
        let properties = spec.parameters["properties"].as_object().unwrap();
        let required = spec.parameters["required"].as_array();
        for name in required.into_iter().flatten() {
            assert!(properties.contains_key(name.as_str().unwrap()), "{name}");
        }
        if let Some(scope) = tool.scope() {
            assert!(homing_certs::KNOWN_SCOPES.contains(&scope), "{scope}");
        }
        words += spec.description.len() + spec.parameters.to_string().len();
    }
    // They are in every question to a model.
    assert!(words < 10_000, "{words}");
}

#[tokio::test]
async fn a_file_is_written_when_a_person_approves_and_read_back_without_asking() {
    let script = Script::new(vec![
        calls(&[("write_file", json!({"path": "note.txt", "text": "milk"}))]),
        calls(&[
            ("read_file", json!({"path": "note.txt"})),
            ("read_file", json!({"path": "../agent.db"})),
        ]),
        says("done"),
    ]);
    let models = script.models();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let note = rig.state.settings.workspace().join("note.txt");
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "note that").await;
    let question = ws.wait_for("approval_required").await;
    assert_eq!(question["tool"], "write_file");
    assert!(!note.exists());
    ws.send(json!({"type": "approval_answer", "id": question["id"], "decision": "approve"}))
        .await;
    ws.wait_for("turn_complete").await;
    assert_eq!(std::fs::read_to_string(note).unwrap(), "milk");
    let told = script.told();
    assert!(told[1].contains("\"text\":\"milk\""), "{told:?}");
    assert!(told[2].contains("has no .."), "{told:?}");
}

#[tokio::test]
async fn in_read_only_mode_no_file_is_written() {
    let script = Script::new(vec![
        calls(&[("write_file", json!({"path": "note.txt", "text": "milk"}))]),
        says("sorry"),
    ]);
    let models = script.models();
    let rig = Rig::start_with(|settings| {
        settings.models = Some(models);
        settings.policy.read_only = true;
    })
    .await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "note that").await;
    ws.wait_for("turn_complete").await;
    assert!(!rig.state.settings.workspace().join("note.txt").exists());
    assert!(
        script.told()[0].contains("read-only"),
        "{:?}",
        script.told()
    );
}
