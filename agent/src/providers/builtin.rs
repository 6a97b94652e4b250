//! The assistant that needs no model: it knows a few questions, asks read-only tools and says the
//! answer in words. Same question, same tools, same words: nothing here is random.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};

use super::{ModelEvent, ModelRequest, Provider, ProviderError};
use crate::turn::{Said, Tokens, ToolCall, ToolOutcome};

/// Its name, as a model and as a provider.
pub const BUILTIN: &str = "built-in";

const HELP: &str = "I am the built-in assistant. I can answer: status, cpu, memory, disk, load, \
uptime, \"who am I\", devices, help.";

const NO_MODEL: &str = "No model is configured, so I understand only a few questions. This version \
has no connection to model providers yet; when it has, a provider goes into homing.toml on the \
agent's machine and answers in my place.";

/// The assistant.
#[derive(Debug, Clone)]
pub struct BuiltinAssistant {
    pace: Duration,
}

/// A question that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Status,
    Cpu,
    Memory,
    Disk,
    Load,
    Uptime,
    WhoAmI,
    Devices,
    Help,
}

/// Words that name a topic; the first topic found wins, so that "status of the disk" is the disk.
const TOPICS: &[(Topic, &[&str])] = &[
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
    (Topic::Memory, &["memory", "ram", "swap"]),
    (Topic::Disk, &["disk", "disks", "storage", "space"]),
    (Topic::Load, &["load"]),
    (Topic::Uptime, &["uptime", "how long"]),
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
    (Topic::Status, &["status", "how are you", "health", "state"]),
];

impl BuiltinAssistant {
    /// `pace` is the pause after each word.
    #[must_use]
    pub fn new(pace: Duration) -> Self {
        Self { pace }
    }
}

impl Provider for BuiltinAssistant {
    fn ask(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let events = answer(&request);
        let pace = self.pace;
        stream::iter(events)
            .then(move |event| async move {
                if matches!(event, ModelEvent::Text(_)) && !pace.is_zero() {
                    tokio::time::sleep(pace).await;
                }
                Ok(event)
            })
            .boxed()
    }
}

fn answer(request: &ModelRequest) -> Vec<ModelEvent> {
    let outcomes: Vec<&ToolOutcome> = request
        .said
        .iter()
        .rev()
        .map_while(|said| match said {
            Said::Tool(outcome) => Some(outcome),
            _ => None,
        })
        .collect();
    let question = request.said.iter().rev().find_map(|said| match said {
        Said::User(text) => Some(text.as_str()),
        _ => None,
    });
    let question = question.unwrap_or_default();
    let topic = topic_of(question);
    let mut events = Vec::new();
    let needed = topic.map_or(&[][..], tools_of);
    if outcomes.is_empty() && !needed.is_empty() {
        events.extend(needed.iter().map(|name| {
            ModelEvent::Call(ToolCall {
                id: format!("call-{name}"),
                name: (*name).to_owned(),
                arguments: json!({}),
            })
        }));
    } else {
        let text = say(topic, &outcomes);
        events.extend(words(&text).map(|word| ModelEvent::Text(word.to_owned())));
    }
    let written = events.len() as u64;
    let read = question.split_whitespace().count() as u64;
    events.push(ModelEvent::Finished(Tokens {
        input: read,
        cached: 0,
        output: written,
    }));
    events
}

fn topic_of(question: &str) -> Option<Topic> {
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

fn tools_of(topic: Topic) -> &'static [&'static str] {
    match topic {
        Topic::Status => &["system", "devices"],
        Topic::Cpu | Topic::Memory | Topic::Disk | Topic::Load | Topic::Uptime => &["system"],
        Topic::WhoAmI => &["whoami"],
        Topic::Devices => &["devices"],
        Topic::Help => &[],
    }
}

fn say(topic: Option<Topic>, outcomes: &[&ToolOutcome]) -> String {
    let mut refusals = VecDeque::new();
    let result = |name: &str| {
        outcomes
            .iter()
            .find(|outcome| outcome.name == name)
            .and_then(|outcome| outcome.result.as_ref().ok())
    };
    for outcome in outcomes {
        if let Err(reason) = &outcome.result {
            refusals.push_front(format!("I could not ask {}: {reason}.", outcome.name));
        }
    }
    let system = result("system");
    let mut sentences = match topic {
        None => vec![NO_MODEL.to_owned(), HELP.to_owned()],
        Some(Topic::Help) => vec![HELP.to_owned(), NO_MODEL.to_owned()],
        Some(Topic::Cpu) => system.map(cpu).into_iter().collect(),
        Some(Topic::Memory) => system.map(memory).into_iter().collect(),
        Some(Topic::Disk) => system.map(disk).into_iter().collect(),
        Some(Topic::Load) => system.map(load).into_iter().collect(),
        Some(Topic::Uptime) => system.map(uptime).into_iter().collect(),
        Some(Topic::WhoAmI) => result("whoami").map(who).into_iter().collect(),
        Some(Topic::Devices) => result("devices").map(devices).into_iter().collect(),
        Some(Topic::Status) => {
            let mut all: Vec<String> = system
                .map(|system| {
                    vec![
                        host(system),
                        cpu(system),
                        memory(system),
                        disk(system),
                        uptime(system),
                    ]
                })
                .unwrap_or_default();
            all.extend(result("devices").map(devices));
            all
        }
    };
    sentences.extend(refusals);
    sentences.join(" ")
}

/// Words with the space that follows them, so that joined they are the text again.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(0.0)
}

fn gigabytes(bytes: f64) -> f64 {
    bytes / 1e9
}

fn host(system: &Value) -> String {
    format!(
        "This is {}.",
        system["host"].as_str().unwrap_or("an unnamed machine")
    )
}

fn cpu(system: &Value) -> String {
    format!(
        "CPU: {:.0} % of {} cores.",
        number(system, "cpu_percent"),
        number(system, "cores")
    )
}

fn memory(system: &Value) -> String {
    let (used, total) = (
        number(system, "memory_used"),
        number(system, "memory_total"),
    );
    format!(
        "Memory: {:.1} of {:.1} GB in use.",
        gigabytes(used),
        gigabytes(total)
    )
}

fn disk(system: &Value) -> String {
    let disks = system["disks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if disks.is_empty() {
        return "Disk: none is visible from here.".to_owned();
    }
    let list: Vec<String> = disks
        .iter()
        .map(|disk| {
            let mount = disk["mount"].as_str().unwrap_or("?");
            let (free, total) = (number(disk, "available"), number(disk, "total"));
            format!(
                "{mount} has {:.1} of {:.1} GB free",
                gigabytes(free),
                gigabytes(total)
            )
        })
        .collect();
    format!("Disk: {}.", list.join(", "))
}

fn load(system: &Value) -> String {
    let load = |at: usize| system["load"][at].as_f64().unwrap_or(0.0);
    format!(
        "Load: {:.2}, {:.2}, {:.2} over 1, 5 and 15 minutes.",
        load(0),
        load(1),
        load(2)
    )
}

fn uptime(system: &Value) -> String {
    let seconds = system["uptime_seconds"].as_u64().unwrap_or(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("Uptime: {days} days, {hours} hours, {minutes} minutes.")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Vec<ModelEvent> {
        answer(&ModelRequest {
            said: vec![Said::User(text.into())],
            tools: vec![],
            ..ModelRequest::default()
        })
    }

    fn text_of(events: &[ModelEvent]) -> String {
        let text = |event: &ModelEvent| match event {
            ModelEvent::Text(text) => text.clone(),
            _ => String::new(),
        };
        events.iter().map(text).collect()
    }

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
        ] {
            assert_eq!(topic_of(question), Some(topic), "{question}");
        }
        assert_eq!(topic_of("download my payload"), None);
        assert_eq!(topic_of(""), None);
    }

    #[test]
    fn an_unknown_question_is_told_that_no_model_is_configured_and_what_works() {
        let text = text_of(&ask("write a poem"));
        assert!(text.contains("No model is configured"), "{text}");
        assert!(text.contains("status, cpu, memory"), "{text}");
    }

    #[test]
    fn a_question_about_the_machine_asks_a_tool_first_and_then_says_its_numbers() {
        let events = ask("how much memory");
        assert!(matches!(&events[0], ModelEvent::Call(call) if call.name == "system"));
        let result = Ok(json!({"memory_used": 2e9, "memory_total": 8e9}));
        let outcome = ToolOutcome {
            id: "call-system".into(),
            name: "system".into(),
            result,
        };
        let said = vec![Said::User("how much memory".into()), Said::Tool(outcome)];
        let text = text_of(&answer(&ModelRequest {
            said,
            tools: vec![],
            ..ModelRequest::default()
        }));
        assert_eq!(text, "Memory: 2.0 of 8.0 GB in use.");
    }

    #[test]
    fn a_tool_that_was_refused_is_named_with_the_reason() {
        let outcome = ToolOutcome {
            id: "call-system".into(),
            name: "system".into(),
            result: Err("the scope status.read is missing".into()),
        };
        let said = vec![Said::User("cpu".into()), Said::Tool(outcome)];
        let text = text_of(&answer(&ModelRequest {
            said,
            tools: vec![],
            ..ModelRequest::default()
        }));
        assert_eq!(
            text,
            "I could not ask system: the scope status.read is missing."
        );
    }
}
