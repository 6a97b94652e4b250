//! `homing status`: one screen of what runs.

use homing_protocol::local::{LocalCommand, LocalReply};
use serde_json::{Value, json};

use super::network;
use crate::data_dir::DataDir;
use crate::device::NetworkFile;
use crate::output::Output;

pub(super) async fn run(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let document = document(dir).await?;
    output.result(&document, || text(&document, output));
    Ok(())
}

/// What runs, or what is known while nothing runs.
pub(super) async fn document(dir: &DataDir) -> anyhow::Result<Value> {
    match network::ask_running(dir, LocalCommand::Status).await? {
        Some(LocalReply::Status(document)) => {
            let mut document = *document;
            document["running"] = true.into();
            Ok(document)
        }
        Some(_) => Err(network::unexpected().into()),
        None => {
            let network = NetworkFile::load(dir)?;
            Ok(json!({
                "running": false,
                "device": network.map(|network| json!({ "device": network.device })),
                "host": (dir.has_coordinator() || dir.has_agent()).then(|| json!({})),
            }))
        }
    }
}

fn text(document: &Value, output: Output) -> String {
    if document["running"] != true {
        let what = match (&document["host"], &document["device"]) {
            (Value::Null, Value::Null) => {
                "Nothing is set up here. homing up makes a network, homing join enters one."
            }
            (Value::Null, _) => "Nothing runs here. homing proxy serves this device.",
            (_, Value::Null) => {
                "Nothing runs here. homing up, homing coordinator run or homing agent run starts it."
            }
            _ => "Nothing runs here. homing up starts it.",
        };
        return what.to_owned();
    }
    let mut lines = vec![format!(
        "{} (pid {})",
        output.bold("homing runs"),
        document["pid"]
    )];
    let device = &document["device"];
    if !device.is_null() {
        lines.extend([
            line(
                "device",
                &[&device["device"], &device["role"], &device["user"]],
            ),
            line(
                "certificate",
                &[&json!("until"), &device["certificate_expires_at"]],
            ),
            line(
                "agent",
                &[
                    &device["agent"],
                    &device["link"],
                    &device["path"],
                    &device["remote_addr"],
                ],
            ),
            line("proxy", &[&device["proxy_url"]]),
        ]);
    }
    let host = &document["host"];
    if !host["agent_node_id"].is_null() {
        lines.push(line("NodeId", &[&host["agent_node_id"], &host["agent"]]));
        lines.push(format!(
            "  {:<12} {} devices connected",
            "here", host["agent_connections"]
        ));
        lines.push(format!(
            "  {:<12} entry {}, heard {} s ago, {} revoked",
            "log", host["log_seq"], host["log_staleness_seconds"], host["revoked_devices"]
        ));
    }
    if !host["coordinator_node_id"].is_null() {
        lines.push(line("coordinator", &[&host["coordinator_node_id"]]));
    }
    if host["recovering"] == true {
        lines.push(
            "  recovering   it signs nothing: look at homing devices, then homing coordinator resume"
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn line(label: &str, values: &[&Value]) -> String {
    let words: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
    format!("  {label:<12} {}", words.join(" "))
}
