//! Whether a request head may pass, and how its body is framed: a pure decision over the head and
//! the rules of the listener it came in on. It does not read, write or count.

mod fields;

use crate::body::Body;
use crate::head::RequestHead;
use crate::refusal::Refusal;
use crate::response::Asked;
use crate::rewrite;
use crate::token::Token;

use fields::Fields;

/// The proxy's own page, answered here and never forwarded.
pub(crate) const STATUS_PATH: &str = "/.homing/proxy";

/// The one path that other sites may link to. Everything else answers requests of programs and of
/// this page; a link there could start downloads or hold streams open.
const LINKED_PATH: &str = "/";

/// What one listener admits.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The values of `Host` that name this listener.
    pub(crate) authorities: Vec<String>,
    pub(crate) token_required: bool,
    /// False for tests and measurements alone: shows that it is the guard who refuses.
    pub(crate) enabled: bool,
}

/// What the principal may be at the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Some program of this user.
    Capped,
    /// Somebody who read the token file.
    Token,
}

/// A request that may pass.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) standing: Standing,
    pub(crate) body: Body,
    pub(crate) asked: Asked,
    /// GET or HEAD without a body: sent again if its stream dies before any response byte.
    pub(crate) replayable: bool,
    /// The client's connection ends after the response.
    pub(crate) close: bool,
    /// `TE` is among the fields, so `Connection` has to name it.
    pub(crate) names_te: bool,
    pub(crate) destination: Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Agent,
    StatusPage,
}

impl Rules {
    pub(crate) fn check(
        &self,
        head: &RequestHead<'_, '_>,
        token: &Token,
    ) -> Result<Admitted, Refusal> {
        let fields = Fields::read(head.headers, token)?;
        let body = fields.body(head.minor)?;
        if self.enabled {
            check_target(head)?;
            self.check_host(&fields)?;
            check_origin(&fields)?;
            check_site(head, &fields)?;
            self.check_token(&fields)?;
        }
        let head_only = head.method == "HEAD";
        let upgrade = head.minor == 1
            && head.method == "GET"
            && fields.connection_upgrade
            && fields.upgrade_websocket
            && body.is_done();
        let destination = if path(head) == STATUS_PATH {
            Destination::StatusPage
        } else {
            Destination::Agent
        };
        if destination == Destination::StatusPage && !head_only && head.method != "GET" {
            return Err(Refusal::StatusPageMethod);
        }
        Ok(Admitted {
            standing: if fields.token_right {
                Standing::Token
            } else {
                Standing::Capped
            },
            replayable: (head_only || head.method == "GET") && body.is_done() && !upgrade,
            body,
            asked: Asked { head_only, upgrade },
            close: head.minor == 0 || fields.connection_close,
            names_te: fields.te,
            destination,
        })
    }

    fn check_host(&self, fields: &Fields<'_>) -> Result<(), Refusal> {
        let host = fields.host.single().ok_or(Refusal::BadHost)?;
        let ours = self
            .authorities
            .iter()
            .any(|own| own.as_bytes().eq_ignore_ascii_case(host));
        if ours { Ok(()) } else { Err(Refusal::BadHost) }
    }

    fn check_token(&self, fields: &Fields<'_>) -> Result<(), Refusal> {
        if fields.token_wrong {
            Err(Refusal::TokenWrong)
        } else if self.token_required && !fields.token_right {
            Err(Refusal::TokenMissing)
        } else {
            Ok(())
        }
    }
}

fn check_target(head: &RequestHead<'_, '_>) -> Result<(), Refusal> {
    if head.method.eq_ignore_ascii_case("CONNECT") || head.method.eq_ignore_ascii_case("TRACE") {
        return Err(Refusal::MethodNotAllowed);
    }
    let plain = head
        .target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if head.target.starts_with('/') && plain {
        Ok(())
    } else {
        Err(Refusal::BadTarget)
    }
}

/// The origin has to be the one that this very request names as its host: a page of another local
/// name or address of the proxy is another origin too.
fn check_origin(fields: &Fields<'_>) -> Result<(), Refusal> {
    if fields.origin.is_absent() {
        return Ok(());
    }
    let origin = fields.origin.single().ok_or(Refusal::BadOrigin)?;
    let host = fields.host.single().ok_or(Refusal::BadOrigin)?;
    let own = origin
        .strip_prefix(b"http://")
        .is_some_and(|authority| authority.eq_ignore_ascii_case(host));
    if own { Ok(()) } else { Err(Refusal::BadOrigin) }
}

fn check_site(head: &RequestHead<'_, '_>, fields: &Fields<'_>) -> Result<(), Refusal> {
    if fields.fetch_site.is_absent() {
        return Ok(());
    }
    match fields.fetch_site.single() {
        Some(b"same-origin" | b"none") => Ok(()),
        // A link on another site to a page here: what it shows is the page's own doing.
        Some(b"cross-site" | b"same-site")
            if head.method == "GET"
                && path(head) == LINKED_PATH
                && fields.fetch_mode.single() == Some(b"navigate")
                && fields.fetch_dest.single() == Some(b"document")
                && !fields.upgrade_present =>
        {
            Ok(())
        }
        _ => Err(Refusal::CrossSite),
    }
}

fn path<'b>(head: &RequestHead<'_, 'b>) -> &'b str {
    head.target.split('?').next().unwrap_or_default()
}

/// Which trailer fields a request may have: none that would have been checked or stripped in its
/// head.
pub(crate) fn trailer_allowed(name: &[u8]) -> bool {
    const HEAD_ONLY: [&str; 12] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "origin",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    !HEAD_ONLY
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
        && !name
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("sec-"))
        && !rewrite::is_stripped(name)
}

#[cfg(test)]
mod tests;
