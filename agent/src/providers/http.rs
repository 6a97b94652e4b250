//! Requests to model APIs: one client, its deadlines, retries before the first byte, and bodies with
//! a bound. What is in the bodies is the adapters' to know.
//!
//! Redirects are not followed and proxies of the environment are not used: the key and the conversation
//! go to the address that somebody entered, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, Response, Url};
use tokio::sync::OnceCell;

use super::ProviderError;
use super::failure::{self, MAX_ERROR_BODY};

/// Bytes of one whole answer: far above what a model says in one go.
pub(super) const MAX_ANSWER: usize = 8 << 20;
/// Tries beside the first. More would only keep a person waiting for the next model.
const RETRIES: u32 = 2;
/// The longest wait that a server may ask for before a retry; for a longer one the next model answers.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);
/// Idle connections are closed before servers close theirs under a request.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Deadlines of requests to providers.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until a connection stands, TLS included; 10 s by default.
    pub connect: Duration,
    /// From a request to the head of its answer; 60 s by default.
    pub head: Duration,
    /// Between two pieces of an answer; 60 s by default.
    pub idle: Duration,
    /// Before the first retry, doubled for the second, give or take a half; 500 ms by default.
    pub backoff: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            backoff: Duration::from_millis(500),
        }
    }
}

/// The client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    times: Times,
    /// Made at first use: it reads the host's certificate authorities.
    client: OnceCell<Result<Client, String>>,
}

/// One request, which can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Cut out of whatever the server writes about its refusal.
    pub(super) secret: Option<super::ApiKey>,
}

/// Body of an answer, in pieces.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, ProviderError>>;

impl Http {
    /// A client with these deadlines.
    #[must_use]
    pub fn new(times: Times) -> Self {
        Self {
            inner: Arc::new(Inner {
                times,
                client: OnceCell::new(),
            }),
        }
    }

    pub(super) fn times(&self) -> Times {
        self.inner.times
    }

    /// The head of an answer of status 2xx.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response, ProviderError> {
        let mut tried = 0;
        loop {
            let (error, wait) = match self.once(ask).await {
                Ok(response) => return Ok(response),
                Err(Once::Final(error)) => return Err(error),
                Err(Once::Again(error, wait)) => (error, wait),
            };
            if tried == RETRIES || wait.is_some_and(|wait| wait > MAX_RETRY_AFTER) {
                return Err(error);
            }
            let mut random = [0];
            // Without randomness all clients wait the same, which is only less good.
            let _ = getrandom::fill(&mut random);
            let wait = wait.unwrap_or_else(|| backoff(self.inner.times.backoff, tried, random[0]));
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    /// A whole body, for answers that are no streams.
    pub(super) async fn read(&self, ask: &Ask) -> Result<Bytes, ProviderError> {
        let pieces = pieces(self.send(ask).await?);
        match collect(pieces, MAX_ANSWER, self.inner.times.idle).await? {
            (body, true) => Ok(body),
            _ => Err(ProviderError::TooLong("its body")),
        }
    }

    async fn once(&self, ask: &Ask) -> Result<Response, Once> {
        let client = self.client().await.map_err(Once::Final)?;
        let request = client
            .request(ask.method.clone(), ask.url.clone())
            .headers(ask.headers.clone())
            .body(ask.body.clone());
        let head = self.inner.times.head;
        let response = match tokio::time::timeout(head, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let unreachable = ProviderError::Unreachable(failure::reason(&error));
                return Err(match error.is_connect() {
                    true => Once::Again(unreachable, None),
                    false => Once::Final(unreachable),
                });
            }
            Err(_) => return Err(Once::Final(ProviderError::Silent(head.as_secs()))),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = retry_after(response.headers());
        let idle = self.inner.times.idle;
        let body = match collect(pieces(response), MAX_ERROR_BODY, idle).await {
            Ok((body, _)) => body,
            // The status says enough.
            Err(_) => Bytes::new(),
        };
        let error = failure::of_answer(status, &body, wait, ask.secret.as_ref());
        let again = matches!(
            error,
            ProviderError::RateLimited { .. } | ProviderError::Unavailable(_)
        );
        Err(if again {
            Once::Again(error, wait)
        } else {
            Once::Final(error)
        })
    }

    async fn client(&self) -> Result<Client, ProviderError> {
        let connect = self.inner.times.connect;
        let made = self.inner.client.get_or_init(|| async move {
            let made = tokio::task::spawn_blocking(move || client(connect)).await;
            made.unwrap_or_else(|_| Err("the agent is stopping".to_owned()))
        });
        made.await.clone().map_err(ProviderError::Unreachable)
    }
}

enum Once {
    Final(ProviderError),
    /// With the wait that the server asked for.
    Again(ProviderError, Option<Duration>),
}

fn client(connect: Duration) -> Result<Client, String> {
    // reqwest panics where nobody has chosen how TLS is done; the program does that, not a library.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err("this program has no TLS".to_owned());
    }
    let builder = || {
        Client::builder()
            .user_agent(concat!("homing/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(connect)
            .pool_idle_timeout(POOL_IDLE)
    };
    builder().build().or_else(|error| {
        // A host without a list of authorities still reaches the model next to it.
        let reason = failure::reason(&error);
        tracing::warn!(reason, "no certificate authorities; only plain http works");
        let none: [reqwest::Certificate; 0] = [];
        let local = builder().tls_certs_only(none).build();
        local.map_err(|error| failure::reason(&error))
    })
}

/// The body of an answer; a connection that ends in it breaks the answer off.
pub(super) fn pieces(response: Response) -> Pieces {
    let stream = response.bytes_stream();
    stream
        .map(|piece| piece.map_err(|_| ProviderError::BrokenOff))
        .boxed()
}

/// What a body says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One document.
    Json,
    /// Something for browsers: no model API answers there.
    Page,
    /// A stream; servers name it in several ways.
    Other,
}

pub(super) fn kind(response: &Response) -> Kind {
    let kind = response.headers().get(CONTENT_TYPE);
    match kind.map_or(&b""[..], http::HeaderValue::as_bytes) {
        kind if kind.starts_with(b"application/json") => Kind::Json,
        kind if kind.starts_with(b"text/html") => Kind::Page,
        _ => Kind::Other,
    }
}

/// Bytes up to a limit, and whether that was all.
async fn collect(
    mut pieces: Pieces,
    limit: usize,
    idle: Duration,
) -> Result<(Bytes, bool), ProviderError> {
    let mut body = Vec::new();
    loop {
        match tokio::time::timeout(idle, pieces.next()).await {
            Ok(None) => return Ok((body.into(), true)),
            Ok(Some(piece)) => {
                let piece = piece?;
                let room = limit - body.len();
                body.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.len() > room {
                    return Ok((body.into(), false));
                }
            }
            Err(_) => return Err(ProviderError::Silent(idle.as_secs())),
        }
    }
}

/// Whole seconds, the form that model APIs use.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

/// Before retry number `tried`: doubled each time, times 0.5 to 1.5.
fn backoff(base: Duration, tried: u32, random: u8) -> Duration {
    base * 2_u32.saturating_pow(tried) * (128 + u32::from(random)) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_a_retry_doubles_and_varies_by_a_half() {
        let base = Duration::from_millis(500);
        assert_eq!(backoff(base, 0, 0), Duration::from_millis(250));
        assert_eq!(backoff(base, 0, 128), base);
        assert_eq!(backoff(base, 1, 128), base * 2);
        assert!(backoff(base, 1, 255) < Duration::from_millis(1_500));
    }

    #[test]
    fn only_whole_seconds_are_a_wait() {
        let after = |value: &'static str| {
            let value = http::HeaderValue::from_static(value);
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(after("-1"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
