//! Arrows between crates point down only, and rooms of one floor never import each other.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Floor of every crate of the workspace. A crate that is not here is a crate without a place.
const FLOORS: &[(&str, u32)] = &[
    ("homing-certs", 0),
    ("homing-protocol", 1),
    ("homing-transport", 2),
    ("homing-agent", 3),
    ("homing-coordinator", 3),
    ("homing-loopback-proxy", 3),
    ("homing", 4),
    ("homing-bench", 5),
];

/// Crates that pull in a runtime, sockets or files; the two lowest floors may not.
const NOT_BELOW_TRANSPORT: &[&str] = &[
    "tokio",
    "iroh",
    "hyper",
    "axum",
    "rusqlite",
    "rustix",
    "getrandom",
];

fn workspace() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Names of the dependencies that a crate ships with; those of its tests do not count.
fn shipped(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().unwrap();
    let shipped = dependencies
        .iter()
        .filter(|dependency| dependency["kind"] != "dev");
    shipped
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn crates_depend_only_on_crates_of_lower_floors() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    for package in workspace() {
        let name = package["name"].as_str().unwrap();
        let floor = *floors
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no floor"));
        for dependency in shipped(&package) {
            if let Some(below) = floors.get(dependency.as_str()) {
                assert!(
                    *below < floor,
                    "{name} (floor {floor}) imports {dependency} (floor {below})"
                );
            }
        }
    }
}

#[test]
fn the_two_lowest_floors_know_no_runtime_no_socket_and_no_file() {
    for package in workspace() {
        let name = package["name"].as_str().unwrap();
        if !matches!(name, "homing-certs" | "homing-protocol") {
            continue;
        }
        for dependency in shipped(&package) {
            assert!(
                !NOT_BELOW_TRANSPORT.contains(&dependency.as_str()),
                "{name} imports {dependency}"
            );
        }
    }
}
