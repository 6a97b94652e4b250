//! Follows the responses in the bytes that come from the agent: where each ends, interim ones, a
//! switch of protocol, and whether the stream may be used again. Pure; it changes no byte.

use httparse::Status;

use crate::body::{Body, BodyError};
use crate::head::{HeadError, HeadScanner, header_room, list_entries};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("the response head is not valid HTTP/1.1")]
    Head(#[from] HeadError),
    #[error("the response body is not framed as its head says")]
    Body(#[from] BodyError),
    #[error("the response has contradicting lengths")]
    Framing,
    #[error("the protocol was switched though the request did not ask for it")]
    UnaskedSwitch,
}

/// What the request was, as far as it decides where its response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) head_only: bool,
    pub(crate) upgrade: bool,
}

/// Follows the response to one request.
#[derive(Debug)]
pub(crate) struct Response {
    asked: Asked,
    phase: Phase,
    close: bool,
    event_stream: bool,
}

#[derive(Debug)]
enum Phase {
    Head(HeadScanner),
    Body(Body),
    Opaque,
}

impl Response {
    pub(crate) fn new(asked: Asked) -> Self {
        let phase = Phase::Head(HeadScanner::default());
        Self {
            asked,
            phase,
            close: false,
            event_stream: false,
        }
    }

    /// Bytes both ways, with no message boundaries at all.
    pub(crate) fn opaque() -> Self {
        let asked = Asked {
            head_only: false,
            upgrade: true,
        };
        Self {
            asked,
            phase: Phase::Opaque,
            close: true,
            event_stream: false,
        }
    }

    /// Takes the bytes that follow those already taken, and returns how many more may be passed
    /// on. A head is taken only when it is complete; fewer than given after [`Self::is_done`] means
    /// that the agent sent more than this response.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, ResponseError> {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            match &mut self.phase {
                Phase::Head(scanner) => {
                    let Some(end) = scanner.find_end(rest)? else {
                        return Ok(taken);
                    };
                    self.take_head(rest.get(..end).unwrap_or_default())?;
                    taken += end;
                }
                Phase::Body(body) => return Ok(taken + body.advance(rest)?),
                Phase::Opaque => return Ok(bytes.len()),
            }
        }
    }

    /// The final response's head was taken, so nothing else can be answered any more.
    pub(crate) const fn has_started(&self) -> bool {
        !matches!(self.phase, Phase::Head(_))
    }

    pub(crate) const fn is_done(&self) -> bool {
        match &self.phase {
            Phase::Body(body) => body.is_done(),
            _ => false,
        }
    }

    pub(crate) const fn is_opaque(&self) -> bool {
        matches!(self.phase, Phase::Opaque)
    }

    pub(crate) const fn is_event_stream(&self) -> bool {
        self.event_stream
    }

    /// The connection ends after this response.
    pub(crate) const fn closes(&self) -> bool {
        self.close
    }

    /// Whether an orderly end of the agent's stream here is the end of the response.
    pub(crate) const fn may_end_here(&self) -> bool {
        match &self.phase {
            Phase::Head(_) => false,
            Phase::Body(body) => body.is_done() || body.ends_with_stream(),
            Phase::Opaque => true,
        }
    }

    fn take_head(&mut self, head: &[u8]) -> Result<(), ResponseError> {
        let mut room = header_room();
        let mut parsed = httparse::Response::new(&mut room);
        match parsed.parse(head) {
            Ok(Status::Complete(length)) if length == head.len() => {}
            _ => return Err(HeadError::Syntax.into()),
        }
        let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(HeadError::Syntax.into());
        };
        match code {
            101 if self.asked.upgrade => {
                self.phase = Phase::Opaque;
                self.close = true;
                return Ok(());
            }
            101 => return Err(ResponseError::UnaskedSwitch),
            100..=199 => {
                self.phase = Phase::Head(HeadScanner::default());
                return Ok(());
            }
            200..=599 => {}
            _ => return Err(HeadError::Syntax.into()),
        }
        let fields = Fields::read(parsed.headers)?;
        self.close = fields.close || (minor == 0 && !fields.keep_alive);
        let no_body = self.asked.head_only || matches!(code, 204 | 304);
        self.event_stream = fields.event_stream && !no_body;
        let body = if no_body {
            Body::none()
        } else if fields.chunked {
            Body::chunked(|_| true)
        } else if let Some(length) = fields.length {
            Body::length(length)
        } else {
            Body::until_end()
        };
        self.close |= body.ends_with_stream();
        self.phase = Phase::Body(body);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    event_stream: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, ResponseError> {
        let mut fields = Self::default();
        for header in headers {
            let (name, value) = (header.name, header.value.trim_ascii());
            if name.eq_ignore_ascii_case("content-length") {
                let length = decimal(value).ok_or(ResponseError::Framing)?;
                if fields.length.is_some() {
                    return Err(ResponseError::Framing);
                }
                fields.length = Some(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if fields.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::Framing);
                }
                fields.chunked = true;
            } else if name.eq_ignore_ascii_case("connection") {
                for entry in list_entries(value) {
                    fields.close |= entry.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= entry.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if name.eq_ignore_ascii_case("content-type") {
                let kind = value.get(..b"text/event-stream".len()).unwrap_or_default();
                fields.event_stream = kind.eq_ignore_ascii_case(b"text/event-stream");
            }
        }
        if fields.chunked && fields.length.is_some() {
            return Err(ResponseError::Framing);
        }
        Ok(fields)
    }
}

/// A length of digits alone: no sign, no list, no blank.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
