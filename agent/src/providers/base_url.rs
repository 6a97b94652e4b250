//! Where a provider may be: the address that its key and the conversations are sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Longest address that is stored.
const MAX_LEN: usize = 512;

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBaseUrl {
    /// Not an absolute http or https URL.
    #[error("the address is not an http or https URL")]
    NotHttp,
    /// It names a user or a password: they would be in lists and logs.
    #[error("the address holds a user name or password; the key belongs into api_key")]
    UserInfo,
    /// It has a query or a fragment, behind which no path can be put.
    #[error("the address has a query or a fragment")]
    Query,
    /// Plain http to somewhere that is not this host or a private network.
    #[error("plain http goes to loopback or private addresses only; use https")]
    PlainHttp,
    /// Link-local addresses: where clouds hand out credentials to whoever asks.
    #[error("link-local addresses are not asked")]
    LinkLocal,
    /// Too long.
    #[error("the address is longer than {MAX_LEN} characters")]
    TooLong,
}

/// Checks and normalises an address: no slash at its end.
///
/// # Errors
/// [`BadBaseUrl`].
pub fn base_url(text: &str) -> Result<Url, BadBaseUrl> {
    let text = text.trim();
    if text.len() > MAX_LEN {
        return Err(BadBaseUrl::TooLong);
    }
    let mut url = Url::parse(text).map_err(|_| BadBaseUrl::NotHttp)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(BadBaseUrl::NotHttp);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadBaseUrl::UserInfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BadBaseUrl::Query);
    }
    let address = address(&url);
    if address.is_some_and(is_link_local) {
        return Err(BadBaseUrl::LinkLocal);
    }
    if url.scheme() == "http" && !is_near(&url) {
        return Err(BadBaseUrl::PlainHttp);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether an address is on this host or in a private network.
#[must_use]
pub fn is_near(url: &Url) -> bool {
    match address(url) {
        Some(address) => address.is_loopback() || is_private(address),
        None => url.host_str() == Some("localhost"),
    }
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().ok()?;
    Some(match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    })
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || is_shared(v4),
        IpAddr::V6(v6) => is_unique_local(v6),
    }
}

/// 100.64.0.0/10 (RFC 6598), where overlay networks put their hosts.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

/// fc00::/7 (RFC 4193).
fn is_unique_local(address: Ipv6Addr) -> bool {
    address.octets()[0] & 0xfe == 0xfc
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_anywhere_and_plain_http_to_near_addresses_only() {
        for (text, kept) in [
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            (" http://127.0.0.1:8080 ", "http://127.0.0.1:8080/"),
            ("http://localhost:1234/v1", "http://localhost:1234/v1"),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
            ("http://192.168.1.7/v1", "http://192.168.1.7/v1"),
            ("http://100.100.1.1/v1", "http://100.100.1.1/v1"),
            ("http://[fd00::1]/v1", "http://[fd00::1]/v1"),
        ] {
            assert_eq!(base_url(text).unwrap().as_str(), kept, "{text}");
        }
    }

    #[test]
    fn addresses_that_leak_or_mislead_are_refused() {
        use BadBaseUrl::{LinkLocal, NotHttp, PlainHttp, Query, TooLong, UserInfo};
        for (text, error) in [
            ("api.openai.com/v1", NotHttp),
            ("ftp://example.org", NotHttp),
            ("file:///etc/passwd", NotHttp),
            ("unix:/run/x", NotHttp),
            ("https://sk-1@api.openai.com/v1", UserInfo),
            ("https://a:b@api.openai.com/v1", UserInfo),
            ("https://api.openai.com/v1?key=1", Query),
            ("https://api.openai.com/v1#x", Query),
            ("http://api.openai.com/v1", PlainHttp),
            ("http://8.8.8.8/v1", PlainHttp),
            ("http://[2001:db8::1]/v1", PlainHttp),
            ("http://[::ffff:8.8.8.8]/v1", PlainHttp),
            ("http://127.0.0.1.example.org/v1", PlainHttp),
            ("http://169.254.169.254/latest", LinkLocal),
            ("https://[fe80::1]/v1", LinkLocal),
        ] {
            assert_eq!(base_url(text).unwrap_err(), error, "{text}");
        }
        let long = format!("https://example.org/{}", "a".repeat(MAX_LEN));
        assert_eq!(base_url(&long).unwrap_err(), TooLong);
    }
}
