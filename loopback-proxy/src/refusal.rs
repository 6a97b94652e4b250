//! Every reason for which the proxy itself refuses a connection or a request: its status, its
//! code, its sentence and the next step. It decides nothing.

use crate::body::BodyError;
use crate::head::HeadError;
use crate::local_reply::LocalReply;

/// The reasons, one counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    NotOurUser,
    BadHost,
    BadOrigin,
    CrossSite,
    BadFraming,
    BadTarget,
    HeadTooLarge,
    HeadTimeout,
    BadToken,
    RateLimited,
    TooManyConnections,
}

impl Reason {
    pub(crate) const COUNT: usize = 11;

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A refusal with its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotOurUser,
    /// No `Host`, several, or one that is not this proxy's.
    BadHost,
    BadOrigin,
    CrossSite,
    Head(HeadError),
    /// Contradicting or unknown framing fields, named.
    Framing(&'static str),
    Body(BodyError),
    /// The client ended its side in the middle of a head.
    HeadCut,
    MethodNotAllowed,
    BadTarget,
    StatusPageMethod,
    HeadTimeout,
    TokenMissing,
    TokenWrong,
    RateLimited,
    TooManyConnections,
}

impl Refusal {
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::NotOurUser => Reason::NotOurUser,
            Self::BadHost => Reason::BadHost,
            Self::BadOrigin => Reason::BadOrigin,
            Self::CrossSite => Reason::CrossSite,
            Self::Head(HeadError::TooLarge | HeadError::TooManyHeaders)
            | Self::Body(BodyError::TrailersTooLarge) => Reason::HeadTooLarge,
            Self::Head(_) | Self::Framing(_) | Self::Body(_) | Self::HeadCut => Reason::BadFraming,
            Self::MethodNotAllowed | Self::BadTarget | Self::StatusPageMethod => Reason::BadTarget,
            Self::HeadTimeout => Reason::HeadTimeout,
            Self::TokenMissing | Self::TokenWrong => Reason::BadToken,
            Self::RateLimited => Reason::RateLimited,
            Self::TooManyConnections => Reason::TooManyConnections,
        }
    }

    pub(crate) fn reply(self) -> LocalReply {
        let (status, code, message, hint) = match self {
            Self::NotOurUser => (
                403,
                "not_our_user",
                "this proxy serves only programs of the user who started it".to_owned(),
                "run homing as your own user; if you did, keep your side of the connection open \
                 until the answer is there",
            ),
            Self::BadHost => (
                421,
                "bad_host",
                "the Host field does not name this proxy".to_owned(),
                "use the address that `homing status` shows, or localhost with the same port",
            ),
            Self::BadOrigin => (
                403,
                "bad_origin",
                "a page of another origin may not use this proxy".to_owned(),
                "open the page through this proxy's own address",
            ),
            Self::CrossSite => (
                403,
                "cross_site",
                "another site may not send requests to this proxy".to_owned(),
                "open the address yourself instead of following a request of that site",
            ),
            Self::Head(error @ (HeadError::TooLarge | HeadError::TooManyHeaders)) => (
                431,
                "head_too_large",
                error.to_string(),
                "send fewer or shorter header fields",
            ),
            Self::Head(error) => (400, "bad_framing", error.to_string(), PLAIN_HTTP),
            Self::Framing(what) => (400, "bad_framing", what.to_owned(), PLAIN_HTTP),
            Self::Body(error @ BodyError::TrailersTooLarge) => (
                431,
                "head_too_large",
                error.to_string(),
                "send fewer or shorter trailers",
            ),
            Self::Body(error) => (400, "bad_framing", error.to_string(), PLAIN_HTTP),
            Self::HeadCut => (
                400,
                "bad_framing",
                "the connection was closed in the middle of a request head".to_owned(),
                PLAIN_HTTP,
            ),
            Self::MethodNotAllowed => (
                405,
                "bad_target",
                "CONNECT and TRACE are not served".to_owned(),
                "this is no forward proxy: request a path, such as /api/health",
            ),
            Self::BadTarget => (
                400,
                "bad_target",
                "the request target is not a path".to_owned(),
                "this is no forward proxy: request a path, such as /api/health",
            ),
            Self::StatusPageMethod => (
                405,
                "bad_target",
                "the proxy's own page answers GET and HEAD only".to_owned(),
                "use GET",
            ),
            Self::HeadTimeout => (
                408,
                "head_timeout",
                "the request head did not arrive in time".to_owned(),
                "send the whole head at once",
            ),
            Self::TokenMissing => (
                401,
                "token_required",
                "this proxy needs its token".to_owned(),
                "send `Authorization: Bearer` with the content of the token file that \
                 `homing status` names; it changes at every start",
            ),
            Self::TokenWrong => (
                401,
                "bad_token",
                "this is not the token of the running proxy".to_owned(),
                "read the token file again: the token changes at every start",
            ),
            Self::RateLimited => (
                429,
                "rate_limited",
                "too many new connections in a short time".to_owned(),
                "keep connections open, or try again in a second",
            ),
            Self::TooManyConnections => (
                503,
                "too_many_connections",
                "too many connections are open at once".to_owned(),
                "close some, or try again in a moment",
            ),
        };
        LocalReply::error(status, code, &message, hint)
    }
}

const PLAIN_HTTP: &str = "send plain HTTP/1.1 with one unambiguous length";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let all = [
            Reason::NotOurUser,
            Reason::BadHost,
            Reason::BadOrigin,
            Reason::CrossSite,
            Reason::BadFraming,
            Reason::BadTarget,
            Reason::HeadTooLarge,
            Reason::HeadTimeout,
            Reason::BadToken,
            Reason::RateLimited,
            Reason::TooManyConnections,
        ];
        let indices: Vec<usize> = all.iter().map(|reason| reason.index()).collect();
        assert_eq!(indices, (0..Reason::COUNT).collect::<Vec<_>>());
    }
}
