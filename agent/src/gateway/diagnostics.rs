//! `/api/echo` and `/api/blob`: known bytes for whoever measures a path or looks for a fault in it.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TRAILER};
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use serde::Deserialize;

use super::error::ApiError;

/// Most bytes of one blob.
const MAX_BLOB: u64 = 16 << 30;
/// The pattern's period: a prime, so that no chunk, page or packet boundary hides a shift.
const PERIOD: usize = 251;
/// Periods in the chunk that is sent again and again without being copied.
const REPEATS: usize = 256;

/// Byte n of a blob is n modulo 251.
static CHUNK: LazyLock<Bytes> = LazyLock::new(|| {
    let byte = |at: usize| u8::try_from(at % PERIOD).unwrap_or(0);
    Bytes::from_owner((0..PERIOD * REPEATS).map(byte).collect::<Vec<u8>>())
});

/// `POST /api/echo` sends the body back as it comes, with its trailers.
pub(super) async fn echo(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(body);
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, octets);
    // Trailers are only sent when they were announced.
    if let Some(trailer) = head.headers.get(TRAILER) {
        response.headers_mut().insert(TRAILER, trailer.clone());
    }
    response
}

#[derive(Debug, Deserialize)]
pub(super) struct Length {
    bytes: u64,
}

/// `GET /api/blob?bytes=N` sends N bytes of the pattern.
pub(super) async fn blob(Query(length): Query<Length>) -> Result<Response<Body>, ApiError> {
    if length.bytes > MAX_BLOB {
        let message = format!("a blob has at most {MAX_BLOB} bytes");
        return Err(ApiError::bad_request("too_large", message));
    }
    let mut response = Response::new(Body::new(Pattern {
        left: length.bytes,
        at: 0,
    }));
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, octets);
    Ok(response)
}

struct Pattern {
    left: u64,
    at: usize,
}

impl http_body::Body for Pattern {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let room = CHUNK.len() - self.at;
        let size = usize::try_from(self.left).unwrap_or(room).min(room);
        let piece = CHUNK.slice(self.at..self.at + size);
        self.left -= size as u64;
        self.at = (self.at + size) % PERIOD;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
