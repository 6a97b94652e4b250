//! Files that a model gives in its answer.

use homing_agent::policy::Action;
use homing_agent::providers::{ModelEvent, ProviderError};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

const NOTE: &str = "[file not available]";

fn workspace(rig: &Rig) -> std::path::PathBuf {
    rig.folder().join("workspace")
}

/// What a turn answers when the model says this.
async fn answers(text: impl Fn(&Rig) -> String, prepare: impl Fn(&Rig)) -> (Rig, Value) {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    prepare(&rig);
    script.push(says(&text(&rig)));
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "give").await;
    let response = response(&mut ws).await;
    (rig, response)
}

#[tokio::test]
async fn a_file_of_the_workspace_is_given_as_one_of_the_persons_own() {
    let (rig, response) = answers(
        |rig| {
            format!(
                "Here:\n[FILE:{}/re port.pdf]\nDone.",
                workspace(rig).display()
            )
        },
        |rig| std::fs::write(workspace(rig).join("re port.pdf"), "pdf").unwrap(),
    )
    .await;
    assert_eq!(response["text"], "Here:\n\nDone.");
    assert_eq!(
        response["attachments"],
        json!([{ "path": "/api/files/re_port.pdf", "filename": "re port.pdf", "type": "file" }])
    );
    let owner = rig.network.owner();
    let file = rig.get(&owner, "/api/files/re_port.pdf").await;
    assert_eq!(file.body, b"pdf");
}

#[tokio::test]
async fn a_file_that_is_given_again_is_not_stored_again_and_a_changed_one_is() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    let path = workspace(&rig).join("a.txt");
    let marker = format!("[FILE:{}]", path.display());
    let mut ws = rig.ws(&rig.network.owner()).await;
    let mut paths = vec![];
    for content in ["one", "one", "two"] {
        std::fs::write(&path, content).unwrap();
        script.push(says(&format!("{marker} and {marker}")));
        ws.say("s", "give").await;
        let response = response(&mut ws).await;
        assert_eq!(response["text"], " and ");
        assert_eq!(response["attachments"].as_array().unwrap().len(), 1);
        paths.push(
            response["attachments"][0]["path"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(paths[0], paths[1]);
    assert_ne!(paths[1], paths[2]);
}

#[tokio::test]
async fn what_is_not_the_persons_or_the_workspaces_is_not_available_whether_it_is_there_or_not() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    let stranger = rig.network.device("eve", Role::Client, &["chat", "files"]);
    rig.call(&stranger, put("theirs.txt", "x")).await;
    let (folder, own) = (rig.folder(), workspace(&rig));
    std::os::unix::fs::symlink("/etc/passwd", own.join("link")).unwrap();
    std::os::unix::fs::symlink(folder.join("agent.db"), own.join("db")).unwrap();
    std::os::unix::fs::symlink("..", own.join("up")).unwrap();
    std::fs::create_dir(own.join("dir")).unwrap();
    let large = std::fs::File::create(own.join("large")).unwrap();
    large.set_len(1 << 30).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(own.join("pipe"))
        .status();
    assert!(fifo.unwrap().success());
    let within = |name: &str| own.join(name).display().to_string();
    let paths = [
        "/etc/passwd".to_owned(),
        "/etc/shadow".to_owned(),
        "/nowhere".to_owned(),
        "/".to_owned(),
        folder.join("agent.db").display().to_string(),
        folder.join("audit.jsonl").display().to_string(),
        own.display().to_string(),
        within("../agent.db"),
        within("link"),
        within("db"),
        within("up/agent.db"),
        within("dir"),
        within("large"),
        within("pipe"),
        within("missing"),
        "/api/files/theirs.txt".to_owned(),
        "/api/files/../agent.db".to_owned(),
        "/api/files/%2e%2e/agent.db".to_owned(),
        "/api/files/missing".to_owned(),
        "/api/files/".to_owned(),
        "/proc/self/environ".to_owned(),
    ];
    let markers: Vec<String> = paths.iter().map(|path| format!("[FILE:{path}]")).collect();
    script.push(says(&markers.join("\n")));
    let owner = rig.network.owner();
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "give").await;
    let response = response(&mut ws).await;
    let notes = vec![NOTE; paths.len()].join("\n");
    assert_eq!(response["text"], notes);
    assert_eq!(response["attachments"], json!([]));
    let folder = rig.folder().join("uploads").join(owner.user().to_string());
    let left = std::fs::read_dir(folder).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is left of what was not given");
}

#[tokio::test]
async fn a_person_whose_device_may_not_read_files_is_given_none() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    let owner = rig.network.owner();
    rig.call(&owner, put("a.txt", "x")).await;
    let path = workspace(&rig).join("b.txt");
    std::fs::write(&path, "x").unwrap();
    let markers = format!("[FILE:/api/files/a.txt][FILE:{}]", path.display());
    let device = rig.network.device("owner", Role::Client, &["chat"]);
    for (device, files) in [(&device, 0), (&owner, 2)] {
        script.push(says(&markers));
        let mut ws = rig.ws(device).await;
        ws.say("s", "give").await;
        let response = response(&mut ws).await;
        assert_eq!(response["attachments"].as_array().unwrap().len(), files);
        assert_eq!(response["text"], NOTE.repeat(2 - files));
    }
}

#[tokio::test]
async fn a_full_store_means_not_available() {
    let script = Script::new(vec![]);
    let models = script.models();
    let rig = Rig::start_with(|settings| {
        settings.models = Some(models);
        settings.sizes.user = 10;
    })
    .await;
    let path = workspace(&rig).join("b.txt");
    std::fs::write(&path, "eleven bytes").unwrap();
    script.push(says(&format!("[FILE:{}]", path.display())));
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "give").await;
    assert_eq!(response(&mut ws).await["text"], NOTE);
}

#[tokio::test]
async fn at_most_sixteen_files_are_given_and_many_markers_do_no_harm() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    let owner = rig.network.owner();
    let mut text = String::new();
    for at in 0..20 {
        rig.call(&owner, put(&format!("f{at}"), "x")).await;
        text.push_str(&format!("[FILE:/api/files/f{at}]"));
    }
    text.push_str(&"[FILE:/x]".repeat(10_000));
    script.push(says(&text));
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "give").await;
    let response = response(&mut ws).await;
    assert_eq!(response["attachments"].as_array().unwrap().len(), 16);
    assert_eq!(response["text"], NOTE.repeat(10_004));
}

#[tokio::test]
async fn a_marker_that_comes_in_pieces_is_never_shown() {
    let text = "before [IMAGE:/api/files/p.png] after [FILE:/ap";
    let pieces = text.chars().map(|c| Ok(ModelEvent::Text(c.to_string())));
    let finished = ModelEvent::Finished(Tokens {
        input: 1,
        cached: 0,
        output: 1,
    });
    let script = Script::new(vec![pieces.chain([Ok(finished)]).collect()]);
    let rig = rig(&script).await;
    let owner = rig.network.owner();
    rig.call(&owner, put("p.png", PNG)).await;
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "give").await;
    let frames = ws.until("turn_complete").await;
    assert_eq!(text_of(&frames), "before  after [FILE:/ap");
    let response = frames
        .iter()
        .find(|frame| frame["type"] == "response")
        .unwrap();
    assert_eq!(response["text"], text_of(&frames));
    assert_eq!(
        response["attachments"],
        json!([{ "path": "/api/files/p.png", "filename": "p.png", "type": "image" }])
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_a_marker_shows_nothing_of_it() {
    let broken = vec![
        Ok(ModelEvent::Text("before [FILE:/api/fi".into())),
        Err(ProviderError::BrokenOff),
    ];
    let script = Script::new(vec![broken, says("again")]);
    let rig = rig(&script).await;
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "give").await;
    let frames = ws.until("turn_complete").await;
    assert_eq!(text_of(&frames), "before ");
    assert_eq!(frames.last().unwrap()["reason"], "failed");
    ws.say("s", "again").await;
    ws.until("turn_complete").await;
    let said = script.questions().pop().unwrap().said;
    let remembered = Said::Assistant {
        text: "before ".into(),
        calls: vec![],
    };
    assert_eq!(said[1], remembered);
}

#[tokio::test]
async fn an_answer_that_is_only_a_file_is_one_and_the_model_remembers_it() {
    let script = Script::new(vec![says("[VOICE:/api/files/a.ogg]"), says("yes")]);
    let rig = rig(&script).await;
    let owner = rig.network.owner();
    rig.call(&owner, put("a.ogg", "x")).await;
    let mut ws = rig.ws(&owner).await;
    ws.say("s", "give").await;
    let response = response(&mut ws).await;
    assert_eq!(
        (&response["text"], &response["attachments"][0]["type"]),
        (&json!(""), &json!("voice"))
    );
    ws.say("s", "did you?").await;
    ws.until("turn_complete").await;
    let said = script.questions().pop().unwrap().said;
    assert_eq!(
        said[1],
        Said::Assistant {
            text: "[VOICE:/api/files/a.ogg]".into(),
            calls: vec![]
        }
    );
}

#[tokio::test]
async fn files_are_given_wherever_a_whole_answer_is() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    let owner = rig.network.owner();
    rig.call(&owner, put("a.txt", "x")).await;
    let file = json!([{ "path": "/api/files/a.txt", "filename": "a.txt", "type": "file" }]);
    let post = |path: &str, body: Value| {
        let request = Request::post(path).header("content-type", "application/json");
        request.body(Body::from(body.to_string())).unwrap()
    };
    let ask = async |path: &str, body: Value| -> Answer {
        script.push(says("Here.[FILE:/api/files/a.txt]"));
        rig.call(&owner, post(path, body)).await
    };
    let chat = ask("/chat", json!({ "message": "give" })).await.json();
    assert_eq!(
        (&chat["message"], &chat["attachments"]),
        (&json!("Here."), &file)
    );
    let messages =
        json!({ "model": "homing", "messages": [{ "role": "user", "content": "give" }] });
    let whole = ask("/v1/chat/completions", messages).await.json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["attachments"]),
        (&json!("Here."), &file)
    );
    let whole = ask(
        "/v1/responses",
        json!({ "model": "homing", "input": "give" }),
    )
    .await
    .json();
    let item = &whole["output"][0];
    assert_eq!(
        (&item["content"][0]["text"], &item["attachments"]),
        (&json!("Here."), &file)
    );
}

#[tokio::test]
async fn files_are_given_in_streams_and_events_too() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    let owner = rig.network.owner();
    rig.call(&owner, put("a.txt", "x")).await;
    let file = json!([{ "path": "/api/files/a.txt", "filename": "a.txt", "type": "file" }]);
    for (path, body) in [
        (
            "/v1/chat/completions",
            json!({ "model": "homing", "stream": true,
                "messages": [{ "role": "user", "content": "give" }] }),
        ),
        (
            "/v1/responses",
            json!({ "model": "homing", "stream": true, "input": "give" }),
        ),
    ] {
        script.push(says("Here.[FILE:/api/files/a.txt]"));
        let request = Request::post(path).header("content-type", "application/json");
        let service = rig.connect(&owner).await;
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(!text.contains("[FILE"), "{text}");
        let given = format!("\"attachments\":{file}");
        assert!(text.contains(&given), "{path}: {text}");
    }
    script.push(says("Here.[FILE:/api/files/a.txt]"));
    let mut ws = rig.socket(&owner, "/rpc", 64 << 10).await;
    ws.send(json!({
        "version": "1.0", "id": 1, "method": "agent.run", "idempotencyKey": "k",
        "params": { "sessionId": "s", "text": "give" },
    }))
    .await;
    let response = loop {
        let frame = ws.next().await;
        if frame["event"] == "session.response" {
            break frame["data"].clone();
        }
    };
    assert_eq!(
        (&response["text"], &response["attachments"]),
        (&json!("Here."), &file)
    );
}

#[tokio::test]
async fn a_file_that_a_tool_makes_after_it_was_named_is_given() {
    let script = Script::new(vec![]);
    let models = script.models();
    let rig = Rig::start_with(|settings| {
        settings.models = Some(models);
        settings.policy.tools = [("write_file".to_owned(), Action::Allow)].into();
    })
    .await;
    let marker = format!("[FILE:{}/out.txt]", workspace(&rig).display());
    let write = json!({ "path": "out.txt", "text": "made" });
    let mut round = calls(&[("write_file", write)]);
    round.insert(0, Ok(ModelEvent::Text(format!("I make {marker}."))));
    script.push(round);
    script.push(says(&format!("Here: {marker}")));
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "make it").await;
    let response = response(&mut ws).await;
    assert_eq!(response["text"], format!("I make {NOTE}.\n\nHere: "));
    assert_eq!(response["attachments"][0]["filename"], "out.txt");
}

#[tokio::test]
async fn a_file_that_the_policy_keeps_from_models_is_not_given_either() {
    for action in [Action::Deny, Action::Ask] {
        let script = Script::new(vec![]);
        let models = script.models();
        let rig = Rig::start_with(|settings| {
            settings.models = Some(models);
            settings.policy.tools = [("read_file".to_owned(), action)].into();
        })
        .await;
        std::fs::write(workspace(&rig).join("a.txt"), "kept").unwrap();
        script.push(says(&format!("[FILE:{}/a.txt]", workspace(&rig).display())));
        let mut ws = rig.ws(&rig.network.owner()).await;
        ws.say("s", "give").await;
        assert_eq!(response(&mut ws).await["text"], NOTE);
    }
}

#[tokio::test]
async fn files_of_an_answer_that_fails_come_with_its_end() {
    let script = Script::new(vec![]);
    let rig = rig(&script).await;
    std::fs::write(workspace(&rig).join("a.txt"), "there").unwrap();
    let text = format!("[FILE:{}/a.txt] Next", workspace(&rig).display());
    script.push(vec![
        Ok(ModelEvent::Text(text)),
        Err(ProviderError::BrokenOff),
    ]);
    let mut ws = rig.ws(&rig.network.owner()).await;
    ws.say("s", "give").await;
    let end = ws.wait_for("turn_complete").await;
    assert_eq!(end["reason"], "failed");
    assert_eq!(end["attachments"][0]["filename"], "a.txt");
}
