//! `homing pending`, `homing approve` and `homing deny`.

use homing_protocol::control::{ControlReply, ControlRequest};
use serde_json::json;

use super::{devices, network};
use crate::data_dir::DataDir;
use crate::output::{Output, rfc3339, table};

pub(super) async fn pending(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let ControlReply::Pending(pending) = network::request(dir, ControlRequest::Pending).await?
    else {
        return Err(network::unexpected().into());
    };
    let documents = pending.iter().map(|waiting| {
        json!({
            "device": waiting.device,
            "node_id": waiting.node_id.to_string(),
            "user": waiting.user,
            "role": waiting.role.to_string(),
            "scopes": waiting.scopes,
            "platform": waiting.platform,
            "from": waiting.from,
            "since": rfc3339(waiting.since),
        })
    });
    let document = json!({ "pending": documents.collect::<Vec<_>>() });
    output.result(&document, || {
        if pending.is_empty() {
            return "No device waits for approval.".to_owned();
        }
        let rows = pending.iter().map(|waiting| {
            vec![
                waiting.device.clone(),
                waiting.node_id.short(),
                waiting.user.clone(),
                waiting.role.to_string(),
                waiting.from.clone().unwrap_or_else(|| "-".to_owned()),
                rfc3339(waiting.since),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let table = table(
            &["DEVICE", "NODEID", "USER", "ROLE", "FROM", "SINCE"],
            &rows,
        );
        format!("{table}\n\nhoming approve <device> --code <the code that the device shows>")
    });
    Ok(())
}

pub(super) async fn approve(
    dir: &DataDir,
    device: String,
    code: String,
    output: Output,
) -> anyhow::Result<()> {
    let request = ControlRequest::Approve { device, code };
    let ControlReply::Device(device) = network::request(dir, request).await? else {
        return Err(network::unexpected().into());
    };
    output.result(&devices::document(&device), || {
        format!("{} is in.", output.bold(&device.device))
    });
    Ok(())
}

pub(super) async fn deny(dir: &DataDir, device: String, output: Output) -> anyhow::Result<()> {
    let ControlReply::Denied { device } =
        network::request(dir, ControlRequest::Deny { device }).await?
    else {
        return Err(network::unexpected().into());
    };
    output.result(&json!({ "device": device, "denied": true }), || {
        format!("{device} was turned away.")
    });
    Ok(())
}
