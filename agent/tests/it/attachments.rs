//! Files that go with what is said: attached by people, told to models, given by models.

use std::sync::Arc;

use axum::body::Body;
use homing_agent::turn::{Said, Tokens};
use homing_certs::Role;
use http::Request;
use serde_json::{Value, json};

use crate::network::Device;
use crate::rig::{Answer, Rig, Ws, numbers, text_of};
use crate::scripted::{Script, calls, says};

mod given;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0123456789";

async fn rig(script: &Arc<Script>) -> Rig {
    let models = script.models();
    Rig::start_with(|settings| settings.models = Some(models)).await
}

fn put(name: &str, body: impl Into<Body>) -> Request<Body> {
    let path = format!("/api/files/{name}");
    Request::put(path).body(body.into()).unwrap()
}

async fn attach(ws: &mut Ws, session: &str, path: &str) {
    ws.send(json!({
        "type": "attachment", "session_id": session, "path": path, "filename": "", "kind": "file"
    }))
    .await;
}

/// All that a model was told by people in its newest question, oldest first.
fn heard(script: &Script) -> Vec<Said> {
    let said = script.questions().pop().unwrap().said;
    let by_people = said.into_iter().filter(|one| one.by_person().is_some());
    by_people.collect()
}

async fn response(ws: &mut Ws) -> Value {
    let frames = ws.until("turn_complete").await;
    let response = frames.iter().find(|frame| frame["type"] == "response");
    let response = response.unwrap_or_else(|| panic!("{frames:?}")).clone();
    // Whoever joins the pieces has the same text, and no number is missing.
    assert_eq!(response["text"], text_of(&frames));
    let numbers = numbers(&frames);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    response
}

#[tokio::test]
async fn a_file_that_was_attached_goes_with_the_next_message_of_its_session_and_with_no_other() {
    let script = Script::new(vec![says("a"), says("b"), says("c")]);
    let rig = rig(&script).await;
    let device = rig.network.owner();
    for name in ["one.txt", "two.txt"] {
        rig.call(&device, put(name, "x")).await;
    }
    let mut ws = rig.ws(&device).await;
    attach(&mut ws, "s", "/api/files/one.txt").await;
    ws.say("other", "nothing here").await;
    let message = ws.wait_for("message").await;
    assert_eq!(message["attachments"], json!([]));
    ws.until("turn_complete").await;
    ws.send(json!({
        "type": "text_final", "session_id": "s", "text": "look",
        "attachments": [{"path": "/api/files/two.txt", "filename": "b", "type": "file"}],
    }))
    .await;
    let message = ws.wait_for("message").await;
    let paths: Vec<&Value> = message["attachments"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&paths[0]["path"], &paths[1]["path"], paths.len()),
        (
            &json!("/api/files/one.txt"),
            &json!("/api/files/two.txt"),
            2
        )
    );
    ws.until("turn_complete").await;
    ws.say("s", "again").await;
    assert_eq!(ws.wait_for("message").await["attachments"], json!([]));
}

#[tokio::test]
async fn files_that_wait_for_a_message_go_with_their_socket() {
    let script = Script::new(vec![says("a")]);
    let rig = rig(&script).await;
    let device = rig.network.owner();
    rig.call(&device, put("one.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    attach(&mut ws, "s", "/api/files/one.txt").await;
    ws.send(json!({ "type": "ping" })).await;
    ws.until("pong").await;
    drop(ws);
    let mut ws = rig.ws(&device).await;
    ws.say("s", "look").await;
    assert_eq!(ws.wait_for("message").await["attachments"], json!([]));
}

#[tokio::test]
async fn only_a_file_of_ones_own_can_be_attached_and_nothing_is_told_of_others() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let stranger = rig.network.device("eve", Role::Client, &["chat", "files"]);
    rig.call(&stranger, put("theirs.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    let mut texts = vec![];
    for path in [
        "/api/files/theirs.txt",
        "/api/files/missing.txt",
        "/api/files/../agent.db",
        "/api/files/%2e%2e%2fagent.db",
        "/api/files/",
        "/etc/passwd",
        "agent.db",
        "",
    ] {
        attach(&mut ws, "s", path).await;
        let error = ws.wait_for("error").await;
        assert_eq!(error["code"], "not_found", "{path}: {error}");
        texts.push(error["text"].clone());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn who_may_not_read_files_may_not_attach_them() {
    let rig = Rig::start().await;
    let owner = rig.network.owner();
    rig.call(&owner, put("a.txt", "x")).await;
    let device = rig.network.device("owner", Role::Client, &["chat"]);
    let mut ws = rig.ws(&device).await;
    attach(&mut ws, "s", "/api/files/a.txt").await;
    assert_eq!(ws.wait_for("error").await["code"], "forbidden");
    ws.send(json!({
        "type": "text_final", "session_id": "s", "text": "look",
        "attachments": [{"path": "/api/files/a.txt"}],
    }))
    .await;
    assert_eq!(ws.wait_for("error").await["code"], "forbidden");
}

#[tokio::test]
async fn the_seventeenth_file_is_refused_and_sixteen_go() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    for _ in 0..16 {
        attach(&mut ws, "s", "/api/files/a.txt").await;
    }
    attach(&mut ws, "s", "/api/files/a.txt").await;
    assert_eq!(ws.wait_for("error").await["code"], "too_many_attachments");
    ws.say("s", "help").await;
    let message = ws.wait_for("message").await;
    assert_eq!(message["attachments"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn a_malformed_attachment_is_refused() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    for (filename, kind) in [
        ("a\nb".to_owned(), "file"),
        ("x".repeat(256), "file"),
        ("a".to_owned(), "program"),
    ] {
        ws.send(json!({
            "type": "attachment", "session_id": "s", "path": "/api/files/a.txt",
            "filename": filename, "kind": kind,
        }))
        .await;
        assert_eq!(ws.wait_for("error").await["code"], "bad_attachment");
    }
    attach(&mut ws, "", "/api/files/a.txt").await;
    assert_eq!(ws.wait_for("error").await["code"], "bad_session_id");
}

#[tokio::test]
async fn a_file_that_goes_between_attaching_and_sending_is_missed_once() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    attach(&mut ws, "s", "/api/files/a.txt").await;
    ws.send(json!({ "type": "ping" })).await;
    ws.until("pong").await;
    std::fs::remove_file(stored(&rig, &device, "a.txt")).unwrap();
    ws.say("s", "help").await;
    let error = ws.wait_for("error").await;
    assert_eq!(error["code"], "not_found");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("attach the files again")
    );
    ws.say("s", "help").await;
    assert_eq!(ws.wait_for("message").await["attachments"], json!([]));
}

fn stored(rig: &Rig, device: &Device, name: &str) -> std::path::PathBuf {
    let folder = rig.folder().join("uploads").join(device.user().to_string());
    folder.join(name)
}

async fn say_with(ws: &mut Ws, text: &str, files: &[&str]) -> Value {
    let files: Vec<Value> = files
        .iter()
        .map(|name| json!({ "path": format!("/api/files/{name}"), "type": "file" }))
        .collect();
    ws.send(json!({ "type": "text_final", "session_id": "s", "text": text, "attachments": files }))
        .await;
    response(ws).await
}

#[tokio::test]
async fn a_model_is_told_of_files_and_of_what_stands_in_short_texts() {
    let script = Script::new(vec![says("one"), says("two")]);
    let rig = rig(&script).await;
    let device = rig.network.owner();
    let long = format!("begin {}", "é".repeat(20_000));
    rig.call(&device, put("short.txt", "the password is swordfish"))
        .await;
    rig.call(&device, put("long.txt", long.clone())).await;
    rig.call(&device, put("data.bin", vec![0_u8, 1, 2])).await;
    let mut ws = rig.ws(&device).await;
    say_with(&mut ws, "what?", &["short.txt", "long.txt", "data.bin"]).await;
    let told = heard(&script).pop().unwrap();
    let told = told.by_person().unwrap();
    assert!(
        told.starts_with("what?\n\n[Files of this message."),
        "{told}"
    );
    let line =
        "- short.txt (file, 25 bytes): /api/files/short.txt\n```\nthe password is swordfish\n```";
    assert!(told.contains(line), "{told}");
    assert!(told.contains(&format!("[cut here: {} bytes in all]", long.len())));
    assert!(told.len() < 20_000, "{}", told.len());
    assert!(told.ends_with("- data.bin (file, 3 bytes): /api/files/data.bin"));
    // In the next turn it knows of the files, and reads them no more.
    ws.say("s", "and now?").await;
    ws.until("turn_complete").await;
    let told = heard(&script);
    let before = told[0].by_person().unwrap();
    assert!(before.contains("- short.txt (file, 25 bytes)") && !before.contains("swordfish"));
    assert_eq!(told[1], Said::User("and now?".into()));
}

#[tokio::test]
async fn texts_of_many_files_stay_within_a_small_models_room() {
    let script = Script::new(vec![says("one")]);
    let models = script.models_with(8_192);
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let device = rig.network.owner();
    let names: Vec<String> = (0..16).map(|at| format!("f{at}.txt")).collect();
    for name in &names {
        rig.call(&device, put(name, "x".repeat(10_000))).await;
    }
    let mut ws = rig.ws(&device).await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    say_with(&mut ws, "what?", &names).await;
    let told = heard(&script).pop().unwrap();
    assert!(told.size() < 8_192 * 3 / 2, "{}", told.size());
}

#[tokio::test]
async fn a_file_that_goes_before_the_model_is_asked_is_named_as_gone() {
    let script = Script::new(vec![says("two")]);
    let rig = rig(&script).await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    say_with(&mut ws, "look", &["a.txt"]).await;
    std::fs::remove_file(stored(&rig, &device, "a.txt")).unwrap();
    let script = Script::new(vec![says("three")]);
    let models = script.models();
    let rig = rig
        .restart_with(|settings| settings.models = Some(models))
        .await;
    let mut ws = rig.ws(&device).await;
    ws.say("s", "again").await;
    ws.until("turn_complete").await;
    let told = heard(&script);
    let told = told.iter().filter_map(Said::by_person);
    assert!(
        told.into_iter()
            .any(|told| told.contains("- a.txt (file, not there any more)"))
    );
}

#[tokio::test]
async fn pictures_go_to_models_that_take_them_and_only_the_newest() {
    let rounds = (0..5).map(|_| says("seen")).collect();
    let script = Script::new(rounds);
    let models = script.models_that_see();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let device = rig.network.owner();
    let mut ws = rig.ws(&device).await;
    for at in 0..5 {
        let name = format!("p{at}.png");
        rig.call(&device, put(&name, PNG)).await;
        say_with(&mut ws, "look", &[&name]).await;
    }
    let asked = script.questions().pop().unwrap();
    let shown = |at| asked.images.get(&format!("p{at}.png"));
    assert_eq!(shown(4).unwrap().media_type, "image/png");
    assert!(shown(3).is_some() && shown(2).is_some());
    assert!(shown(1).is_none() && shown(0).is_none());
    let oldest = asked.said[0].by_person().unwrap();
    assert!(
        oldest.contains("- p0.png (file): /api/files/p0.png"),
        "{oldest}"
    );
}

#[tokio::test]
async fn a_picture_that_is_named_many_times_is_shown_once() {
    let script = Script::new(vec![says("seen"), says("seen")]);
    let models = script.models_that_see();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let device = rig.network.owner();
    rig.call(&device, put("p.png", PNG)).await;
    let mut ws = rig.ws(&device).await;
    for _ in 0..2 {
        say_with(&mut ws, "look", &["p.png"; 16]).await;
    }
    for asked in script.questions() {
        let pictures = asked.said.iter().map(|said| match said {
            Said::Pictured { images, .. } => images.len(),
            _ => 0,
        });
        assert_eq!(pictures.sum::<usize>(), 1);
    }
}

#[tokio::test]
async fn a_device_that_may_not_read_files_has_no_model_see_those_of_another() {
    let script = Script::new(vec![says("seen"), says("not seen")]);
    let models = script.models_that_see();
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let owner = rig.network.owner();
    rig.call(&owner, put("p.png", PNG)).await;
    let mut ws = rig.ws(&owner).await;
    say_with(&mut ws, "look", &["p.png"]).await;
    assert!(script.questions()[0].images.get("p.png").is_some());
    let phone = rig.network.device("owner", Role::Client, &["chat"]);
    assert_eq!(phone.user(), owner.user());
    let mut ws = rig.ws(&phone).await;
    ws.say("s", "describe the picture above").await;
    response(&mut ws).await;
    assert!(script.questions()[1].images.get("p.png").is_none());
}

#[tokio::test]
async fn a_model_that_takes_no_pictures_gets_the_line_alone() {
    let script = Script::new(vec![says("seen")]);
    let rig = rig(&script).await;
    let device = rig.network.owner();
    rig.call(&device, put("p.png", PNG)).await;
    let mut ws = rig.ws(&device).await;
    say_with(&mut ws, "look", &["p.png"]).await;
    let asked = script.questions().pop().unwrap();
    assert!(asked.images.get("p.png").is_none());
    assert!(
        asked.said[0]
            .by_person()
            .unwrap()
            .contains("- p.png (file, 18 bytes)")
    );
}

#[tokio::test]
async fn pictures_take_no_room_of_a_model_that_does_not_see_them() {
    let script = Script::new(vec![says("no")]);
    let models = script.models_with(8_192);
    let rig = Rig::start_with(|settings| settings.models = Some(models)).await;
    let device = rig.network.owner();
    rig.call(&device, put("p.png", PNG)).await;
    let mut ws = rig.ws(&device).await;
    say_with(&mut ws, "look", &["p.png"; 16]).await;
    assert!(matches!(&heard(&script)[..], [Said::User(_)]));
}
