//! `homing devices` and `homing rename`.

use homing_protocol::control::{ControlReply, ControlRequest, DeviceInfo};
use serde_json::{Value, json};

use super::network;
use crate::data_dir::DataDir;
use crate::output::{Output, rfc3339, table};

pub(super) async fn list(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let ControlReply::Devices(devices) = network::request(dir, ControlRequest::Devices).await?
    else {
        return Err(network::unexpected().into());
    };
    let document = json!({ "devices": devices.iter().map(document).collect::<Vec<_>>() });
    output.result(&document, || {
        let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
        table(
            &[
                "DEVICE",
                "NODEID",
                "USER",
                "ROLE",
                "STATUS",
                "ONLINE",
                "LAST SEEN",
                "EXPIRES",
            ],
            &rows,
        )
    });
    Ok(())
}

pub(super) async fn rename(
    dir: &DataDir,
    device: String,
    name: String,
    output: Output,
) -> anyhow::Result<()> {
    let request = ControlRequest::Rename { device, name };
    let ControlReply::Device(device) = network::request(dir, request).await? else {
        return Err(network::unexpected().into());
    };
    output.result(&document(&device), || {
        format!("It is now called {}.", output.bold(&device.device))
    });
    Ok(())
}

/// A device as programs see it.
pub(super) fn document(device: &DeviceInfo) -> Value {
    json!({
        "device": device.device,
        "node_id": device.node_id.to_string(),
        "user": device.user,
        "role": device.role.to_string(),
        "scopes": device.scopes,
        "status": device.status.as_str(),
        "online": device.online,
        "last_seen": device.last_seen.map(rfc3339),
        "expires_at": device.expires_at.map(rfc3339),
        "invited_by": device.invited_by,
        "platform": device.platform,
    })
}

fn row(device: &DeviceInfo) -> Vec<String> {
    let time = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), rfc3339);
    vec![
        device.device.clone(),
        device.node_id.short(),
        device.user.clone(),
        device.role.to_string(),
        device.status.as_str().to_owned(),
        if device.online { "yes" } else { "no" }.to_owned(),
        time(device.last_seen),
        time(device.expires_at),
    ]
}
