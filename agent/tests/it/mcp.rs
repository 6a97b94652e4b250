//! MCP servers: how they are added, asked, changed and shown. Servers are real processes.

pub(crate) mod bench;
mod elsewhere;
mod faults;
mod lifecycle;
pub(crate) mod npm;
mod real;
mod turns;

use homing_agent::tools::{Permission, ToolEffect, ToolError};
use homing_certs::Role;
use http::Method;
use serde_json::{Value, json};

use crate::network::EVERY_SCOPE;
use crate::rig::post;
use bench::{Bench, call, noted, origin, scripted, speaker};

#[tokio::test]
async fn a_server_that_was_added_offers_its_tools_and_answers() {
    let bench = Bench::with(&[]).await;
    let server = bench.ready().await;
    assert_eq!(server["status"]["title"], "scripted 1");
    assert_eq!(server["status"]["protocol"], "2025-06-18");
    let tools = server["status"]["tools"].as_array().unwrap();
    let echo = tools.iter().find(|tool| tool["name"] == "echo").unwrap();
    assert_eq!(
        (
            &echo["model_name"],
            &echo["read_only_hint"],
            &echo["offered"]
        ),
        (&json!("mcp_s_echo"), &json!(true), &json!(true))
    );
    assert!(bench.offered().contains(&"mcp_s_echo".to_owned()));
    assert_eq!(bench.text("echo", json!({"a": 1})).await, r#"{"a": 1}"#);
    assert_eq!(bench.error("fail", json!({})).await, "it went wrong");
    let blocks = bench.text("blocks", json!({})).await;
    assert_eq!(blocks, "[image, image/png, 5 bytes, not shown]\n{\"a\":1}");
    let long = bench.text("huge", json!({"bytes": 200_000})).await;
    assert!(long.len() <= 64 << 10 && long.contains("[cut here: "));
    assert!(bench.error("nothing", json!({})).await.contains("no tool"));
}

#[tokio::test]
async fn a_tool_asks_before_it_runs_whatever_its_server_says_and_a_denied_one_is_not_offered() {
    let bench = Bench::start().await;
    let body = json!({
        "name": "s", "command": scripted(&[]),
        "tools": {"echo": "allow", "crash": "deny", "sleep": "allow"}
    });
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let tools = &bench.rig.state.tools;
    let judge = async |tool| {
        let origin = origin(bench.speaker());
        tools.judge(&origin, &call(tool, json!({}))).await
    };
    assert_eq!(judge("echo").await, Ok(Permission::Run));
    assert_eq!(judge("sleep").await, Ok(Permission::Run));
    for tool in ["pid", "env"] {
        // The first says of itself that it only reads.
        let asked = judge(tool).await.unwrap();
        assert!(matches!(asked, Permission::Ask { .. }), "{tool}");
    }
    assert!(matches!(judge("crash").await, Err(ToolError::Unknown(_))));
    assert!(!bench.offered().contains(&"mcp_s_crash".to_owned()));
    let offered = bench.rig.state.mcps.source().tools(&bench.speaker());
    let effect = |name: &str| offered[name].effect(&json!({}));
    assert_eq!(effect("mcp_s_pid"), ToolEffect::Changes);
    assert_eq!(effect("mcp_s_echo"), ToolEffect::Reads);
    assert_eq!(effect("mcp_s_sleep"), ToolEffect::Changes);
    let lines = bench.rig.audit_lines().await;
    let asked = lines
        .iter()
        .find(|line| line["target"] == "mcp_s_pid")
        .unwrap();
    assert_eq!(asked["detail"]["needs"], "approval");
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let bench = Bench::start().await;
    let key = "sk-very-secret-1";
    let body = json!({
        "name": "s", "command": scripted(&[]), "policy": "allow", "env": {"API_KEY": key}
    });
    let added = bench.send(Method::POST, "/api/mcps", body).await.json();
    assert_eq!(added["env"], json!({"API_KEY": "****"}));
    bench.ready().await;
    // The server has it, and what it tells of it is covered.
    assert_eq!(bench.text("leak", json!({})).await, "the key is ****");
    bench.logged("the key is ****").await;

    let keep = json!({
        "command": scripted(&["build=2"]), "policy": "allow", "env": {"API_KEY": "****"}
    });
    bench.send(Method::PUT, "/api/mcps/s", keep).await;
    bench
        .until(|server| server["status"]["title"] == "scripted 2")
        .await;
    assert_eq!(bench.text("leak", json!({})).await, "the key is ****");

    let all = bench.rig.get(&bench.owner, "/api/mcps").await;
    let one = bench.rig.get(&bench.owner, "/api/mcps/s").await;
    let logs = bench.logs().await.join("\n");
    let audit = bench.rig.audit_lines().await;
    for text in [
        all.json().to_string(),
        one.json().to_string(),
        logs,
        json!(audit).to_string(),
    ] {
        assert!(!text.contains(key), "{text}");
    }
    bench.rig.state.shutdown().await;
    for file in std::fs::read_dir(bench.rig.folder()).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            let bytes = std::fs::read(&file).unwrap();
            let found = bytes.windows(key.len()).any(|part| part == key.as_bytes());
            assert!(!found, "{} holds the key", file.display());
        }
    }
}

#[tokio::test]
async fn a_server_gets_the_environment_that_its_owner_gave_and_little_else() {
    let bench = Bench::start().await;
    let body = json!({
        "name": "s", "command": scripted(&[]), "policy": "allow", "env": {"MINE": "1"}
    });
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let env: Value = serde_json::from_str(&bench.text("env", json!({})).await).unwrap();
    let env = env.as_object().unwrap();
    assert_eq!(env["MINE"], "1");
    assert!(env.contains_key("PATH"));
    // Set by cargo for this very process.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!env.keys().any(|name| name.starts_with("CARGO")), "{env:?}");
}

#[tokio::test]
async fn another_user_neither_sees_nor_moves_nor_calls_it() {
    let bench = Bench::with(&[]).await;
    bench.ready().await;
    let other = bench.rig.network.device("other", Role::Admin, EVERY_SCOPE);
    let list = bench.rig.get(&other, "/api/mcps").await.json();
    assert_eq!(list["mcps"], json!([]));
    for (method, path) in [
        (Method::GET, "/api/mcps/s"),
        (Method::GET, "/api/mcps/s/logs"),
        (Method::PUT, "/api/mcps/s"),
        (Method::DELETE, "/api/mcps/s"),
        (Method::POST, "/api/mcps/s/enable"),
        (Method::POST, "/api/mcps/s/disable"),
    ] {
        let body = json!({"command": "true"});
        let answer = bench.send_as(&other, method, path, body).await;
        assert_eq!(answer.code(), "not_found", "{path}");
    }
    let tools = &bench.rig.state.tools;
    let theirs = tools.specs(&speaker(&other));
    assert!(!theirs.iter().any(|spec| spec.name.starts_with("mcp_")));
    let theirs = origin(speaker(&other));
    let outcome = tools.run(&theirs, call("echo", json!({}))).await;
    assert!(outcome.result.unwrap_err().contains("no tool"));

    // The same name is free for them, and both go on.
    let body = json!({"name": "s", "command": scripted(&["build=theirs"]), "policy": "allow"});
    let added = bench.send_as(&other, Method::POST, "/api/mcps", body).await;
    assert_eq!(added.status, 201);
    assert_eq!(bench.show("s").await["status"]["title"], "scripted 1");
    let client = bench.rig.network.device("owner", Role::Client, EVERY_SCOPE);
    let answer = bench.rig.get(&client, "/api/mcps").await;
    assert_eq!(answer.code(), "forbidden");
}

#[tokio::test]
async fn servers_are_listed_in_pages_and_what_is_wrong_is_refused_with_a_reason() {
    let bench = Bench::start().await;
    for name in ["a", "b", "c"] {
        let body = json!({"name": name, "command": "true", "enabled": false});
        let answer = bench.send(Method::POST, "/api/mcps", body).await;
        assert_eq!(answer.json()["status"]["state"], "disabled");
    }
    let first = bench
        .rig
        .get(&bench.owner, "/api/mcps?limit=2")
        .await
        .json();
    assert_eq!(first["mcps"][1]["name"], "b");
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/api/mcps?limit=2&cursor={cursor}");
    let rest = bench.rig.get(&bench.owner, &path).await.json();
    assert_eq!(
        (&rest["mcps"][0]["name"], &rest["mcps"][1]),
        (&json!("c"), &Value::Null)
    );

    for (method, path, body, code) in [
        (
            Method::POST,
            "/api/mcps",
            json!({"name": "a", "command": "x"}),
            "name_taken",
        ),
        (
            Method::POST,
            "/api/mcps",
            json!({"name": "A", "command": "x"}),
            "bad_mcp",
        ),
        (Method::POST, "/api/mcps", json!({"name": "d"}), "bad_mcp"),
        (
            Method::POST,
            "/api/mcps",
            json!({"name": "d", "url": "http://1.2.3.4"}),
            "bad_mcp",
        ),
        (
            Method::POST,
            "/api/mcps",
            json!({"name": "d", "shell": "x"}),
            "bad_mcp",
        ),
        (
            Method::PUT,
            "/api/mcps/a",
            json!({"name": "b", "command": "x"}),
            "bad_mcp",
        ),
        (
            Method::PUT,
            "/api/mcps/zz",
            json!({"command": "x"}),
            "not_found",
        ),
        (Method::DELETE, "/api/mcps/zz", json!({}), "not_found"),
    ] {
        let answer = bench.send(method, path, body.clone()).await;
        assert_eq!(answer.code(), code, "{body}");
    }
    let text = bench.rig.call(&bench.owner, post("/api/mcps", "x")).await;
    assert_eq!(text.code(), "bad_mcp");
    for number in 3..32 {
        let body = json!({"name": format!("n{number}"), "command": "true", "enabled": false});
        let answer = bench.send(Method::POST, "/api/mcps", body).await;
        assert_eq!(answer.status, 201);
    }
    let body = json!({"name": "more", "command": "true", "enabled": false});
    let answer = bench.send(Method::POST, "/api/mcps", body).await;
    assert_eq!(answer.code(), "too_many");
}

#[tokio::test]
async fn every_change_is_told_to_the_owners_followers() {
    let bench = Bench::start().await;
    let feed = bench.rig.state.feeds.of(bench.owner.user());
    let body = json!({"name": "s", "command": "true", "enabled": false});
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.send(Method::DELETE, "/api/mcps/s", json!({})).await;
    let (events, _) = feed.after(0);
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.resource, event.action, event.id.as_str()))
        .collect();
    assert_eq!(seen.first(), Some(&("mcp", "created", "s")));
    assert!(seen.contains(&("mcp", "deleted", "s")), "{seen:?}");
}

#[tokio::test]
async fn servers_come_back_with_the_agent() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    let flag = format!("note={}", note.display());
    bench.add(&[&flag]).await;
    bench.ready().await;
    let first = noted(&note);
    let Bench { rig, owner, notes } = bench;
    let rig = rig
        .restart_with(|settings| settings.mcp = bench::pace())
        .await;
    bench::dead(&first).await;
    let bench = Bench { rig, owner, notes };
    bench.ready().await;
    let server = bench.show("s").await;
    assert_eq!(
        (&server["policy"], &server["enabled"]),
        (&json!("allow"), &json!(true))
    );
    assert_eq!(noted(&note).len(), 2);
    assert_eq!(bench.text("echo", json!({})).await, "{}");
    // It is greeted as it answered last: nothing was tried first.
    let greetings = bench.logs().await;
    assert!(
        !greetings
            .iter()
            .any(|line| line.contains("server/discover")),
        "{greetings:?}"
    );
}
