//! The half of a socket that listens: one text frame after the other, until the client is gone, silent
//! or out of line. What a frame means is the listener's.

use std::error::Error as _;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio_tungstenite::tungstenite;

use super::{Ending, MAX_FRAME, Socket, close_code};

/// Takes the text frames of one socket.
pub(in super::super) trait Listener {
    /// An error ends the socket.
    async fn take(&mut self, text: &str) -> Result<(), Ending>;
}

/// Reads until the socket ends, and says why.
pub(super) async fn listen(
    socket: &Socket,
    stream: &mut SplitStream<WebSocket>,
    mut listener: impl Listener,
) -> Ending {
    let silence = socket.state.settings.liveness.dead_after;
    loop {
        let Ok(message) = tokio::time::timeout(silence, stream.next()).await else {
            return Ending::Dead;
        };
        let outcome = match message {
            None | Some(Ok(Message::Close(_))) => Err(Ending::Gone),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Text(text))) if text.len() > MAX_FRAME => Err(too_large()),
            Some(Ok(Message::Text(text))) => listener.take(text.as_str()).await,
            Some(Ok(Message::Binary(_))) => Err(Ending::Close(
                close_code::POLICY,
                "text frames only".to_owned(),
            )),
            Some(Err(error)) if is_too_large(&error) => Err(too_large()),
            Some(Err(_)) => Err(Ending::Gone),
        };
        if let Err(ending) = outcome {
            return ending;
        }
    }
}

fn too_large() -> Ending {
    Ending::Close(close_code::TOO_LARGE, "message above 1 MiB".to_owned())
}

fn is_too_large(error: &axum::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<tungstenite::Error>());
    matches!(cause, Some(tungstenite::Error::Capacity(_)))
}
