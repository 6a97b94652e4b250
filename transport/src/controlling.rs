//! Asking the coordinator: the device's side of `homing/control/1`.

use std::sync::Arc;
use std::time::Duration;

use homing_protocol::control::{ControlReply, ControlRequest, ControlWelcome};
use homing_protocol::gateway::Reach;
use homing_protocol::{ErrorBody, alpn, frame};
use tokio::sync::Mutex;
use tracing::{debug, warn};

use crate::connection::Connection;
use crate::credentials::Credentials;
use crate::dial::{DialError, refusal};
use crate::endpoint::Endpoint;
use crate::frames::FrameIoError;

/// From the first packet to the end of the handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// From the Hello to the welcome.
const WELCOME_DEADLINE: Duration = Duration::from_secs(5);
/// From a request to its answer; a revocation waits three seconds for acknowledgements.
const REPLY_DEADLINE: Duration = Duration::from_secs(15);
/// A long poll for notices is answered within a minute.
const NOTICE_DEADLINE: Duration = Duration::from_secs(75);
/// How long a close reason may trail behind a failed stream.
const CLOSE_REASON_WAIT: Duration = Duration::from_millis(500);

/// Why there is no answer to a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The coordinator could not be asked, or refused this device.
    #[error("the coordinator could not be asked")]
    Dial(#[source] DialError),
    /// The coordinator refused the request.
    #[error("{}", .0.message)]
    Answer(ErrorBody),
}

impl ControlError {
    /// Code, sentence and next step.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::Dial(error) => coordinator_error(error),
            Self::Answer(body) => body.clone(),
        }
    }
}

/// One connection to the coordinator, dialed when it is needed.
#[derive(Debug)]
pub struct ControlClient {
    endpoint: Endpoint,
    coordinator: Reach,
    credentials: Arc<Credentials>,
    live: Mutex<Option<Connection>>,
}

impl ControlClient {
    /// A client for this coordinator; nothing is dialed yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, coordinator: Reach, credentials: Arc<Credentials>) -> Self {
        Self {
            endpoint,
            coordinator,
            credentials,
            live: Mutex::new(None),
        }
    }

    /// Sends one request. An answer of the coordinator that is an error comes back as an error.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn request(&self, request: &ControlRequest) -> Result<ControlReply, ControlError> {
        let connection = self.connection().await.map_err(ControlError::Dial)?;
        let deadline = match request {
            ControlRequest::Notices { .. } => NOTICE_DEADLINE,
            _ => REPLY_DEADLINE,
        };
        match exchange(&connection, request, deadline).await {
            Ok(ControlReply::Error(error)) => Err(ControlError::Answer(error)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(ControlError::Dial(self.failure(&connection, error).await)),
        }
    }

    /// Closes the connection, if there is one.
    pub async fn close(&self) {
        if let Some(connection) = self.live.lock().await.take() {
            connection.close_done();
        }
    }

    async fn connection(&self) -> Result<Connection, DialError> {
        // Held across the dial on purpose: all who need the coordinator wait for the one dial.
        let mut live = self.live.lock().await;
        if let Some(connection) = live
            .as_ref()
            .filter(|connection| connection.close_reason().is_none())
        {
            return Ok(connection.clone());
        }
        let connection = self.dial().await?;
        *live = Some(connection.clone());
        Ok(connection)
    }

    async fn dial(&self) -> Result<Connection, DialError> {
        let node_id = self.coordinator.node_id;
        let connection = self
            .endpoint
            .connect(&self.coordinator, alpn::CONTROL, CONNECT_DEADLINE)
            .await
            .map_err(|source| DialError::Unreachable { node_id, source })?;
        let welcome = async {
            let mut stream = connection.open_frames().await.ok()?;
            stream.send(&self.credentials.hello()).await.ok()?;
            stream
                .recv_within::<ControlWelcome>(WELCOME_DEADLINE)
                .await
                .ok()
        };
        let Some(welcome) = welcome.await else {
            return Err(self.failure(&connection, FrameIoError::Ended).await);
        };
        for document in &welcome.root_chain {
            if let Err(error) = self.credentials.trust().extend_root(document.as_ref()) {
                warn!(%error, "the coordinator sent a root document that does not follow ours");
            }
        }
        debug!(program = welcome.program, "connected to the coordinator");
        Ok(connection)
    }

    async fn failure(&self, connection: &Connection, error: FrameIoError) -> DialError {
        match tokio::time::timeout(CLOSE_REASON_WAIT, connection.closed()).await {
            Ok(closed) => refusal(closed, self.endpoint.id(), &self.credentials),
            Err(_) => match error {
                FrameIoError::Frame(_) | FrameIoError::Truncated => DialError::Protocol(error),
                silent => DialError::Ended(silent.to_string()),
            },
        }
    }
}

async fn exchange(
    connection: &Connection,
    request: &ControlRequest,
    deadline: Duration,
) -> Result<ControlReply, FrameIoError> {
    let mut stream = connection
        .open_frames()
        .await
        .map_err(|_| FrameIoError::Ended)?
        .with_limit(frame::MAX_SNAPSHOT_FRAME);
    stream.send(request).await?;
    stream.finish();
    stream.recv_within(deadline).await
}

fn coordinator_error(error: &DialError) -> ErrorBody {
    let mut body = error.body();
    if body.code == "not_reachable" {
        body.message = format!("the coordinator could not be reached: {}", body.message);
        "check that the coordinator runs (homing status on its host) and that this device can reach it"
            .clone_into(&mut body.hint);
    }
    body
}
