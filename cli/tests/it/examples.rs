//! The programs in `examples/` do what they say.

use std::path::PathBuf;
use std::process::Command;

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
