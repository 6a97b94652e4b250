//! `homing revoke`: everywhere, or with `--local` at this host's agent alone.

use homing_protocol::control::{ControlReply, ControlRequest, RevokedInfo};
use homing_protocol::local::{LocalCommand, LocalReply};
use serde_json::json;

use super::network;
use crate::args::RevokeArgs;
use crate::data_dir::DataDir;
use crate::host;
use crate::output::Output;

pub(super) async fn run(dir: &DataDir, args: RevokeArgs, output: Output) -> anyhow::Result<()> {
    if args.local {
        return deny(dir, &args.device, output).await;
    }
    let request = ControlRequest::Revoke {
        device: args.device,
        with_invited: args.with_invited,
        on_behalf_of: None,
    };
    let ControlReply::Revoked(revoked) = network::request(dir, request).await? else {
        return Err(network::unexpected().into());
    };
    let document = serde_json::to_value(&revoked)?;
    output.result(&document, || text(&revoked, output));
    Ok(())
}

async fn deny(dir: &DataDir, device: &str, output: Output) -> anyhow::Result<()> {
    let command = LocalCommand::RevokeLocal {
        device: device.to_owned(),
    };
    let node_id = match network::ask_running(dir, command).await? {
        Some(LocalReply::Denied { node_id }) => node_id,
        Some(_) => return Err(network::unexpected().into()),
        None => host::offline::deny(dir, device).await?.to_string(),
    };
    let document = json!({ "device": device, "node_id": node_id, "local": true });
    output.result(&document, || {
        format!(
            "{} is denied at this agent, and nowhere else. homing revoke {device} on a device that may do so\nrevokes it everywhere.",
            output.bold(device)
        )
    });
    Ok(())
}

fn text(revoked: &RevokedInfo, output: Output) -> String {
    let mut lines = vec![format!(
        "{} is revoked, for ever.",
        output.bold(&revoked.device)
    )];
    if !revoked.also.is_empty() {
        lines.push(format!("So are: {}.", revoked.also.join(", ")));
    }
    for agent in &revoked.agents {
        lines.push(match (agent.confirmed, agent.ms) {
            (true, Some(ms)) => format!("  {} cut it off after {ms} ms", agent.agent),
            (true, None) => format!("  {} has cut it off", agent.agent),
            (false, _) => format!(
                "  {} is offline; it hears of this before it admits anyone",
                agent.agent
            ),
        });
    }
    if !revoked.enrolled_by_it.is_empty() {
        lines.push(format!(
            "It had enrolled {}; homing revoke {} --with-invited revokes those too.",
            revoked.enrolled_by_it.join(", "),
            revoked.device
        ));
    }
    lines.join("\n")
}
