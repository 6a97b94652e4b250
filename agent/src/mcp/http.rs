//! The connection to a server that runs elsewhere: streamable HTTP with bounds that the library's own
//! client does not have, no redirects, and no proxy from the environment.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::{Client, RequestBuilder, Response};
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::streamable_http_client::{
    HttpStatusError, StreamableHttpClient, StreamableHttpClientTransport,
    StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Error as SseError, Sse, SseStream};

use super::config::ServerConfig;
use super::lines::MAX_MESSAGE;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Of the body of a refusal, how much is read.
const MAX_REFUSAL: usize = 4 << 10;
const SESSION: &str = "mcp-session-id";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const EITHER: &str = "application/json, text/event-stream";

type HttpError = StreamableHttpError<reqwest::Error>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum HttpSetupError {
    /// The program has installed no TLS implementation.
    #[error("this program speaks no TLS")]
    NoTls,
    /// The client could not be built.
    #[error("the HTTP client could not be set up")]
    Build(#[source] reqwest::Error),
    /// A header.
    #[error("a header cannot be sent")]
    Header,
}

/// A connection to the server of this config, not yet greeted.
pub(super) fn transport(
    url: &str,
    config: &ServerConfig,
) -> Result<impl Transport<RoleClient> + 'static, HttpSetupError> {
    let mut headers = HashMap::new();
    for (name, value) in &config.secrets {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpSetupError::Header)?;
        let value = HeaderValue::from_str(value.reveal()).map_err(|_| HttpSetupError::Header)?;
        let mut value = value;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let settings = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(headers)
        .max_sse_event_size(MAX_MESSAGE);
    let client = Bounded(client()?);
    Ok(StreamableHttpClientTransport::with_client(client, settings))
}

fn client() -> Result<Client, HttpSetupError> {
    // Without one the builder would panic.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(HttpSetupError::NoTls);
    }
    let builder = || {
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0)
    };
    // A machine without certificate authorities still reaches its own loopback.
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(HttpSetupError::Build)
}

/// A client that reads no more than a message's limit.
#[derive(Debug, Clone)]
struct Bounded(Client);

impl StreamableHttpClient for Bounded {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let mut request = with(self.0.post(uri.as_ref()), custom_headers).header(ACCEPT, EITHER);
        let in_session = session_id.is_some();
        if let Some(session) = session_id {
            request = request.header(SESSION, session.as_ref());
        }
        let response = request.json(&message).send().await?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && in_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        if !status.is_success() {
            return refused(&message, in_session, response).await;
        }
        let session = response.headers().get(SESSION);
        let session = session.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let kind = kind(&response);
        if kind.starts_with(EVENTS) {
            let events = SseStream::from_bytes_stream(bounded(response)).boxed();
            return Ok(StreamableHttpPostResponse::Sse(events, session));
        }
        let expects_answer = matches!(message, ClientJsonRpcMessage::Request(_));
        if !kind.starts_with(JSON) {
            return if expects_answer {
                Err(StreamableHttpError::UnexpectedContentType(Some(kind)))
            } else {
                Ok(StreamableHttpPostResponse::Accepted)
            };
        }
        let body = body(response, MAX_MESSAGE).await?;
        match serde_json::from_slice(&body) {
            Ok(message) => Ok(StreamableHttpPostResponse::Json(message, session)),
            Err(_) if !expects_answer => Ok(StreamableHttpPostResponse::Accepted),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), HttpError> {
        let request = with(self.0.delete(uri.as_ref()), custom_headers);
        // A server need not know sessions' ends; what it answers changes nothing.
        request.header(SESSION, session_id.as_ref()).send().await?;
        Ok(())
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, HttpError> {
        let mut request = with(self.0.get(uri.as_ref()), custom_headers).header(ACCEPT, EVENTS);
        if let Some(session) = session_id {
            request = request.header(SESSION, session.as_ref());
        }
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        if !response.status().is_success() {
            return Err(HttpStatusError::new(response.status().as_u16(), None).into());
        }
        let kind = kind(&response);
        if !kind.starts_with(EVENTS) {
            return Err(StreamableHttpError::UnexpectedContentType(Some(kind)));
        }
        Ok(SseStream::from_bytes_stream(bounded(response)).boxed())
    }
}

fn with(request: RequestBuilder, headers: HashMap<HeaderName, HeaderValue>) -> RequestBuilder {
    headers.into_iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

fn kind(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().to_ascii_lowercase()
}

/// An error of the protocol in the body is one; and a server that does not know `server/discover` may
/// say so in any way it likes, which is how an older one is recognised.
async fn refused(
    message: &ClientJsonRpcMessage,
    in_session: bool,
    response: Response,
) -> Result<StreamableHttpPostResponse, HttpError> {
    let status = response.status();
    let body = body(response, MAX_REFUSAL).await.unwrap_or_default();
    let auth = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let told: Option<ServerJsonRpcMessage> = serde_json::from_slice(&body).ok();
    if let ClientJsonRpcMessage::Request(request) = message
        && matches!(request.request, ClientRequest::DiscoverRequest(_))
        && status.is_client_error()
        && !in_session
        && !auth
    {
        let error = match told {
            Some(ServerJsonRpcMessage::Error(error)) => error.error,
            _ => ErrorData::invalid_request(format!("refused with {status}"), None),
        };
        let answer = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
        return Ok(StreamableHttpPostResponse::Json(answer, None));
    }
    match told {
        Some(error @ ServerJsonRpcMessage::Error(_)) if !auth => {
            Ok(StreamableHttpPostResponse::Json(error, None))
        }
        _ => Err(HttpStatusError::new(status.as_u16(), None).into()),
    }
}

async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(too_long().into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A body whose events are not longer than a message. An event ends with an empty line.
fn bounded(response: Response) -> BoxStream<'static, io::Result<Bytes>> {
    let chunks = response.bytes_stream();
    let state = (chunks.boxed(), Event::default(), false);
    stream::unfold(state, |(mut chunks, mut event, over)| async move {
        if over {
            return None;
        }
        let chunk = chunks.next().await?.map_err(io::Error::other);
        let (chunk, over) = match chunk {
            Ok(chunk) if event.grow(&chunk, MAX_MESSAGE) => (Ok(chunk), false),
            Ok(_) => (Err(too_long()), true),
            Err(error) => (Err(error), true),
        };
        Some((chunk, (chunks, event, over)))
    })
    .boxed()
}

/// Bytes of the event that is being read.
#[derive(Debug, Default)]
struct Event {
    size: usize,
    line_is_empty: bool,
}

impl Event {
    /// Whether it is still within the limit after these bytes.
    fn grow(&mut self, chunk: &[u8], limit: usize) -> bool {
        for byte in chunk {
            match byte {
                b'\n' if self.line_is_empty => self.size = 0,
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
            self.size += 1;
            if self.size > limit {
                return false;
            }
        }
        true
    }
}

fn too_long() -> io::Error {
    io::Error::other(format!(
        "the server sent more than {MAX_MESSAGE} bytes at once"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_one_by_one_and_not_together() {
        let mut event = Event::default();
        for _ in 0..100 {
            assert!(event.grow(b"data: 12345\n\n", 20));
            assert!(event.grow(b"data: 12345\r\n\r\n", 20));
        }
        assert!(event.grow(b"data: 1234567890\n", 20));
        assert!(!event.grow(b"data: 1234567890\n", 20));
    }
}
