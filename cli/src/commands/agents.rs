//! `homing agents`.

use homing_protocol::control::{ControlReply, ControlRequest};
use serde_json::json;

use super::network;
use crate::data_dir::DataDir;
use crate::output::{Output, table};

pub(super) async fn list(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let ControlReply::Agents(agents) = network::request(dir, ControlRequest::Agents).await? else {
        return Err(network::unexpected().into());
    };
    let documents = agents.iter().map(|agent| {
        json!({
            "agent": agent.agent,
            "node_id": agent.reach.node_id.to_string(),
            "online": agent.online,
            "relay": agent.reach.relay,
            "addresses": agent.reach.addresses,
        })
    });
    let document = json!({ "agents": documents.collect::<Vec<_>>() });
    output.result(&document, || {
        let row = |agent: &homing_protocol::control::AgentInfo| {
            let online = if agent.online { "yes" } else { "no" };
            vec![
                agent.agent.clone(),
                agent.reach.node_id.to_string(),
                online.to_owned(),
            ]
        };
        table(
            &["AGENT", "NODEID", "ONLINE"],
            &agents.iter().map(row).collect::<Vec<_>>(),
        )
    });
    Ok(())
}
