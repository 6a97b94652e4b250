//! Strict reading of an HTTP/1.1 message head from bytes that arrive in pieces: where it ends, and
//! what a request head says. Pure. It decides syntax only; whether a request may pass is `guard`.

use httparse::{Header, ParserConfig, Status};
use memchr::memchr3;

/// The largest head, request or response, trailers included.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// The most header fields in one head: browsers send about 20.
pub(crate) const MAX_HEADERS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("the head is larger than 64 KiB")]
    TooLarge,
    #[error("the head has more than 100 header fields")]
    TooManyHeaders,
    #[error("a line ends without a carriage return")]
    BareLf,
    #[error("a carriage return stands alone")]
    BareCr,
    #[error("the head contains a NUL byte")]
    Nul,
    #[error("a header field is continued on a second line")]
    ObsFold,
    #[error("the head starts with an empty line")]
    LeadingEmptyLine,
    #[error("the head is not valid HTTP/1.1")]
    Syntax,
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
}

/// Finds the end of a head. It remembers how far it has looked, so a head that arrives byte by
/// byte costs no more than one that arrives whole.
#[derive(Debug, Default, Clone)]
pub(crate) struct HeadScanner {
    position: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScanner {
    /// `bytes` starts where the head starts and has grown since the last call, never changed.
    /// Returns the length of the head, its empty line included, once all of it is there.
    pub(crate) fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let end = bytes.len().min(MAX_HEAD);
        loop {
            let rest = bytes.get(self.position..end).unwrap_or_default();
            let starts_line = self.position == self.line_start;
            if starts_line && matches!(rest.first(), Some(b' ' | b'\t')) {
                return Err(HeadError::ObsFold);
            }
            let Some(found) = memchr3(b'\n', b'\r', 0, rest) else {
                self.position = end.max(self.position);
                break;
            };
            let at = self.position + found;
            match (rest.get(found), rest.get(found + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    if at == self.line_start {
                        return if at == 0 {
                            Err(HeadError::LeadingEmptyLine)
                        } else {
                            Ok(Some(at + 2))
                        };
                    }
                    self.take_line(at + 2)?;
                }
                (Some(b'\r'), Some(_)) => return Err(HeadError::BareCr),
                // What follows it is not there yet; the next look begins with it.
                (Some(b'\r'), None) => {
                    self.position = at;
                    break;
                }
                (Some(b'\n'), _) => return Err(HeadError::BareLf),
                _ => return Err(HeadError::Nul),
            }
        }
        if bytes.len() > MAX_HEAD {
            return Err(HeadError::TooLarge);
        }
        Ok(None)
    }

    fn take_line(&mut self, end: usize) -> Result<(), HeadError> {
        self.lines += 1;
        self.line_start = end;
        self.position = end;
        // The first line is not a header field.
        if self.lines > MAX_HEADERS + 1 {
            return Err(HeadError::TooManyHeaders);
        }
        Ok(())
    }
}

/// Room for the header fields of one head, on the caller's stack.
pub(crate) type HeaderRoom<'b> = [Header<'b>; MAX_HEADERS];

pub(crate) const fn header_room<'b>() -> HeaderRoom<'b> {
    [httparse::EMPTY_HEADER; MAX_HEADERS]
}

/// A request head as it was written; nothing is decoded or joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'h, 'b> {
    pub(crate) method: &'b str,
    pub(crate) target: &'b str,
    /// 0 or 1, of HTTP/1.
    pub(crate) minor: u8,
    pub(crate) headers: &'h [Header<'b>],
}

/// Parses a complete head, as [`HeadScanner`] found it.
pub(crate) fn parse_request<'h, 'b>(
    head: &'b [u8],
    room: &'h mut HeaderRoom<'b>,
) -> Result<RequestHead<'h, 'b>, HeadError> {
    let mut request = httparse::Request::new(room);
    let parsed = ParserConfig::default()
        .parse_request(&mut request, head)
        .map_err(|e| match e {
            httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
            httparse::Error::Version => HeadError::Version,
            _ => HeadError::Syntax,
        })?;
    if parsed != Status::Complete(head.len()) {
        return Err(HeadError::Syntax);
    }
    match (request.method, request.path, request.version) {
        (Some(method), Some(target), Some(minor @ (0 | 1))) => Ok(RequestHead {
            method,
            target,
            minor,
            headers: request.headers,
        }),
        _ => Err(HeadError::Version),
    }
}

/// The entries of a comma-separated list, trimmed, without empty ones.
pub(crate) fn list_entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests;
