//! HTTP/1.1 on one stream, served in process by hyper.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use crate::stream::ByteStream;
use crate::stream::merge::Flusher;

/// Largest request head, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most headers in a head.
pub const MAX_HEADERS: usize = 100;
/// Read buffer of a stream, in bytes; twice the largest head.
const READ_BUFFER: usize = 2 * MAX_HEAD;
/// From the end of one exchange to the end of the next head. hyper's timer runs through the idle time
/// of a keep-alive stream too, so this is the proxy's idle time (75 s) and its head timeout (10 s).
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// A stream of an admitted connection, ready for HTTP.
#[derive(Debug)]
pub struct HttpStream {
    /// The bytes, with small writes merged.
    pub stream: ByteStream,
    /// To be awaited beside whatever writes to the stream.
    pub flusher: Flusher,
}

/// Serves all requests of one stream. Returns when the peer has ended it or it has failed; upgraded
/// streams live on in the service's own tasks, and this waits for them.
pub async fn serve<S, B>(http: HttpStream, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that finishes its side after the request still gets its answer.
        .half_close(true)
        .max_buf_size(READ_BUFFER)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(http.stream), service)
        .with_upgrades();
    let (served, ()) = tokio::join!(connection, http.flusher.run());
    if let Err(error) = served {
        debug!(%error, "a stream ended early");
    }
}
