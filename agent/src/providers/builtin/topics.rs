//! Which words name which topic, and which tools a topic needs.

use serde_json::{Value, json};

/// A question that the assistant knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Status,
    Cpu,
    Memory,
    Swap,
    Disk,
    Load,
    Uptime,
    Network,
    Processes,
    Sensors,
    Containers,
    Services,
    Logs,
    Time,
    WhoAmI,
    Devices,
    Help,
}

/// Processes that are named.
const PROCESSES: usize = 5;
/// Lines of the journal that are read out.
const LINES: usize = 10;

/// Words that name a topic; the first topic found wins, so that "status of the disk" is the disk.
const TOPICS: &[(Topic, &[&str])] = &[
    (
        Topic::Containers,
        &["container", "containers", "docker", "podman"],
    ),
    (
        Topic::Logs,
        &["log", "logs", "journal", "errors", "warnings"],
    ),
    (
        Topic::Services,
        &[
            "service", "services", "systemd", "unit", "units", "crash", "crashed", "failed",
        ],
    ),
    (
        Topic::Processes,
        &[
            "process",
            "processes",
            "programs",
            "top",
            "busiest",
            "what is running",
        ],
    ),
    (
        Topic::Sensors,
        &[
            "sensor",
            "sensors",
            "temperature",
            "temperatures",
            "hot",
            "heat",
        ],
    ),
    (
        Topic::Network,
        &[
            "network",
            "traffic",
            "bandwidth",
            "interface",
            "interfaces",
            "ip address",
            "my ip",
        ],
    ),
    (
        Topic::Devices,
        &[
            "device",
            "devices",
            "phone",
            "phones",
            "connected",
            "online",
        ],
    ),
    (
        Topic::WhoAmI,
        &["whoami", "who am i", "my name", "my rights", "my scopes"],
    ),
    (Topic::Cpu, &["cpu", "processor", "cores"]),
    (Topic::Swap, &["swap"]),
    (Topic::Memory, &["memory", "ram"]),
    (Topic::Disk, &["disk", "disks", "storage", "space"]),
    (Topic::Load, &["load"]),
    (Topic::Uptime, &["uptime", "how long"]),
    (
        Topic::Time,
        &["time", "what time", "date", "today", "day is it"],
    ),
    (
        Topic::Help,
        &[
            "help",
            "what can you do",
            "model",
            "models",
            "provider",
            "providers",
        ],
    ),
    (
        Topic::Status,
        &[
            "status",
            "how are you",
            "health",
            "state",
            "is everything ok",
            "everything running",
        ],
    ),
];

pub(super) fn topic_of(question: &str) -> Option<Topic> {
    let plain: String = question
        .chars()
        .map(|c| {
            if c.is_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                ' '
            }
        })
        .collect();
    let plain = format!(
        " {} ",
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    TOPICS
        .iter()
        .find(|(_, names)| {
            names
                .iter()
                .any(|name| plain.contains(&format!(" {name} ")))
        })
        .map(|(topic, _)| *topic)
}

/// Names of tools with their arguments.
pub(super) fn tools_of(topic: Topic) -> Vec<(&'static str, Value)> {
    match topic {
        Topic::Status => vec![("system", json!({})), ("devices", json!({}))],
        Topic::Cpu | Topic::Memory | Topic::Swap | Topic::Disk | Topic::Load | Topic::Uptime => {
            vec![("system", json!({}))]
        }
        Topic::Network => vec![("network", json!({}))],
        Topic::Processes => vec![("processes", json!({"limit": PROCESSES}))],
        Topic::Sensors => vec![("sensors", json!({}))],
        Topic::Containers => vec![("containers", json!({}))],
        Topic::Services => vec![("services", json!({}))],
        Topic::Logs => vec![("journal", json!({"lines": LINES, "priority": "warning"}))],
        Topic::Time => vec![("time", json!({}))],
        Topic::WhoAmI => vec![("whoami", json!({}))],
        Topic::Devices => vec![("devices", json!({}))],
        Topic::Help => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_found_in_a_sentence_about_it() {
        for (question, topic) in [
            ("status", Topic::Status),
            ("How are you?", Topic::Status),
            ("what's the CPU doing", Topic::Cpu),
            ("How much RAM is free?", Topic::Memory),
            ("disk space, please", Topic::Disk),
            ("load?", Topic::Load),
            ("uptime", Topic::Uptime),
            ("Who am I?", Topic::WhoAmI),
            ("which devices are there", Topic::Devices),
            ("/help", Topic::Help),
            ("What containers are running?", Topic::Containers),
            ("Did any service crash recently?", Topic::Services),
            ("show me the logs", Topic::Logs),
            ("network traffic", Topic::Network),
            ("which processes use most memory", Topic::Processes),
            ("how hot is it", Topic::Sensors),
            ("what time is it?", Topic::Time),
            ("swap", Topic::Swap),
            ("Is everything running correctly?", Topic::Status),
        ] {
            assert_eq!(topic_of(question), Some(topic), "{question}");
        }
        assert_eq!(topic_of("download my payload"), None);
        assert_eq!(topic_of(""), None);
    }
}
