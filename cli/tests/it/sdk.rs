//! Programs that others wrote, as they are: OpenAI's libraries, and a tool that holds the interface
//! against its document. `.ci/sdk` installs them below the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::Dir;

/// Cargo's directory for files of tests is beside it.
fn installed(what: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/sdk"))
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(done.unwrap().success(), ".ci/sdk could not install them");
    target.join("sdk").join(what)
}

fn source(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sdk")).join(name)
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// What the library's program got from an agent of its own.
fn ask(program: impl FnOnce(&str) -> Command) -> Value {
    let host = Dir::new();
    let up = host.up();
    let output = program(&up.text("proxy_url")).output().unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output), up.log());
    up.stop();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
}

fn is_what_an_agent_says(got: &Value) {
    assert_eq!(got["models"], serde_json::json!(["homing", "built-in"]));
    assert_eq!(got["model"], "homing");
    assert_eq!(got["finish_reason"], "stop", "{got}");
    assert!(
        got["tokens"].as_u64().is_some_and(|tokens| tokens > 0),
        "{got}"
    );
    assert!(
        got["pieces"].as_u64().is_some_and(|pieces| pieces > 3),
        "{got}"
    );
    // The answer needs the agent's own tools, of which the program sees nothing.
    for answer in ["streamed", "whole", "response_streamed", "response"] {
        let text = got[answer].as_str().unwrap_or_default();
        assert!(
            text.contains("CPU:") && text.contains("Memory:"),
            "{answer}: {got}"
        );
    }
    let events = got["events"].as_array().unwrap();
    assert_eq!(events.first().unwrap(), "response.created");
    assert_eq!(events.last().unwrap(), "response.completed");
    assert_eq!(got["refused"], "tools_not_supported");
    assert_eq!(got["missing"], "model_not_found");
}

#[test]
fn the_python_library_streams_an_answer_for_which_the_agent_used_its_tools() {
    let got = ask(|url| {
        let mut python = Command::new(installed("py/bin/python"));
        python.arg(source("ask.py")).arg(url);
        python
    });
    is_what_an_agent_says(&got);
}

#[test]
fn the_javascript_library_streams_an_answer_for_which_the_agent_used_its_tools() {
    let got = ask(|url| {
        let mut node = Command::new("node");
        node.arg(source("ask.mjs")).arg(url).arg(installed("js"));
        node
    });
    is_what_an_agent_says(&got);
}

/// Never end, take gigabytes, speak something else than HTTP, ask machines outside, or end or change
/// the agent that is tried.
const NOT_TRIED: &str =
    "^/(ws|rpc|api/(events|blob|providers.*|models/available|config.*|restart))$";

#[test]
fn the_interface_is_what_its_document_says() {
    let host = Dir::new();
    host.configure("[limits]\nruns_per_minute = 100000\nchat_per_minute = 100000\n");
    let up = host.up();
    // With all rights of the owner, or most would only be refused.
    let token = std::fs::read_to_string(host.path().join("run/proxy.token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let output = Command::new(installed("py/bin/schemathesis"))
        // It leaves a folder of its own where it runs.
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(["run", "--seed", "1", "--max-examples", "20", "--no-color"])
        .args(["--phases", "coverage,fuzzing", "--header", &bearer])
        .args(["--exclude-path-regex", NOT_TRIED])
        // What is valid can still be about something that is not there.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--url", up.text("proxy_url").trim_end_matches('/')])
        .arg(up.url("/api/openapi.json"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output), up.log());
    up.stop();
}
