//! An answer as server-sent events while it comes.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use super::super::asking::{Asked, Heard};
use super::super::error::ApiError;

/// Between two comments while a tool runs: below the idle limits of proxies.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How an interface writes what is heard. An empty piece is not sent.
pub(super) trait Wire: Send + 'static {
    /// Before anything is heard.
    fn begin(&mut self) -> String;
    fn heard(&mut self, heard: Heard) -> String;
    /// The last piece, after a failure.
    fn failed(&mut self, error: &ApiError) -> String;
}

struct Streaming<W> {
    asked: Asked,
    wire: W,
    begun: bool,
    over: bool,
}

/// Answers with a stream that ends with the answer. Dropping it ends the turn.
pub(super) fn respond(asked: Asked, wire: impl Wire) -> Response<Body> {
    let streaming = Streaming {
        asked,
        wire,
        begun: false,
        over: false,
    };
    let body = stream::unfold(streaming, |mut streaming| async move {
        let piece = streaming.next().await?;
        Some((
            Ok::<_, std::convert::Infallible>(Bytes::from(piece)),
            streaming,
        ))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<W: Wire> Streaming<W> {
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        if !std::mem::replace(&mut self.begun, true) {
            return Some(self.wire.begin());
        }
        loop {
            let piece = match tokio::time::timeout(HEARTBEAT, self.asked.next()).await {
                Err(_) => ": working\n\n".to_owned(),
                Ok(Ok(heard)) => {
                    self.over = matches!(heard, Heard::Done(_));
                    self.wire.heard(heard)
                }
                Ok(Err(error)) => {
                    self.over = true;
                    self.wire.failed(&error)
                }
            };
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }
}
