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
use crate::failure::describe;
use crate::host::HostStatus;

/// Answers of a host (`host` is there) or of a joined device.
pub(crate) struct Answers {
    device: DeviceStatus,
    host: Option<HostStatus>,
    shutdown: CancellationToken,
}

impl Answers {
    pub(crate) fn new(
        device: DeviceStatus,
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
        if let Some(host) = &self.host {
            return host.request(request).await;
        }
        match self.device.device().control().request(&request).await {
            Ok(reply) => reply,
            Err(error) => ControlReply::Error(error.body()),
        }
    }

    async fn act(&self, command: LocalCommand) -> anyhow::Result<LocalReply> {
        Ok(match command {
            LocalCommand::Network(request) => LocalReply::Network(self.network(request).await),
            LocalCommand::Dial { agent } => {
                LocalReply::Dialed(self.device.device().dial(agent.as_deref()).await?)
            }
            LocalCommand::Status => {
                let host = self.host.as_ref().map(HostStatus::document);
                LocalReply::Status(Box::new(json!({
                    "pid": std::process::id(),
                    "version": env!("CARGO_PKG_VERSION"),
                    "device": self.device.document(),
                    "host": host,
                })))
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
