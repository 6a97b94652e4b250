//! One page over HTTP, with every host on the way looked at first. The addresses that were looked at
//! are the ones that are connected to: the name is not resolved a second time.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::guard;
use crate::tools::settings::FetchSettings;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Bytes of a page that are read.
const MAX_PAGE: usize = 1 << 20;
/// Letters of an address.
const MAX_URL: usize = 2_048;
/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 32;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not a URL, or not one of a page.
    #[error("this is not the address of a page: {0}")]
    Url(&'static str),
    /// A port that nobody allowed.
    #[error("the port {0} may not be asked; the owner can allow it in tools.fetch.ports")]
    Port(u16),
    /// An address that is not public.
    #[error(
        "{host} is at {address}, which is {what} and may not be asked; the owner can allow it in \
         tools.fetch.allow_private"
    )]
    Address {
        /// As it was asked for.
        host: String,
        /// Where it is.
        address: IpAddr,
        /// What that is.
        what: &'static str,
    },
    /// The name has no address.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// Which.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It leads on and on.
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    /// From a protected page to an open one.
    #[error("it redirects from https to http")]
    Downgrade,
    /// It says that it leads on, but not where to.
    #[error("it redirects to nowhere")]
    NoLocation,
    /// The connection failed.
    #[error("{host} cannot be reached ({why})")]
    Connect {
        /// Which.
        host: String,
        /// In a word.
        why: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Too slow.
    #[error("the page did not come in {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// Nothing that a model can read.
    #[error("it is of the kind {0:?}, which is no text")]
    Kind(String),
    /// The client cannot be made.
    #[error("this agent has no way to fetch pages")]
    Client(#[source] Option<reqwest::Error>),
}

/// Finds the addresses of a name.
pub trait Lookup: std::fmt::Debug + Send + Sync {
    /// All of them.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As this machine resolves names.
#[derive(Debug)]
pub struct SystemLookup;

/// What came, and from where.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
    /// Whether the page is longer.
    pub(super) cut: bool,
}

/// Fetches pages. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    client: Client,
    settings: Arc<FetchSettings>,
}

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

impl Fetcher {
    /// Blocks: reads the machine's certificate authorities.
    pub(super) fn new(
        settings: Arc<FetchSettings>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, FetchError> {
        // Without one the builder would panic; the program chooses it.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(FetchError::Client(None));
        }
        let guarded = Guarded {
            lookup,
            settings: settings.clone(),
        };
        let client = Client::builder()
            .user_agent(concat!("homing/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT)
            // A connection that is kept would be used again without being looked at.
            .pool_max_idle_per_host(0)
            .dns_resolver(guarded)
            .build()
            .map_err(|error| FetchError::Client(Some(error)))?;
        Ok(Self { client, settings })
    }

    /// The page, after redirects. The caller limits the time.
    pub(super) async fn fetch(&self, url: &str) -> Result<Fetched, FetchError> {
        if url.len() > MAX_URL {
            return Err(FetchError::Url("it is too long"));
        }
        let mut url = Url::parse(url).map_err(|_| FetchError::Url("it cannot be read"))?;
        for _ in 0..=MAX_REDIRECTS {
            self.look_at(&url)?;
            let response = self.ask(&url).await?;
            if !is_redirect(response.status()) {
                return page(url, response).await;
            }
            let location = response.headers().get(header::LOCATION);
            url = follow(&url, location.and_then(|value| value.to_str().ok()))?;
        }
        Err(FetchError::Redirects)
    }

    /// What can be said before anything is resolved. A host that is an address is never resolved, so
    /// it is looked at here; numbers in other forms have become addresses when the URL was read.
    fn look_at(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Url("it begins neither with http: nor https:"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Url("it holds a name or a password"));
        }
        let host = url.host_str().ok_or(FetchError::Url("it has no host"))?;
        let port = url.port_or_known_default().unwrap_or(0);
        if !self.settings.ports.contains(&port) {
            return Err(FetchError::Port(port));
        }
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        match plain.parse() {
            Ok(address) => judge(&self.settings, host, address),
            Err(_) => Ok(()),
        }
    }

    async fn ask(&self, url: &Url) -> Result<Response, FetchError> {
        let request = self.client.get(url.clone()).header(
            header::ACCEPT,
            "text/*, application/json, application/xml;q=0.9",
        );
        request.send().await.map_err(|error| failed(url, error))
    }
}

#[derive(Debug)]
struct Guarded {
    lookup: Arc<dyn Lookup>,
    settings: Arc<FetchSettings>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let found = self.lookup.lookup(host.clone());
        let settings = self.settings.clone();
        async move {
            let unresolved = |source| FetchError::Resolve {
                host: host.clone(),
                source,
            };
            let mut found = found.await.map_err(unresolved)?;
            found.truncate(MAX_ADDRESSES);
            if found.is_empty() {
                return Err(unresolved(io::ErrorKind::NotFound.into()).into());
            }
            // One that is not public spoils them all: a name that is both is a trap.
            for address in &found {
                judge(&settings, &host, *address)?;
            }
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        }
        .boxed()
    }
}

fn judge(settings: &FetchSettings, host: &str, address: IpAddr) -> Result<(), FetchError> {
    match guard::refusal(address, &settings.allow_private) {
        None => Ok(()),
        Some(what) => Err(FetchError::Address {
            host: host.to_owned(),
            address,
            what,
        }),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn follow(from: &Url, location: Option<&str>) -> Result<Url, FetchError> {
    let location = location
        .filter(|location| location.len() <= MAX_URL)
        .ok_or(FetchError::NoLocation)?;
    let next = from.join(location).map_err(|_| FetchError::NoLocation)?;
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(FetchError::Downgrade);
    }
    Ok(next)
}

async fn page(url: Url, mut response: Response) -> Result<Fetched, FetchError> {
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("text/plain");
    let kind: String = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .take(100)
        .collect::<String>()
        .to_ascii_lowercase();
    if !is_text(&kind) {
        return Err(FetchError::Kind(kind));
    }
    let status = response.status();
    let mut body = Vec::new();
    let mut cut = false;
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| failed(&url, error))?
    {
        let room = MAX_PAGE - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Fetched {
        url,
        status,
        kind,
        body,
        cut,
    })
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || matches!(
            kind,
            "application/json" | "application/xml" | "application/yaml"
        )
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

/// Our own words when the guard stopped it, else a word for what failed.
fn failed(url: &Url, error: reqwest::Error) -> FetchError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        match inner.downcast_ref::<FetchError>() {
            Some(FetchError::Address {
                host,
                address,
                what,
            }) => {
                return FetchError::Address {
                    host: host.clone(),
                    address: *address,
                    what,
                };
            }
            Some(FetchError::Resolve { host, source }) => {
                return FetchError::Resolve {
                    host: host.clone(),
                    source: source.kind().into(),
                };
            }
            _ => cause = inner.source(),
        }
    }
    let why = if error.is_timeout() {
        "it takes too long"
    } else if error.is_connect() {
        "no connection"
    } else {
        "it broke off"
    };
    FetchError::Connect {
        host: url.host_str().unwrap_or_default().to_owned(),
        why,
        source: error.without_url(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        let safe = url("https://a.example/x/y");
        assert_eq!(
            follow(&safe, Some("/z")).unwrap(),
            url("https://a.example/z")
        );
        assert_eq!(
            follow(&safe, Some("//b.example/")).unwrap(),
            url("https://b.example/")
        );
        assert!(matches!(
            follow(&safe, Some("http://a.example/z")),
            Err(FetchError::Downgrade)
        ));
        let open = url("http://a.example/");
        assert!(follow(&open, Some("https://a.example/")).is_ok());
        assert!(matches!(follow(&open, None), Err(FetchError::NoLocation)));
    }
}
