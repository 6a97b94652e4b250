//! Servers that other people have written.

use std::process::Stdio;

use homing_agent::tools::ToolError;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::bench::{Bench, dead};
use super::npm::{installed, node, script};
use crate::rig::LIMIT;

#[tokio::test]
async fn the_everything_server_is_listed_called_and_ended() {
    let npm = installed().await;
    let bench = Bench::start().await;
    let body = json!({
        "name": "s", "policy": "allow",
        "command": [node(&npm), script(&npm, "server-everything/dist/index.js"), "stdio"],
    });
    bench.send(Method::POST, "/api/mcps", body).await;
    let server = bench.ready().await;
    assert!(server["status"]["tools"].as_array().unwrap().len() >= 8);
    let echo = bench.text("echo", json!({"message": "hello"})).await;
    assert!(echo.contains("hello"), "{echo}");
    let sum = bench.text("get-sum", json!({"a": 2, "b": 3})).await;
    assert!(sum.contains('5'), "{sum}");
    let image = bench.text("get-tiny-image", json!({})).await;
    assert!(image.contains("[image, image/png, "), "{image}");
    let structured = json!({"location": "New York"});
    let weather = bench.text("get-structured-content", structured).await;
    assert!(weather.contains("temperature"), "{weather}");
    let wrong = bench.error("get-sum", json!({"a": "x"})).await;
    assert!(!wrong.is_empty());
    bench.send(Method::DELETE, "/api/mcps/s", json!({})).await;
    assert!(bench.offered().is_empty());
}

#[tokio::test]
async fn the_filesystem_server_reads_what_it_may_and_refuses_the_rest() {
    let npm = installed().await;
    let bench = Bench::start().await;
    let open = bench.note("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::write(open.join("a.txt"), "the text").unwrap();
    std::fs::write(bench.note("closed.txt"), "another").unwrap();
    let index = script(&npm, "server-filesystem/dist/index.js");
    let body = json!({
        "name": "s", "command": [node(&npm), index, open], "tools": {"read_text_file": "allow"},
    });
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let read = |path| bench.call("read_text_file", json!({"path": path}));
    let text = read(open.join("a.txt")).await.result.unwrap();
    assert!(text.as_str().unwrap().contains("the text"), "{text}");
    let refused = read(bench.note("closed.txt")).await.result.unwrap_err();
    assert!(refused.contains("denied"), "{refused}");
    let write = super::call(
        "write_file",
        json!({"path": open.join("b"), "content": "x"}),
    );
    let origin = super::bench::origin(bench.speaker());
    let verdict = bench.rig.state.tools.permit(&origin, &write).await;
    assert_eq!(verdict, Err(ToolError::NeedsApproval));
}

#[tokio::test]
async fn a_wrapper_like_npx_leaves_nothing_behind() {
    let npm = installed().await;
    let bench = Bench::start().await;
    let body = json!({
        "name": "s", "policy": "allow", "cwd": npm,
        "command": ["npx", "--no-install", "mcp-server-everything", "stdio"],
    });
    bench.send(Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let family = descendants(std::process::id());
    assert!(family.len() >= 2, "npx and what it has started: {family:?}");
    bench
        .send(Method::POST, "/api/mcps/s/disable", json!({}))
        .await;
    dead(&family).await;
}

#[tokio::test]
async fn the_everything_server_is_reached_over_http_and_reached_again_when_it_comes_back() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let npm = installed().await;
    let port = free_port();
    let (mut program, bench) = (everything(&npm, port).await, Bench::start().await);
    let url = format!("http://127.0.0.1:{port}/mcp");
    let body = json!({"name": "s", "url": url, "policy": "allow"});
    bench.send(Method::POST, "/api/mcps", body).await;
    let server = bench.ready().await;
    assert_eq!(server["url"], Value::String(url));
    let echo = bench.text("echo", json!({"message": "hello"})).await;
    assert!(echo.contains("hello"), "{echo}");

    program.kill().await.unwrap();
    let error = bench.error("echo", json!({"message": "hello"})).await;
    assert!(error.contains("gone"), "{error}");
    bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    let _again = everything(&npm, port).await;
    bench
        .send(Method::POST, "/api/mcps/s/enable", json!({}))
        .await;
    bench.ready().await;
    let echo = bench.text("echo", json!({"message": "again"})).await;
    assert!(echo.contains("again"), "{echo}");
}

/// The server on a port, when it listens.
async fn everything(npm: &std::path::Path, port: u16) -> tokio::process::Child {
    let mut program = tokio::process::Command::new(node(npm))
        .args([
            script(npm, "server-everything/dist/index.js"),
            "streamableHttp".to_owned(),
        ])
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("listening") {
                return;
            }
        }
        panic!("the server ended");
    };
    tokio::time::timeout(LIMIT, listening).await.unwrap();
    // It must not stop at a full pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    program
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Ok(pid) = entry.unwrap().file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(of) {
            found.push(pid);
            found.extend(descendants(pid));
        }
    }
    found
}
