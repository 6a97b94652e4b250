//! The chunked transfer coding (RFC 9112, 7.1), read strictly: every line ends with CRLF, sizes
//! have no blanks, and trailers have a name.

use super::BodyError;

/// 16 hexadecimal digits are all that a `u64` holds.
const MAX_SIZE_DIGITS: u8 = 16;

/// Extensions have no use here; a few exist in the wild and all are short.
const MAX_EXTENSION: usize = 4 * 1024;

/// As large as a head may be.
const MAX_TRAILERS: usize = crate::head::MAX_HEAD;

/// The longest trailer name that is compared with the names not allowed.
const MAX_TRAILER_NAME: usize = 256;

#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    trailer_allowed: fn(&[u8]) -> bool,
    /// The name of the trailer field being read. Empty, unallocated, for nearly every body.
    name: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size { digits: u8, size: u64 },
    Extension { size: u64, length: usize },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl Chunked {
    pub(crate) const fn new(trailer_allowed: fn(&[u8]) -> bool) -> Self {
        Self {
            state: State::Size { digits: 0, size: 0 },
            trailer_allowed,
            name: Vec::new(),
            trailer_bytes: 0,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Done => break,
                State::Data { left } => {
                    let here = ((bytes.len() - at) as u64).min(left);
                    self.state = match left - here {
                        0 => State::DataCr,
                        left => State::Data { left },
                    };
                    // Not more than what is left of `bytes`, so it fits.
                    at += usize::try_from(here).unwrap_or(bytes.len() - at);
                }
                state => {
                    self.state = self.step(state, byte)?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn step(&mut self, state: State, byte: u8) -> Result<State, BodyError> {
        Ok(match state {
            State::Size { digits, size } => match byte {
                b'\r' if digits > 0 => State::SizeLf { size },
                b';' if digits > 0 => State::Extension { size, length: 1 },
                _ => {
                    let digit = char::from(byte).to_digit(16).ok_or(BodyError::ChunkSize)?;
                    if digits == MAX_SIZE_DIGITS {
                        return Err(BodyError::ChunkSize);
                    }
                    State::Size {
                        digits: digits + 1,
                        size: (size << 4) | u64::from(digit),
                    }
                }
            },
            State::Extension { size, length } => match byte {
                b'\r' => State::SizeLf { size },
                _ if is_control(byte) || length >= MAX_EXTENSION => {
                    return Err(BodyError::ChunkExtension);
                }
                _ => State::Extension {
                    size,
                    length: length + 1,
                },
            },
            State::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => State::TrailerStart,
                (b'\n', left) => State::Data { left },
                _ => return Err(BodyError::ChunkSize),
            },
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => State::Size { digits: 0, size: 0 },
            State::DataCr | State::DataLf => return Err(BodyError::ChunkEnd),
            State::EndLf if byte == b'\n' => State::Done,
            State::EndLf => return Err(BodyError::TrailerSyntax),
            State::Data { .. } | State::Done => state,
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                self.trailer_step(state, byte)?
            }
        })
    }

    fn trailer_step(&mut self, state: State, byte: u8) -> Result<State, BodyError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILERS {
            return Err(BodyError::TrailersTooLarge);
        }
        match (state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerName, b':') => {
                let allowed = (self.trailer_allowed)(&self.name);
                self.name.clear();
                if allowed {
                    Ok(State::TrailerValue)
                } else {
                    Err(BodyError::TrailerForbidden)
                }
            }
            (State::TrailerStart | State::TrailerName, _) => {
                if !is_token(byte) || self.name.len() == MAX_TRAILER_NAME {
                    return Err(BodyError::TrailerSyntax);
                }
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if !is_control(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            _ => Err(BodyError::TrailerSyntax),
        }
    }
}

const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// A character of a field name (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
