//! The agent on this host: from its files to a bound agent, with or without a coordinator here.

use std::net::SocketAddr;

use anyhow::Context;
use homing_agent::{Agent, AgentConfig, AgentError, AgentSettings};
use homing_certs::{NetworkId, NodeId, Role, Ticket};
use homing_protocol::alpn;
use homing_transport::enrolling::{Enrolled, Introduction};
use homing_transport::{BindError, Endpoint, EndpointConfig};

use super::{AgentFile, Upkeep, bind_served, keep, node_id, own_key, port_taken, server_limits};
use crate::commands::join::{host_name, redeem};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::device::PROGRAM;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;

/// Name of the settings key of the agent's port, for messages.
const PORT_SETTING: &str = "agent_port";

/// Binds the agent that lies in `<dir>/agent`.
pub(crate) async fn bind(dir: &DataDir, config: &Config, upkeep: &Upkeep) -> anyhow::Result<Agent> {
    let file = AgentFile::load(dir)?.ok_or_else(not_enrolled)?;
    let folder = dir.agent();
    let key = files::read_key(&folder.join("key"))?.ok_or_else(not_enrolled)?;
    let certificate = files::read(&folder.join("cert"))?.ok_or_else(not_enrolled)?;
    let chain = file.chain()?;
    let bind = config.quic_address(config.quic.agent_port);
    let bound = Agent::bind(AgentConfig {
        settings: AgentSettings {
            config_file: Some(upkeep.config_file.clone()),
            restart: Some(upkeep.restart.clone()),
            ..settings(dir, config, &file, node_id(&key), chain.network_id())?
        },
        key,
        certificate,
        keep: keep(folder.join("cert")),
        root_chain: chain.wires().to_vec(),
        coordinator: file.coordinator,
        bind,
        relay: config.relay.parse()?,
        limits: server_limits(config),
        program: PROGRAM.to_owned(),
    })
    .await;
    match bound {
        Ok(agent) => {
            // Another process may serve the proxy of this directory.
            agent.handle().hide_port(config.proxy.port);
            Ok(agent)
        }
        Err(AgentError::Bind(BindError::Address { addr, .. })) if bind.port() != 0 => {
            Err(port_taken(addr, "agent_port").into())
        }
        Err(error) => Err(error).context("the agent could not be started"),
    }
}

/// Enrols this host's agent with a ticket. Fills in the port that was chosen, which the coordinator's
/// directory names from now on.
pub(crate) async fn enrol(
    dir: &DataDir,
    config: &mut Config,
    ticket: Ticket,
    name: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let key = own_key(&dir.agent())?;
    let endpoint = bind_served(
        EndpointConfig {
            key,
            alpns: vec![alpn::GATEWAY.to_vec()],
            bind: config.quic_address(config.quic.agent_port),
            relay: config.relay.parse()?,
        },
        PORT_SETTING,
    )
    .await?;
    config.quic.agent_port = endpoint.bound_sockets().first().map(SocketAddr::port);
    let enrolled = introduce(config, &endpoint, ticket, name, output).await;
    // The agent binds the same address for itself.
    endpoint.close().await;
    store(dir, *enrolled?).await
}

async fn introduce(
    config: &Config,
    endpoint: &Endpoint,
    ticket: Ticket,
    name: Option<String>,
    output: Output,
) -> anyhow::Result<Box<Enrolled>> {
    if config.relay.parse()? != homing_transport::Relay::None {
        // So that the directory names the relay from the first moment on.
        endpoint.relayed(super::RELAY_WAIT).await;
    }
    let introduction = Introduction {
        name: name
            .or_else(|| config.agent.name.clone())
            .or_else(host_name),
        platform: Some(std::env::consts::OS.to_owned()),
        reach: Some(endpoint.reach()),
    };
    Ok(redeem(endpoint, ticket, introduction, output).await?)
}

async fn store(dir: &DataDir, enrolled: Enrolled) -> anyhow::Result<()> {
    let Enrolled {
        enrollment,
        trust,
        certificate,
    } = enrolled;
    let role = certificate.certificate().role;
    if role != Role::Agent {
        return Err(Failure::new(
            "not_an_agent_ticket",
            format!("that ticket was for a device of role {role}, not for an agent"),
            "revoke the device that it made, then invite anew: homing invite --role agent",
        )
        .into());
    }
    files::write(&dir.agent().join("cert"), certificate.wire())?;
    homing_agent::enrolment::keep(&dir.agent(), &trust, enrollment.snapshot.0)
        .await
        .context("the revocation log could not be written")?;
    // Last: its presence is what makes the agent an enrolled one.
    AgentFile {
        agent: enrollment.device,
        root_chain: enrollment.root_chain,
        coordinator: enrollment.coordinator,
    }
    .save(dir)
}

fn settings(
    dir: &DataDir,
    config: &Config,
    file: &AgentFile,
    node_id: NodeId,
    network_id: NetworkId,
) -> anyhow::Result<AgentSettings> {
    let settings = AgentSettings::new(dir.agent(), file.agent.clone(), node_id, network_id);
    let mut settings = settings.with(config.live()?);
    settings.secret_dir = Some(dir.root().to_owned());
    Ok(settings)
}

fn not_enrolled() -> Failure {
    Failure::new(
        "not_enrolled",
        "this directory has no enrolled agent",
        "homing invite --role agent on the coordinator's host, then homing agent run --ticket-file FILE here",
    )
}
