//! A piece of a file as text.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};

use super::roots::{FilesError, Root, told};
use crate::tools::bounds::{ROOM, clip, length};

/// Bytes that are looked at to tell a text from something else.
const SAMPLE: usize = 8 << 10;
/// Bytes of the quotes around a text in JSON.
const QUOTES: usize = 2;
/// Bytes of what stands for bytes that are no text.
const REPLACED: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// Text from `offset` on, at most `limit` bytes of the file.
pub(super) fn read(
    root: &Root,
    inside: &Path,
    offset: u64,
    limit: usize,
) -> Result<Value, FilesError> {
    let file = root.file(inside)?;
    let failed = |error| told(inside, error);
    let size = file.metadata().map_err(failed)?.len();
    let sample = read_at(&file, 0, SAMPLE).map_err(failed)?;
    // The kernel takes no number that is far behind the end.
    let from = offset.min(size);
    let bytes = read_at(&file, from, limit.min(ROOM)).map_err(failed)?;
    let mut told = json!({"path": root.shown(inside), "bytes": size});
    if sample.contains(&0) || bytes.contains(&0) {
        told["binary"] = true.into();
        told["hint"] = "this is not a text, so nothing of it is shown".into();
        return Ok(told);
    }
    let at_end = offset.saturating_add(bytes.len() as u64) >= size;
    let (text, taken) = text(&bytes, at_end);
    let next = offset.saturating_add(taken as u64);
    told["offset"] = offset.into();
    told["text"] = text.into();
    told["truncated"] = (next < size).into();
    if next < size {
        told["next_offset"] = next.into();
    }
    Ok(told)
}

/// As much text as a model may read, and how many bytes of the file that is. Bytes that are no UTF-8
/// are shown as such; a letter that is cut at the end is left for the next piece.
fn text(bytes: &[u8], at_end: bool) -> (String, usize) {
    let mut text = String::new();
    let mut taken = 0;
    let mut room = ROOM - QUOTES;
    for chunk in bytes.utf8_chunks() {
        let (valid, cut) = clip(chunk.valid(), room + QUOTES);
        text.push_str(valid);
        taken += valid.len();
        room -= length(valid) - QUOTES;
        let broken = chunk.invalid();
        let is_last = taken + broken.len() == bytes.len();
        let goes_on = is_last && !at_end && taken > 0;
        if cut || broken.is_empty() || goes_on || room < REPLACED {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        taken += broken.len();
        room -= REPLACED;
    }
    (text, taken)
}

fn read_at(file: &File, offset: u64, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut filled = 0;
    while filled < limit {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_is_cut_is_left_for_the_next_piece() {
        let bytes = "ab€".as_bytes();
        assert_eq!(text(&bytes[..4], false), ("ab".to_owned(), 2));
        assert_eq!(text(&bytes[..4], true), ("ab\u{fffd}".to_owned(), 4));
        assert_eq!(text(bytes, false), ("ab€".to_owned(), 5));
    }

    #[test]
    fn a_piece_always_moves_on() {
        for bytes in [&b"\xe2\x82"[..], b"\xff", b"\xff\xff", b"a"] {
            let (_, taken) = text(bytes, false);
            assert!(taken > 0, "{bytes:?}");
        }
    }

    #[test]
    fn a_text_of_escapes_stays_within_its_room() {
        for bytes in [
            vec![1; ROOM],
            vec![b'"'; ROOM],
            vec![0xff; ROOM],
            vec![b'a'; ROOM],
        ] {
            let (text, taken) = text(&bytes, true);
            assert!(taken > 0);
            assert!(json!(text).to_string().len() <= ROOM);
        }
    }
}
