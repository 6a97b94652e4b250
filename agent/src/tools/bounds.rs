//! Results that fit: lists and texts cut to what a model may read, and whether anything was cut.

use serde_json::Value;

use crate::turn::MAX_RESULT;

/// Bytes for the variable part of a result: what is around it, and the escapes of a text in JSON,
/// take the rest.
pub(super) const ROOM: usize = MAX_RESULT * 3 / 4;

/// As many of the first items as fit into `room` bytes of JSON, and whether that is not all.
pub(super) fn fit(items: Vec<Value>, room: usize) -> (Vec<Value>, bool) {
    let count = items.len();
    let mut taken = 0;
    let kept: Vec<Value> = items
        .into_iter()
        .take_while(|item| {
            // One for the comma.
            taken += item.to_string().len() + 1;
            taken <= room
        })
        .collect();
    let cut = kept.len() < count;
    (kept, cut)
}

/// The longest beginning of a text that takes at most `room` bytes as a JSON string, and whether that
/// is not all.
pub(super) fn clip(text: &str, room: usize) -> (&str, bool) {
    let mut taken = 2;
    for (at, letter) in text.char_indices() {
        taken += in_json(letter);
        if taken > room {
            return (&text[..at], true);
        }
    }
    (text, false)
}

/// The longest end of a text that takes at most `room` bytes as a JSON string, and whether that is not
/// all.
pub(super) fn clip_start(text: &str, room: usize) -> (&str, bool) {
    let mut taken = 2;
    for (at, letter) in text.char_indices().rev() {
        taken += in_json(letter);
        if taken > room {
            return (&text[at + letter.len_utf8()..], true);
        }
    }
    (text, false)
}

/// Bytes that a text takes as a JSON string.
pub(super) fn length(text: &str) -> usize {
    2 + text.chars().map(in_json).sum::<usize>()
}

fn in_json(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_keeps_its_first_items_that_fit() {
        let items = vec![json!("aaaa"), json!("bbbb"), json!("c")];
        assert_eq!(fit(items.clone(), 100), (items.clone(), false));
        assert_eq!(fit(items.clone(), 14), (items[..2].to_vec(), true));
        // A smaller one that comes later is not taken out of its order.
        assert_eq!(fit(items.clone(), 13), (items[..1].to_vec(), true));
        assert_eq!(fit(vec![], 0), (vec![], false));
    }

    #[test]
    fn a_clipped_text_takes_no_more_than_its_room_in_json() {
        let text = "a\"\n\u{1}ä🦀z".repeat(50);
        for room in 2..300 {
            for (kept, cut) in [clip(&text, room), clip_start(&text, room)] {
                let size = Value::String(kept.to_owned()).to_string().len();
                assert_eq!(size, length(kept));
                assert!(size <= room, "{size} > {room}");
                assert!(size + 6 > room, "{size} is far from {room}");
                assert!(cut);
            }
        }
        assert_eq!(clip("whole", 7), ("whole", false));
        assert_eq!(clip_start("whole", 7), ("whole", false));
        assert_eq!(clip_start("whole", 6), ("hole", true));
    }
}
