//! The engine's log stream as lines. Without a terminal it is cut into frames: one byte of stream,
//! three zeros, a length of four bytes, and that many bytes.

use std::borrow::Cow;

/// Length of a frame's head.
const HEAD: usize = 8;

/// The text of a log, whether it came in frames or as it is.
pub(super) fn text(bytes: &[u8]) -> String {
    match unframed(bytes) {
        Some(plain) => String::from_utf8_lossy(&plain).into_owned(),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// `None` when these are no frames. A frame that is cut off at the end counts as far as it goes.
fn unframed(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = bytes;
    let mut plain = Vec::new();
    while !rest.is_empty() {
        let Some((head, after)) = rest.split_first_chunk::<HEAD>() else {
            // A head that is cut off can only be the end of frames.
            return (!plain.is_empty()).then_some(plain.into());
        };
        let [stream, 0, 0, 0, length @ ..] = head else {
            return None;
        };
        if *stream > 2 {
            return None;
        }
        let length = u32::from_be_bytes(*length) as usize;
        let (frame, next) = after.split_at(length.min(after.len()));
        plain.extend_from_slice(frame);
        rest = next;
    }
    Some(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend((text.len() as u32).to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn frames_of_both_streams_are_one_text() {
        let bytes = [frame(1, "out\n"), frame(2, "err\n"), frame(1, "")].concat();
        assert_eq!(text(&bytes), "out\nerr\n");
    }

    #[test]
    fn a_log_of_a_terminal_is_taken_as_it_is() {
        assert_eq!(text(b"plain\r\nlines"), "plain\r\nlines");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn frames_that_are_cut_off_are_told_as_far_as_they_go() {
        let bytes = [frame(1, "whole\n"), frame(1, "half a line")].concat();
        assert_eq!(text(&bytes[..bytes.len() - 5]), "whole\nhalf a");
        assert_eq!(text(&bytes[..HEAD + 6 + 3]), "whole\n");
        // A length that is a lie reads no further than there is.
        let mut lie = frame(1, "x");
        lie[4] = 0xff;
        assert_eq!(text(&lie), "x");
    }
}
