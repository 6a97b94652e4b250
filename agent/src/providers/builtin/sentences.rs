//! Results of tools in words. What a machine says of itself is in `machine`, what runs on it in
//! `programs`.

mod machine;
mod programs;

use serde_json::Value;

use machine::{cpu, disk, host, load, memory, network, processes, sensors, swap, uptime};
use programs::{containers, logs, services};

use super::topics::Topic;
use crate::turn::ToolOutcome;

const HELP: &str = "I am the built-in assistant. I can answer: status, cpu, memory, swap, disk, \
load, uptime, network, processes, sensors, containers, services, logs, time, \"who am I\", devices, \
help.";

const NO_MODEL: &str = "No model is configured, so I understand only a few questions. On the \
agent's machine, homing providers add and homing models add let a model answer in my place.";

/// Entries of a list that are read out; a person asks on for the others.
const MAX_NAMED: usize = 8;

pub(super) fn say(topic: Option<Topic>, outcomes: &[&ToolOutcome]) -> String {
    let result = |name: &str| {
        outcomes
            .iter()
            .find(|outcome| outcome.name == name)
            .and_then(|outcome| outcome.result.as_ref().ok())
    };
    let one = |name: &str, say: fn(&Value) -> String| {
        let said: Vec<String> = result(name).map(say).into_iter().collect();
        said
    };
    let mut sentences = match topic {
        None => vec![NO_MODEL.to_owned(), HELP.to_owned()],
        Some(Topic::Help) => vec![HELP.to_owned(), NO_MODEL.to_owned()],
        Some(Topic::Cpu) => one("system", cpu),
        Some(Topic::Memory) => one("system", memory),
        Some(Topic::Swap) => one("system", swap),
        Some(Topic::Disk) => one("system", disk),
        Some(Topic::Load) => one("system", load),
        Some(Topic::Uptime) => one("system", uptime),
        Some(Topic::Network) => one("network", network),
        Some(Topic::Processes) => one("processes", processes),
        Some(Topic::Sensors) => one("sensors", sensors),
        Some(Topic::Containers) => one("containers", containers),
        Some(Topic::Services) => one("services", services),
        Some(Topic::Logs) => one("journal", logs),
        Some(Topic::Time) => one("time", time),
        Some(Topic::WhoAmI) => one("whoami", who),
        Some(Topic::Devices) => one("devices", devices),
        Some(Topic::Status) => {
            let parts = [host, cpu, memory, disk, uptime];
            let system = result("system");
            let mut all: Vec<String> = system
                .map(|system| parts.iter().map(|say| say(system)).collect())
                .unwrap_or_default();
            all.extend(result("devices").map(devices));
            all
        }
    };
    for outcome in outcomes.iter().rev() {
        if let Err(reason) = &outcome.result {
            sentences.push(format!("I could not ask {}: {reason}.", outcome.name));
        }
    }
    sentences.join(" ")
}

fn who(whoami: &Value) -> String {
    let text = |name: &str| whoami[name].as_str().unwrap_or("?").to_owned();
    let scopes = whoami["scopes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let scopes: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
    format!(
        "You are {} on the device {}. Role: {}. Scopes: {}. Path: {}.",
        text("user"),
        text("node_id"),
        text("role"),
        scopes.join(", "),
        text("path")
    )
}

fn devices(devices: &Value) -> String {
    let list = devices["devices"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named: Vec<String> = list
        .iter()
        .map(|device| {
            let id = device["node_id"].as_str().unwrap_or("?");
            let state = match (device["revoked"].as_bool(), device["online"].as_bool()) {
                (Some(true), _) => "revoked",
                (_, Some(true)) => "online",
                _ => "offline",
            };
            format!(
                "{} ({}, {state})",
                id.get(..10).unwrap_or(id),
                device["role"].as_str().unwrap_or("?")
            )
        })
        .collect();
    match named.len() {
        0 => "Devices: none has been here yet.".to_owned(),
        count => format!("Devices: {count}: {}.", named.join(", ")),
    }
}

fn time(time: &Value) -> String {
    format!(
        "It is {}, {} ({}); {} in UTC.",
        text(time, "weekday"),
        text(time, "local"),
        text(time, "zone"),
        text(time, "utc")
    )
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(0.0)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("?").to_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_result_becomes_a_sentence() {
        let interfaces = json!([
            {"name": "eth0", "state": "up", "addresses": ["10.0.0.2/24"],
                "received_per_second": 2_500_000, "sent_per_second": 1_500},
            {"name": "lo", "state": "unknown"},
            {"name": "eth1", "state": "down"},
        ]);
        for (said, expected) in [
            (
                network(&json!({"interfaces": interfaces})),
                "Network: eth0 (10.0.0.2/24) receives 2.5 MB/s and sends 1.5 kB/s.",
            ),
            (
                processes(&json!({"total": 80, "processes": [
                    {"name": "restic", "cpu_percent": 99.6, "memory_bytes": 1_500_000_000},
                ]})),
                "Processes: 80, the busiest are restic (100 % CPU, 1.5 GB).",
            ),
            (
                sensors(&json!({"sensors": [{"label": "cpu", "celsius": 61.4}]})),
                "Sensors: cpu 61 °C.",
            ),
            (
                sensors(&json!({"sensors": []})),
                "Sensors: this machine tells no temperatures.",
            ),
            (
                containers(&json!({"total": 1, "running": 0, "containers": [
                    {"name": "db", "status": "Exited (137)"},
                ]})),
                "Containers: 0 of 1 are running: db (Exited (137)).",
            ),
            (
                services(&json!({"total": 9, "active": 8, "failed": 1, "services": [
                    {"unit": "backup.service", "active": "failed"},
                    {"unit": "cron.service", "active": "active"},
                ]})),
                "Services: 8 of 9 are active, 1 failed: backup.service.",
            ),
            (
                services(&json!({"total": 9, "active": 9, "failed": 0, "services": []})),
                "Services: 9 of 9 are active, none has failed.",
            ),
            (
                logs(&json!({"lines": [{"time": "t", "program": "p", "message": "m"}]})),
                "Logs, warnings and worse:\nt p: m",
            ),
            (
                time(
                    &json!({"weekday": "Friday", "local": "16:00", "zone": "Europe/Berlin",
                    "utc": "15:00"}),
                ),
                "It is Friday, 16:00 (Europe/Berlin); 15:00 in UTC.",
            ),
            (
                swap(&json!({"swap_total": 0})),
                "Swap: this machine has none.",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_long_list_is_cut_and_says_how_many_are_left() {
        let many: Vec<Value> = (0..20)
            .map(|n| json!({"name": format!("c{n}"), "status": "Up"}))
            .collect();
        let said = containers(&json!({"total": 20, "running": 20, "containers": many}));
        assert!(said.ends_with("c7 (Up) and 12 more."), "{said}");
    }
}
