//! One WebSocket to the agent, JSON in and out.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::agent_api::{AgentApi, Io, refusal};
use crate::failure::Failure;

/// How long the agent may take to take the socket, and a frame to leave.
const PATIENCE: Duration = Duration::from_secs(20);
/// After this much silence the connection is taken for dead: the agent pings every 10 s.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Largest frame that is taken: an answer of the largest size, with everything in it escaped.
const MAX_FRAME: usize = 8 << 20;
/// Close codes of the agent after which another connection would end in the same way.
const REVOKED: u16 = 4003;
const POLICY: u16 = 4008;
const TOO_LARGE: u16 = 4013;

/// Why a socket ends.
#[derive(Debug)]
pub(super) enum End {
    /// The chat is over.
    Left,
    /// It broke; another one may do better.
    Lost(String),
    /// Another one would not.
    Final(anyhow::Error),
}

/// An open WebSocket.
pub(super) struct Socket {
    stream: WebSocketStream<Box<dyn Io>>,
}

impl Socket {
    pub(super) async fn connect(api: &AgentApi) -> anyhow::Result<Self> {
        let attempt = async {
            let stream = api.stream().await?;
            let mut request = "ws://localhost/ws".into_client_request()?;
            request.headers_mut().extend(stream.headers);
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_FRAME))
                .max_frame_size(Some(MAX_FRAME));
            let opened =
                tokio_tungstenite::client_async_with_config(request, stream.io, Some(config)).await;
            match opened {
                Ok((stream, _)) => Ok(Self { stream }),
                Err(Error::Http(response)) => {
                    let body = response.body().as_deref().unwrap_or_default();
                    Err(refusal(response.status(), body).into())
                }
                Err(error) => Err(not_reachable(&error.to_string()).into()),
            }
        };
        match tokio::time::timeout(PATIENCE, attempt).await {
            Ok(opened) => opened,
            Err(_) => Err(not_reachable("no answer in time").into()),
        }
    }

    pub(super) async fn send(&mut self, frame: &Value) -> Result<(), End> {
        let sent = self.stream.send(Message::text(frame.to_string()));
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(error.to_string())),
            Err(_) => Err(End::Lost("the line takes nothing".to_owned())),
        }
    }

    /// The next frame. Nothing is lost when this is not waited for to its end.
    pub(super) async fn next(&mut self) -> Result<Value, End> {
        loop {
            let Ok(message) = tokio::time::timeout(SILENCE, self.stream.next()).await else {
                return Err(End::Lost("nothing was heard any more".to_owned()));
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    if let Ok(frame) = serde_json::from_str(&text) {
                        return Ok(frame);
                    }
                }
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(End::Lost(error.to_string())),
                None => return Err(End::Lost("the connection ended".to_owned())),
            }
        }
    }

    pub(super) async fn close(&mut self) {
        let _ = tokio::time::timeout(FAREWELL, self.stream.close(None)).await;
    }
}

fn not_reachable(why: &str) -> Failure {
    Failure::new(
        "not_reachable",
        format!("the agent could not be reached: {why}"),
        "homing dial says more",
    )
}

fn closed(frame: Option<CloseFrame>) -> End {
    let Some(frame) = frame else {
        return End::Lost("the agent closed the connection".to_owned());
    };
    let reason = frame.reason.as_str();
    match u16::from(frame.code) {
        REVOKED => End::Final(
            Failure::new(
                "revoked",
                "this device has been revoked",
                "ask the owner of the network for a new invitation",
            )
            .into(),
        ),
        POLICY if reason != "silent" => End::Final(
            Failure::new(
                if reason.is_empty() {
                    "forbidden"
                } else {
                    reason
                },
                format!("the agent ended the chat: {reason}"),
                "homing dial says what the agent thinks of this device",
            )
            .into(),
        ),
        TOO_LARGE => End::Final(
            Failure::new(
                "too_large",
                "the message is too large for the agent",
                "send it as a file, with --attach",
            )
            .into(),
        ),
        _ => End::Lost(format!("the agent closed the connection ({reason})")),
    }
}
