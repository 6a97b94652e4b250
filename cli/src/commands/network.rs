//! How a command reaches the coordinator: through the process that holds the directory, or, when
//! nothing runs, on the files of a host or over QUIC from a joined device.

use std::time::Duration;

use homing_protocol::control::{ControlReply, ControlRequest};
use homing_protocol::local::{LocalCommand, LocalReply};

use crate::config::Config;
use crate::control_socket;
use crate::data_dir::DataDir;
use crate::device::Device;
use crate::failure::Failure;
use crate::host;

/// How long a process that is starting may take to answer.
const STARTING: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// Sends a request to the coordinator, whichever way leads there.
pub(crate) async fn request(
    dir: &DataDir,
    request: ControlRequest,
) -> anyhow::Result<ControlReply> {
    let reply = match ask_running(dir, LocalCommand::Network(request.clone())).await? {
        Some(LocalReply::Network(reply)) => reply,
        Some(_) => return Err(unexpected().into()),
        None if dir.has_coordinator() => host::offline::request(dir, request).await?,
        None if dir.has_agent() && !dir.has_device() => return Err(host::no_coordinator().into()),
        None => from_joined_device(dir, &request).await?,
    };
    match reply {
        ControlReply::Error(error) => Err(Failure(error).into()),
        reply => Ok(reply),
    }
}

/// Asks the running process; `None` when there is none. One that is just starting is waited for.
pub(crate) async fn ask_running(
    dir: &DataDir,
    command: LocalCommand,
) -> anyhow::Result<Option<LocalReply>> {
    let give_up = tokio::time::Instant::now() + STARTING;
    loop {
        if let Some(reply) = control_socket::ask(dir, command.clone()).await? {
            return Ok(Some(reply));
        }
        match dir.hold("command") {
            Ok(_free) => return Ok(None),
            Err(held) if tokio::time::Instant::now() >= give_up => return Err(held),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// What a command says when the other side answered something else.
pub(crate) fn unexpected() -> Failure {
    Failure::new(
        "protocol",
        "the answer was not the one that belongs to this command",
        "check that the running process has this version: homing --version",
    )
}

async fn from_joined_device(
    dir: &DataDir,
    request: &ControlRequest,
) -> anyhow::Result<ControlReply> {
    let config = Config::load(&dir.config())?.unwrap_or_default();
    let bind = config.quic_address(config.quic.device_port);
    let device = Device::open(dir, bind, config.relay.parse()?).await?;
    let reply = device.control().request(request).await;
    device.control().close().await;
    device.endpoint().close().await;
    Ok(reply.map_err(|error| Failure(error.body()))?)
}
