//! `homing mcp` against a real agent and a real program.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::kit::{Dir, LIMIT};

const KEY: &str = "sk-never-to-be-seen-1";

fn script() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let script = root.join("agent/tests/it/mcp/server.py");
    script.display().to_string()
}

/// A folder for notes that confined programs may write to: not in the data directory.
fn note() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("pids");
    (folder, note)
}

/// Asks until it is so.
fn until(ask: impl Fn() -> Value, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "{answer:#}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

#[test]
fn a_server_is_added_shown_switched_and_removed_and_its_secret_is_nowhere() {
    let host = Dir::new();
    let up = host.up();
    let script = script();
    let add = ["mcp", "add", "s", "--env-file", "-", "--policy", "allow"];
    let program = ["--", "python3", &script];
    let add: Vec<&str> = add.into_iter().chain(program).collect();
    let added = host.run_with_stdin(&add, &format!("API_KEY={KEY}\n")).ok();
    assert_eq!(added["env"]["API_KEY"], "****");
    host.run_with_stdin(&add, "A=1\n").refused(1, "name_taken");
    let show = || host.run(["mcp", "show", "s"]).ok();
    let shown = until(show, |server| server["status"]["state"] == "ready");
    assert_eq!(shown["status"]["title"], "scripted 1");
    assert_eq!(host.run(["mcp"]).ok()["mcps"][0]["name"], "s");
    let logs = host.run(["mcp", "logs", "s", "--lines", "5"]).ok();
    assert!(!logs["lines"].as_array().unwrap().is_empty());
    let disabled = host.run(["mcp", "disable", "s"]).ok();
    assert_eq!(disabled["enabled"], false);
    host.run(["mcp", "enable", "s"]).ok();
    until(show, |server| server["status"]["state"] == "ready");
    for text in [shown.to_string(), logs.to_string(), up.log()] {
        assert!(!text.contains(KEY), "{text}");
    }
    host.run(["mcp", "remove", "s"]).ok();
    host.run(["mcp", "show", "s"]).refused(1, "not_found");
    up.stop();
}

#[test]
fn servers_come_back_with_the_agent_and_go_with_it_however_it_goes() {
    let host = Dir::new();
    let up = host.up();
    let (_folder, note) = note();
    let (script, flag) = (script(), format!("note={}", note.display()));
    host.run(["mcp", "add", "s", "--", "python3", &script, &flag])
        .ok();
    let show = || host.run(["mcp", "show", "s"]).ok();
    let ready = |server: &Value| server["status"]["state"] == "ready";
    until(show, ready);
    up.kill();
    let first = std::fs::read_to_string(&note).unwrap();
    let ended = |pid: &str| until(|| Value::Bool(lives(pid)), |lives| *lives == false);
    ended(first.trim());
    let up = host.up();
    until(show, ready);
    up.stop();
    let both = std::fs::read_to_string(&note).unwrap();
    assert_eq!(both.lines().count(), 2);
    assert!(!lives(both.lines().last().unwrap()));
}
