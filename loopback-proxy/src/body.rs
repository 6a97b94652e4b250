//! Where a message body ends: by length, by chunks or with the stream. Pure; bytes are counted and
//! checked, never changed. Used for requests and for responses.

mod chunked;

use chunked::Chunked;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("a chunk size is not 1 to 16 hexadecimal digits")]
    ChunkSize,
    #[error("a chunk extension is longer than 4 KiB or has a control character")]
    ChunkExtension,
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    #[error("the trailers are larger than 64 KiB")]
    TrailersTooLarge,
    #[error("a trailer field is not valid")]
    TrailerSyntax,
    #[error("a trailer field has a name that only a head may carry")]
    TrailerForbidden,
}

/// Follows one body through the bytes of its stream.
#[derive(Debug)]
pub(crate) struct Body(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilEnd,
    Done,
}

impl Body {
    pub(crate) const fn none() -> Self {
        Self(State::Done)
    }

    pub(crate) const fn length(bytes: u64) -> Self {
        Self(if bytes == 0 {
            State::Done
        } else {
            State::Length(bytes)
        })
    }

    /// A chunked body; `trailer_allowed` is asked for each trailer field's name.
    pub(crate) const fn chunked(trailer_allowed: fn(&[u8]) -> bool) -> Self {
        Self(State::Chunked(Chunked::new(trailer_allowed)))
    }

    /// Everything up to the end of the stream.
    pub(crate) const fn until_end() -> Self {
        Self(State::UntilEnd)
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    pub(crate) const fn ends_with_stream(&self) -> bool {
        matches!(self.0, State::UntilEnd)
    }

    /// Takes the next bytes of the stream and returns how many of them belong to this body. Fewer
    /// than given means that the body is done and the rest is the next message.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        match &mut self.0 {
            State::Done => Ok(0),
            State::UntilEnd => Ok(bytes.len()),
            State::Length(left) => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                if *left == 0 {
                    self.0 = State::Done;
                }
                // Not more than `bytes.len()`, so it fits.
                Ok(usize::try_from(taken).unwrap_or(bytes.len()))
            }
            State::Chunked(chunked) => {
                let taken = chunked.advance(bytes)?;
                if chunked.is_done() {
                    self.0 = State::Done;
                }
                Ok(taken)
            }
        }
    }
}

#[cfg(test)]
mod tests;
