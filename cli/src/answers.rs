//! What a running process answers to commands that come over its control socket.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use homing_protocol::ErrorBody;
use homing_protocol::control::{ControlReply, ControlRequest};
use homing_protocol::local::{LocalCommand, LocalReply};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::control_socket::Commands;
use crate::device_side::DeviceStatus;
use crate::failure::{Failure, describe};
use crate::host::{self, HostStatus};

/// Answers of a host (`host` is there), of a joined device, or of both.
pub(crate) struct Answers {
    device: Option<DeviceStatus>,
    host: Option<HostStatus>,
    shutdown: CancellationToken,
}

impl Answers {
    pub(crate) fn new(
        device: Option<DeviceStatus>,
        host: Option<HostStatus>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            device,
            host,
            shutdown,
        }
    }

    async fn network(&self, request: ControlRequest) -> ControlReply {
        match (&self.host, &self.device) {
            (Some(host), _) => host.request(request).await,
            (None, Some(device)) => match device.device().control().request(&request).await {
                Ok(reply) => reply,
                Err(error) => ControlReply::Error(error.body()),
            },
            (None, None) => ControlReply::Error(host::no_coordinator().0),
        }
    }

    fn device(&self) -> Result<&DeviceStatus, Failure> {
        self.device.as_ref().ok_or_else(no_device)
    }

    async fn act(&self, command: LocalCommand) -> anyhow::Result<LocalReply> {
        Ok(match command {
            LocalCommand::Network(request) => LocalReply::Network(self.network(request).await),
            LocalCommand::Dial { agent } => {
                let device = self.device()?.device();
                LocalReply::Dialed(device.dial(agent.as_deref()).await?)
            }
            LocalCommand::Status => {
                let host = match &self.host {
                    Some(host) => Some(host.document().await),
                    None => None,
                };
                LocalReply::Status(Box::new(json!({
                    "pid": std::process::id(),
                    "version": env!("CARGO_PKG_VERSION"),
                    "device": self.device.as_ref().map(DeviceStatus::document),
                    "host": host,
                })))
            }
            LocalCommand::Resume { without_newest_log } => {
                let host = self.host.as_ref().ok_or_else(host::no_coordinator)?;
                host.resume(without_newest_log).await?;
                LocalReply::Done
            }
            LocalCommand::RevokeLocal { device } => {
                let host = self.host.as_ref().ok_or_else(host::no_agent)?;
                LocalReply::Denied {
                    node_id: host.deny(&device).await?,
                }
            }
            LocalCommand::ReloadConfig => {
                let host = self.host.as_ref().ok_or_else(host::no_agent)?;
                LocalReply::Reloaded {
                    restart_required: host.reload_config().await?,
                }
            }
            LocalCommand::Shutdown => {
                self.shutdown.cancel();
                LocalReply::Done
            }
            _ => LocalReply::Error(ErrorBody::new(
                "not_implemented",
                "this process does not know that command",
                "check that it has this version: homing --version",
            )),
        })
    }
}

impl Commands for Answers {
    fn answer(self: Arc<Self>, command: LocalCommand) -> BoxFuture<'static, LocalReply> {
        Box::pin(async move {
            match self.act(command).await {
                Ok(reply) => reply,
                Err(error) => LocalReply::Error(describe(&error).0),
            }
        })
    }
}

fn no_device() -> Failure {
    Failure::new(
        "no_network",
        "this process runs a part of a network, not a device of it",
        "run the command on a device that has joined",
    )
}
