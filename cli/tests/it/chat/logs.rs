//! `homing logs`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::homing;
use crate::kit::{Dir, signal};

#[test]
fn the_newest_lines_are_shown_and_followed() {
    let host = Dir::new();
    let up = host.up();
    host.run(["chat", "memory"]);
    let logs = host.run(["logs", "-n", "3"]).ok();
    let lines = logs["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().any(|line| line["entry"]["kind"] == "turn"),
        "{lines:?}"
    );
    let text = homing(&host, ["logs"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.lines().any(|line| line.contains(" tool_call ")),
        "{text}"
    );

    let mut following = host
        .command(["logs", "-f", "-n", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next()["entry"]["seq"].as_u64().unwrap();
    host.run(["chat", "memory"]);
    let mut last = first;
    loop {
        let line = next()["entry"].take();
        let seq = line["seq"].as_u64().unwrap();
        assert_eq!(seq, last + 1, "{line}");
        last = seq;
        if line["kind"] == "turn" {
            break;
        }
    }
    signal(following.id().cast_signed(), "INT");
    assert!(following.wait().unwrap().success());
    up.stop();
}
