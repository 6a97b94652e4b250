//! The programs in `examples/` do what they say.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::kit::Dir;

fn example(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).join(name)
}

#[test]
fn the_shell_example_shows_health_and_who_this_device_is() {
    let host = Dir::new();
    let up = host.up();
    let output = Command::new("sh")
        .arg(example("whoami.sh"))
        .arg(up.text("proxy_url"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("\"status\":\"ok\"") && text.contains("\"role\":"),
        "{text}"
    );
    up.stop();
}

#[test]
fn the_python_example_stores_a_file_and_reads_it_back() {
    let host = Dir::new();
    let up = host.up();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tea.txt");
    std::fs::write(&file, "green, 70 degrees").unwrap();
    let output = Command::new("python3")
        .arg(example("keep_a_file.py"))
        .arg(up.text("proxy_url"))
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("holds 17 bytes"), "{text}");
    up.stop();
}

#[test]
fn the_hook_example_refuses_rm_and_nothing_else() {
    for (arguments, code) in [
        (json!({"argv": ["rm", "-r", "notes"]}), 2),
        (json!({"argv": ["/bin/rm", "notes"]}), 2),
        (json!({"argv": ["find", ".", "-exec", "rm", "{}", "+"]}), 2),
        (json!({"command": "cd notes;rm -r ."}), 2),
        (json!({"argv": ["ls", "rm.txt"]}), 0),
        (json!({"command": "echo farm"}), 0),
    ] {
        // As an agent tells it: docs/hooks.md.
        let document = json!({
            "version": 1, "on": "before_tool_call", "at_ms": 0, "session": "s", "turn_id": 1,
            "user": "ann", "device": "", "call_id": "c", "tool": "shell", "arguments": arguments
        });
        let mut hook = Command::new(example("refuse_rm.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = hook.stdin.take().unwrap();
        stdin.write_all(document.to_string().as_bytes()).unwrap();
        drop(stdin);
        let output = hook.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}");
        assert!(output.stdout.is_empty());
        assert_eq!(output.stderr.is_empty(), code == 0);
    }
}
