//! The seam to the agent: what the proxy needs from whoever carries its streams.
//! It does not own dialling, pooling or certificates.

mod pool;

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

/// One bidirectional byte stream to the agent that speaks HTTP/1.1.
///
/// What is written is on its way without a flush. `poll_shutdown` finishes the sending side.
/// Dropping it without that resets it, so that a request that was cut never looks complete.
pub trait UpstreamStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Abandons both directions with an application error code.
    fn reset(&mut self, code: u32);
}

/// Opens streams to one agent.
pub trait Upstream: Send + Sync + 'static {
    /// The stream that it opens.
    type Stream: UpstreamStream;

    /// Opens a stream, connecting first if there is no connection.
    ///
    /// A stream that fails before any response byte is retried once for GET and HEAD without a
    /// body, so an implementation gives a fresh connection when it knows that the last one died.
    fn open(&self) -> impl Future<Output = Result<Self::Stream, UpstreamError>> + Send;

    /// The agent's name for the status page.
    fn agent(&self) -> Option<String> {
        None
    }
}

/// Why no stream could be opened, in the words that the local client is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct UpstreamError {
    /// A stable word: `revoked`, `cert_expired`, `not_reachable`, `timeout`, `busy` …
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The next step.
    pub hint: String,
}

impl UpstreamError {
    /// The HTTP status under which the local client sees this error.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.code.as_str() {
            "revoked" | "forbidden" | "wrong_key" | "wrong_network" => 403,
            code if code.starts_with("cert_") => 403,
            "busy" | "draining" | "stale_policy" => 503,
            "timeout" => 504,
            _ => 502,
        }
    }
}

/// Reset codes of the proxy on a stream, in the style of HTTP/3 (RFC 9114, 8.1).
pub(crate) mod reset_code {
    /// The client went away, so nobody waits for the answer.
    pub(crate) const CANCELLED: u32 = 0x10c;
    /// The client sent, or the agent answered, something that is not HTTP/1.1.
    pub(crate) const MESSAGE_ERROR: u32 = 0x10e;
    /// The client takes nothing from an endless stream.
    pub(crate) const SLOW_READER: u32 = 0x107;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        for (code, status) in [
            ("revoked", 403),
            ("cert_expired", 403),
            ("cert_not_yet_valid", 403),
            ("forbidden", 403),
            ("not_reachable", 502),
            ("upgrade_required", 502),
            ("busy", 503),
            ("draining", 503),
            ("stale_policy", 503),
            ("timeout", 504),
        ] {
            let error = UpstreamError {
                code: code.to_owned(),
                message: String::new(),
                hint: String::new(),
            };
            assert_eq!(error.status(), status, "{code}");
        }
    }
}
