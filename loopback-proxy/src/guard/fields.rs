//! One pass over a head's fields that keeps what the guard decides on. It refuses only what is
//! wrong in a field by itself.

use httparse::Header;

use crate::body::Body;
use crate::guard::trailer_allowed;
use crate::head::list_entries;
use crate::refusal::Refusal;
use crate::response::decimal;
use crate::token::{Token, TokenMatch, WEBSOCKET_TOKEN_PREFIX};

/// A field that is meant to occur once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Once<'b> {
    value: Option<&'b [u8]>,
    repeated: bool,
}

impl<'b> Once<'b> {
    pub(crate) const fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    /// The value, if the field occurs exactly once.
    pub(crate) const fn single(&self) -> Option<&'b [u8]> {
        if self.repeated { None } else { self.value }
    }

    fn put(&mut self, value: &'b [u8]) {
        self.repeated = self.value.is_some();
        self.value = Some(value);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Fields<'b> {
    pub(crate) host: Once<'b>,
    pub(crate) origin: Once<'b>,
    pub(crate) fetch_site: Once<'b>,
    pub(crate) fetch_mode: Once<'b>,
    pub(crate) fetch_dest: Once<'b>,
    content_length: Once<'b>,
    transfer_encoding: Once<'b>,
    pub(crate) connection_close: bool,
    pub(crate) connection_upgrade: bool,
    pub(crate) upgrade_present: bool,
    pub(crate) upgrade_websocket: bool,
    pub(crate) te: bool,
    pub(crate) token_right: bool,
    pub(crate) token_wrong: bool,
}

impl<'b> Fields<'b> {
    pub(crate) fn read(headers: &[Header<'b>], token: &Token) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            fields.take(header.name, header.value.trim_ascii(), token)?;
        }
        Ok(fields)
    }

    /// The body that the framing fields announce, if they can be read in one way only.
    pub(crate) fn body(&self, minor: u8) -> Result<Body, Refusal> {
        match (
            self.content_length.is_absent(),
            self.transfer_encoding.is_absent(),
        ) {
            (true, true) => Ok(Body::none()),
            (false, false) => Err(Refusal::Framing(
                "the request has both Content-Length and Transfer-Encoding",
            )),
            (false, true) => self
                .content_length
                .single()
                .and_then(decimal)
                .map(Body::length)
                .ok_or(Refusal::Framing("Content-Length is not one decimal number")),
            (true, false) if minor == 0 => {
                Err(Refusal::Framing("HTTP/1.0 has no Transfer-Encoding"))
            }
            (true, false) => self
                .transfer_encoding
                .single()
                .filter(|coding| coding.eq_ignore_ascii_case(b"chunked"))
                .map(|_| Body::chunked(trailer_allowed))
                .ok_or(Refusal::Framing(
                    "Transfer-Encoding is not exactly `chunked`",
                )),
        }
    }

    fn take(&mut self, name: &str, value: &'b [u8], token: &Token) -> Result<(), Refusal> {
        // The length decides first: most fields are compared with one name or none.
        match name.len() {
            2 if name.eq_ignore_ascii_case("te") => self.te = true,
            4 if name.eq_ignore_ascii_case("host") => self.host.put(value),
            6 if name.eq_ignore_ascii_case("origin") => self.origin.put(value),
            7 if name.eq_ignore_ascii_case("upgrade") => {
                self.upgrade_websocket =
                    !self.upgrade_present && value.eq_ignore_ascii_case(b"websocket");
                self.upgrade_present = true;
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for entry in list_entries(value) {
                    self.connection_close |= entry.eq_ignore_ascii_case(b"close");
                    self.connection_upgrade |= entry.eq_ignore_ascii_case(b"upgrade");
                }
            }
            13 if name.eq_ignore_ascii_case("authorization") => {
                if let Some(credential) = bearer(value) {
                    self.take_token(token.matches(credential));
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.content_length.put(value),
            14 if name.eq_ignore_ascii_case("sec-fetch-site") => self.fetch_site.put(value),
            14 if name.eq_ignore_ascii_case("sec-fetch-mode") => self.fetch_mode.put(value),
            14 if name.eq_ignore_ascii_case("sec-fetch-dest") => self.fetch_dest.put(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.transfer_encoding.put(value);
            }
            22 if name.eq_ignore_ascii_case("sec-websocket-protocol") => {
                for entry in list_entries(value).filter_map(websocket_token) {
                    // An entry of this form is nothing but a token, so a foreign one is wrong.
                    match token.matches(entry) {
                        TokenMatch::Right => self.token_right = true,
                        TokenMatch::Wrong | TokenMatch::Foreign => self.token_wrong = true,
                    }
                }
            }
            // Names that some readers take for the framing fields.
            14 if name.eq_ignore_ascii_case("content_length") => {
                return Err(Refusal::Framing(
                    "a field is named like Content-Length but is not it",
                ));
            }
            17 if name.eq_ignore_ascii_case("transfer_encoding") => {
                return Err(Refusal::Framing(
                    "a field is named like Transfer-Encoding but is not it",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_token(&mut self, matched: TokenMatch) {
        match matched {
            TokenMatch::Right => self.token_right = true,
            TokenMatch::Wrong => self.token_wrong = true,
            // A key that the client sends to whatever it thinks it talks to.
            TokenMatch::Foreign => {}
        }
    }
}

/// The credential of an `Authorization: Bearer` value.
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, credential) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| credential.trim_ascii())
}

/// The token in an entry of `Sec-WebSocket-Protocol`.
pub(crate) fn websocket_token(entry: &[u8]) -> Option<&[u8]> {
    entry.strip_prefix(WEBSOCKET_TOKEN_PREFIX.as_bytes())
}
