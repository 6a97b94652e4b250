//! `homing chat`, `sessions`, `logs` and `usage` against the built-in assistant.

mod logs;
mod model;
mod sessions;
mod terminal;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use self::model::FakeModel;
use crate::kit::{Dir, curl};

/// The binary as a person calls it, without `--json`.
pub(crate) fn homing<S: AsRef<OsStr>>(dir: &Dir, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
    command
        .arg("--dir")
        .arg(dir.path())
        .args(args)
        .env_remove("HOMING_DIR")
        .env_remove("HOMING_LOG")
        .env_remove("NO_COLOR");
    command
}

/// Runs it with this stdin; exit code, stdout, stderr.
fn said<S: AsRef<OsStr>>(
    dir: &Dir,
    args: impl IntoIterator<Item = S>,
    stdin: &str,
) -> (Option<i32>, String, String) {
    let mut child = homing(dir, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn frames(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

#[test]
fn one_message_gets_its_answer_as_plain_text_by_argument_and_by_pipe() {
    let host = Dir::new();
    let up = host.up();
    let (exit, stdout, stderr) = said(&host, ["chat", "who am I?"], "");
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(stdout.contains("You are"), "{stdout}");
    assert!(
        stdout.ends_with('\n') && !stdout.ends_with("\n\n"),
        "{stdout:?}"
    );
    assert!(!stdout.contains('\u{1b}'), "{stdout:?}");
    // What the agent does meanwhile is beside the answer, not in it.
    assert!(stderr.contains("whoami"), "{stderr}");
    let (exit, piped, _) = said(&host, ["chat"], "who am I?\n");
    assert_eq!((exit, piped), (Some(0), stdout));
    // Both went into the session that was last used.
    let sessions = curl([up.url("/api/sessions")]).ok();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(sessions["sessions"][0]["messages"], 4);
    let (exit, _, stderr) = said(&host, ["chat"], " \n");
    assert_eq!(exit, Some(2), "{stderr}");
    up.stop();
}

#[test]
fn a_script_gets_every_frame_of_its_own_turn_as_a_line() {
    let host = Dir::new();
    let up = host.up();
    let said = host.run(["chat", "--session", "scripted", "memory"]);
    assert!(said.status.success(), "{said:?}");
    let frames = frames(&said.stdout);
    let kinds: Vec<&str> = frames
        .iter()
        .filter_map(|frame| frame["type"].as_str())
        .collect();
    assert_eq!(kinds[0], "message", "{kinds:?}");
    assert_eq!(*kinds.last().unwrap(), "turn_complete", "{kinds:?}");
    for kind in ["tool_call", "tool_result", "delta", "response"] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    let numbers: Vec<u64> = frames
        .iter()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect();
    let expected: Vec<u64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
    assert!(frames.iter().all(|frame| frame["session_id"] == "scripted"));
    // The next one goes on there.
    let again = host.run(["chat", "memory"]);
    assert!(
        again
            .stdout
            .lines()
            .next()
            .unwrap()
            .contains("\"scripted\"")
    );
    up.stop();
}

#[test]
fn the_exit_code_says_why_there_is_no_answer() {
    let host = Dir::new();
    let up = host.up();
    let device = host.invite_and_join("laptop");
    // A device that joined needs no proxy for it.
    let answer = device.run(["chat", "who am I?"]);
    assert!(answer.status.success(), "{answer:?}");

    host.run(["revoke", "laptop"]).ok();
    device.run(["chat", "still there?"]).refused(3, "revoked");
    let narrow = host
        .run(["invite", "--name", "narrow", "--scope", "status.read"])
        .ok();
    let eye = Dir::new();
    eye.run_with_stdin(["join", "-"], narrow["ticket"].as_str().unwrap())
        .ok();
    eye.run(["chat", "hello"]).refused(3, "forbidden");
    let phone = host.invite_and_join("phone");
    up.stop();
    let said = phone.run(["chat", "hello"]);
    assert_eq!(said.status.code(), Some(4), "{said:?}");
}

#[test]
fn an_answer_goes_on_over_a_new_connection_without_a_gap_and_without_a_double() {
    let host = Dir::new();
    let model = FakeModel::start(&["one ", "two ", "three"]);
    let up = host.up();
    model.configure(&host);
    let phone = host.invite_and_join("phone");
    let proxy = phone.proxy();
    let mut child = phone
        .command(["chat", "--session", "s", "count"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen: Vec<Value> = Vec::new();
    while seen.last().is_none_or(|frame| frame["type"] != "delta") {
        let line = lines.next().expect("a delta").unwrap();
        seen.push(serde_json::from_str(&line).unwrap());
    }
    // The line breaks in the middle of the answer, which goes on meanwhile.
    proxy.kill();
    model.go_on();
    let proxy = phone.proxy();
    seen.extend(lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()));
    assert!(child.wait().unwrap().success(), "{seen:?}");
    let numbers: Vec<u64> = seen
        .iter()
        .filter_map(|frame| frame["seq"].as_u64())
        .collect();
    let expected: Vec<u64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "{seen:?}");
    let deltas = seen.iter().filter(|frame| frame["type"] == "delta");
    let text: String = deltas.filter_map(|frame| frame["text"].as_str()).collect();
    assert_eq!(text, "one two three");
    assert_eq!(seen.last().unwrap()["reason"], "done");
    proxy.stop();
    up.stop();
}

#[test]
fn nothing_in_an_answer_reaches_the_terminal_but_text() {
    let hostile = [
        "first \u{1b}]52;c;cm0gLXJm",
        "\u{7}second\u{1b}]0;owned\u{1b}\\\u{9b}2J\u{1b}[1;1H\u{1b}[?1049h",
        "\rthird \u{202e}gpj.exe\u{9d}52;c;x\u{9c}\u{8}\u{85} last",
    ];
    let host = Dir::new();
    let model = FakeModel::start(&hostile);
    model.go_on();
    let up = host.up();
    model.configure(&host);
    let (exit, stdout, stderr) = said(&host, ["chat", "hello"], "");
    assert_eq!(exit, Some(0), "{stderr}");
    assert_eq!(stdout, "first secondthird <U+202E>gpj.exe last\n");
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    // For a program it is the same text, escaped.
    let said = host.run(["chat", "hello"]);
    assert!(
        !said
            .stdout
            .chars()
            .any(|c| c.is_control() && c != '\n' || c == '\u{202e}')
    );
    let response = frames(&said.stdout)
        .into_iter()
        .find(|frame| frame["type"] == "response");
    assert_eq!(response.unwrap()["text"], hostile.concat());
    let shown = homing(&host, ["sessions", "show", "chat"])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("secondthird <U+202E>gpj.exe last"),
        "{shown:?}"
    );
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{9b}'),
        "{shown:?}"
    );
    up.stop();
}

#[test]
fn a_file_goes_with_the_message() {
    let host = Dir::new();
    let up = host.up();
    let file = host.path().join("Ünï notes.txt");
    std::fs::write(&file, "contents of the notes").unwrap();
    let said = host.run(["chat", "status", "--attach", file.to_str().unwrap()]);
    assert!(said.status.success(), "{said:?}");
    let message = frames(&said.stdout).remove(0);
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["filename"], "Ünï notes.txt");
    assert_eq!(attachment["type"], "file");
    let stored = curl([up.url(attachment["path"].as_str().unwrap())]);
    assert_eq!(stored.body, b"contents of the notes");
    // The same name again replaces nothing.
    let again = host.run(["chat", "status", "--attach", file.to_str().unwrap()]);
    assert_ne!(
        frames(&again.stdout)[0]["attachments"][0]["path"],
        attachment["path"]
    );
    host.run(["chat", "x", "--attach", "/nowhere"])
        .refused(1, "not_read");
    assert_eq!(json!(stored.status), 200);
    up.stop();
}

#[test]
fn a_file_that_the_agent_gives_is_named_and_can_be_fetched() {
    let host = Dir::new();
    let up = host.up();
    let file = host.path().join("agent/workspace/report.txt");
    std::fs::write(&file, "all is well").unwrap();
    let marker = format!("{}] and no more.", file.display());
    let model = FakeModel::start(&["Here it is: [FI", "LE:", &marker]);
    model.configure(&host);
    model.go_on();
    let (code, stdout, stderr) = said(&host, ["chat", "give me the report"], "");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "Here it is:  and no more.\n");
    let line = "file: report.txt at /api/files/report.txt";
    assert!(stderr.contains(line), "{stderr}");
    assert_eq!(curl([up.url("/api/files/report.txt")]).body, b"all is well");
    // The model named the path in an answer, not in what people were shown.
    let shown = host.run(["sessions", "show", "chat"]);
    assert!(!shown.stdout.contains("[FILE:"), "{}", shown.stdout);
    up.stop();
}
