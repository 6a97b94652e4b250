//! Server-sent events (WHATWG HTML, 9.2.6), byte by byte and bounded. Knows nothing of what is in
//! them, nor where the bytes come from.
//!
//! Every byte is looked at once: a server that sends one at a time costs no more than its bytes.

use std::collections::VecDeque;

use super::ProviderError;

/// Bytes of one event: room for a tool call with large arguments in one piece.
pub(super) const MAX_EVENT: usize = 1 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// Its name; empty when the server gave none.
    pub(super) name: String,
    /// Its data, lines joined.
    pub(super) data: String,
}

/// Reads events out of bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// A line feed that follows belongs to this carriage return.
    after_return: bool,
    begun: bool,
}

impl SseParser {
    /// Takes bytes, and puts the events that they complete into `out`.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        out: &mut VecDeque<SseEvent>,
    ) -> Result<(), ProviderError> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + self.data.len() + part.len() > MAX_EVENT {
                return Err(ProviderError::TooLong("one event of its stream"));
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else {
                return Ok(());
            };
            self.after_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.take_line(out)?;
        }
        Ok(())
    }

    /// The bytes have ended. Whole lines count, although no empty one followed; a line that was cut
    /// does not.
    pub(super) fn finish(&mut self, out: &mut VecDeque<SseEvent>) -> Result<(), ProviderError> {
        self.line.clear();
        self.dispatch(out)
    }

    fn take_line(&mut self, out: &mut VecDeque<SseEvent>) -> Result<(), ProviderError> {
        let line = std::mem::take(&mut self.line);
        let mut text = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            text = text.strip_prefix(BOM).unwrap_or(text);
        }
        if text.is_empty() {
            return self.dispatch(out);
        }
        let (field, value) = match text.iter().position(|byte| *byte == b':') {
            Some(colon) => (&text[..colon], &text[colon + 1..]),
            None => (text, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = value.to_vec(),
            // Comments, ids and the time to wait before a new connection, which there is not.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, out: &mut VecDeque<SseEvent>) -> Result<(), ProviderError> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return Ok(());
        }
        let text = |bytes| {
            String::from_utf8(bytes)
                .map_err(|_| ProviderError::Malformed("its stream is not UTF-8"))
        };
        out.push_back(SseEvent {
            name: text(name)?,
            data: text(data)?,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, ProviderError> {
        let (mut parser, mut out) = (SseParser::default(), VecDeque::new());
        for piece in pieces {
            parser.push(piece, &mut out)?;
        }
        parser.finish(&mut out)?;
        Ok(out
            .into_iter()
            .map(|event| (event.name, event.data))
            .collect())
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    const STREAM: &str = "\u{feff}: a comment\r\n\r\nevent: one\r\ndata: {\"a\":\"\u{e4}\"}\r\n\r\n\
        data:two\rdata: lines\r\rid: 7\nretry: 10\ndata\n\nevent: without data\n\ndata: last\n\n";

    fn expected() -> Vec<(String, String)> {
        vec![
            event("one", "{\"a\":\"\u{e4}\"}"),
            event("", "two\nlines"),
            event("", ""),
            event("", "last"),
        ]
    }

    #[test]
    fn a_stream_is_the_same_events_wherever_it_is_cut_in_two() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(parse(&[first, second]).unwrap(), expected(), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&single).unwrap(), expected());
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_event_and_a_whole_one_is() {
        assert_eq!(
            parse(&[b"data: a\n\ndata: b\n"]).unwrap(),
            [event("", "a"), event("", "b")]
        );
        assert_eq!(parse(&[b"data: a\n\ndata: b"]).unwrap(), [event("", "a")]);
    }

    #[test]
    fn an_event_that_grows_above_the_limit_is_refused_before_it_is_whole() {
        let line = vec![b'x'; MAX_EVENT];
        let error = parse(&[b"data: ", &line]).unwrap_err();
        assert_eq!(error, ProviderError::TooLong("one event of its stream"));
        let half = [
            b"data: ".to_vec(),
            vec![b'x'; MAX_EVENT / 2],
            b"\n".to_vec(),
        ]
        .concat();
        assert!(parse(&[&half, &half, &half]).is_err());
        assert!(parse(&[b"data: \xff\n\n"]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = parse(&pieces);
        }
    }
}
