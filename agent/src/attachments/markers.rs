//! Markers of files in what a model says: `[IMAGE:/p]`, `[FILE:/p]`, `[VOICE:/p]`, `[VIDEO:/p]`. Pure.
//!
//! Text comes in pieces that are cut anywhere. What may still become a marker is held back, and no more
//! than the longest marker. Which files may be given to whom is not decided here.

/// Longest path in a marker, in bytes. A longer one is text.
pub const MAX_PATH: usize = 1_024;
/// Longest marker, and with that the most that is held back, in bytes.
pub const MAX_MARKER: usize = "[IMAGE:".len() + MAX_PATH + "]".len();

const BEGINNINGS: [(&str, Kind); 4] = [
    ("[IMAGE:", Kind::Image),
    ("[FILE:", Kind::File),
    ("[VOICE:", Kind::Voice),
    ("[VIDEO:", Kind::Video),
];

/// What a file is meant as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Image,
    /// Anything.
    File,
    /// Something said.
    Voice,
    /// A film.
    Video,
}

impl Kind {
    /// As it stands in an attachment.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::File => "file",
            Self::Voice => "voice",
            Self::Video => "video",
        }
    }

    /// The marker of a file.
    #[must_use]
    pub fn marker(name: &str, path: &str) -> String {
        let known = BEGINNINGS.iter().find(|(_, kind)| kind.as_str() == name);
        let beginning = known.map_or("[FILE:", |(beginning, _)| *beginning);
        format!("{beginning}{path}]")
    }
}

/// A part of what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text; two never follow each other.
    Text(String),
    /// A file.
    Marker {
        /// What it is meant as.
        kind: Kind,
        /// Begins with a slash; anything else may be in it, apart from brackets and control characters.
        path: String,
    },
}

/// Finds markers in a text that comes in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanner {
    held: String,
}

enum Found {
    Marker {
        length: usize,
        kind: Kind,
    },
    /// More has to come before it is known.
    Begun,
    Text,
}

impl Scanner {
    /// Takes the next piece and gives what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        if self.held.is_empty() && !text.contains('[') {
            return match text.is_empty() {
                true => vec![],
                false => vec![Piece::Text(text.to_owned())],
            };
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.push_str(text);
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), whole.as_str());
        while let Some(at) = rest.find('[') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            match look(rest) {
                Found::Marker { length, kind } => {
                    take_text(&mut pieces, &mut plain);
                    let path = path_of(&rest[..length]).to_owned();
                    pieces.push(Piece::Marker { kind, path });
                    rest = &rest[length..];
                }
                Found::Begun => {
                    take_text(&mut pieces, &mut plain);
                    rest.clone_into(&mut self.held);
                    return pieces;
                }
                Found::Text => {
                    plain.push('[');
                    rest = &rest[1..];
                }
            }
        }
        plain.push_str(rest);
        take_text(&mut pieces, &mut plain);
        pieces
    }

    /// What was held back: nothing more comes, so it is text.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

fn take_text(pieces: &mut Vec<Piece>, plain: &mut String) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain)));
    }
}

/// What a text that begins with a bracket begins with.
fn look(text: &str) -> Found {
    let known = BEGINNINGS
        .iter()
        .find(|(beginning, _)| text.starts_with(beginning));
    let Some((beginning, kind)) = known else {
        let may_become = BEGINNINGS
            .iter()
            .any(|(beginning, _)| beginning.starts_with(text));
        return if may_become {
            Found::Begun
        } else {
            Found::Text
        };
    };
    let path = &text[beginning.len()..];
    if path.is_empty() {
        return Found::Begun;
    }
    if !path.starts_with('/') {
        return Found::Text;
    }
    let end = path.find(|c: char| c == '[' || c == ']' || c.is_control());
    match end {
        Some(end) if end <= MAX_PATH && path[end..].starts_with(']') => Found::Marker {
            length: beginning.len() + end + 1,
            kind: *kind,
        },
        None if path.len() <= MAX_PATH => Found::Begun,
        _ => Found::Text,
    }
}

fn path_of(marker: &str) -> &str {
    let path = marker.split_once(':').map_or("", |(_, path)| path);
    path.strip_suffix(']').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All pieces of a text that comes cut like this, with neighbouring texts joined.
    fn scan<'a>(cut: impl IntoIterator<Item = &'a str>) -> Vec<Piece> {
        let mut scanner = Scanner::default();
        let mut all: Vec<Piece> = vec![];
        let mut add = |piece| match (all.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(more)) => before.push_str(&more),
            (_, piece) => all.push(piece),
        };
        for part in cut {
            scanner.push(part).into_iter().for_each(&mut add);
            assert!(scanner.held.len() < MAX_MARKER, "{}", scanner.held.len());
        }
        let rest = scanner.finish();
        if !rest.is_empty() {
            add(Piece::Text(rest));
        }
        all
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn marker(kind: Kind, path: &str) -> Piece {
        Piece::Marker {
            kind,
            path: path.to_owned(),
        }
    }

    #[test]
    fn each_kind_of_marker_is_taken_out_wherever_it_stands() {
        assert_eq!(
            scan(["Look: [IMAGE:/a b.png], [FILE:/c.pdf][VOICE:/d.ogg]\n[VIDEO:/ü.mp4]"]),
            [
                text("Look: "),
                marker(Kind::Image, "/a b.png"),
                text(", "),
                marker(Kind::File, "/c.pdf"),
                marker(Kind::Voice, "/d.ogg"),
                text("\n"),
                marker(Kind::Video, "/ü.mp4"),
            ]
        );
    }

    #[test]
    fn what_only_looks_like_a_marker_is_text() {
        for same in [
            "[FILE:]",
            "[FILE:notes.txt]",
            "[FILE: /a]",
            "[file:/a]",
            "[FILES:/a]",
            "[FILE:/a\nb]",
            "[FILE:/a\u{85}b]",
            "[FILE:/a",
            "[FIL",
            "[",
            "]",
            "[[1]]",
            "a[0] = b[1]",
            "[AUDIO:/a]",
        ] {
            assert_eq!(scan([same]), [text(same)], "{same:?}");
        }
    }

    #[test]
    fn of_nested_brackets_the_innermost_marker_counts() {
        assert_eq!(
            scan(["[FILE:/a[FILE:/b]c]"]),
            [text("[FILE:/a"), marker(Kind::File, "/b"), text("c]")]
        );
        assert_eq!(
            scan(["[[FILE:/b]]"]),
            [text("["), marker(Kind::File, "/b"), text("]")]
        );
    }

    #[test]
    fn a_path_of_the_longest_length_is_one_and_a_longer_is_text() {
        let longest = format!("/{}", "x".repeat(MAX_PATH - 1));
        let whole = format!("[IMAGE:{longest}]");
        assert_eq!(whole.len(), MAX_MARKER);
        assert_eq!(scan([whole.as_str()]), [marker(Kind::Image, &longest)]);
        let longer = format!("[IMAGE:{longest}x]");
        assert_eq!(scan([longer.as_str()]), [text(&longer)]);
        let (a, b) = longer.split_at(longer.len() - 1);
        assert_eq!(scan([a, b]), [text(&longer)]);
    }

    #[test]
    fn a_marker_that_is_cut_at_any_byte_is_the_same_marker() {
        let whole = "before [IMAGE:/api/files/a.png] after";
        for at in 0..=whole.len() {
            let (a, b) = whole.split_at(at);
            assert_eq!(scan([a, b]), scan([whole]), "cut at {at}");
        }
    }

    #[test]
    fn a_hundred_thousand_markers_in_small_pieces_are_all_found() {
        let whole = "[FILE:/a]".repeat(100_000);
        let mut scanner = Scanner::default();
        let mut found = 0;
        for at in (0..whole.len()).step_by(7) {
            let end = (at + 7).min(whole.len());
            found += scanner.push(&whole[at..end]).len();
        }
        assert_eq!((found, scanner.finish().as_str()), (100_000, ""));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            parts in proptest::collection::vec("\\[(IMAGE|FILE|VOICE|VIDEO|X):|/a|\\]|\\[|\n|[a-zü ]{0,4}", 0..30),
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let whole = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| whole.is_char_boundary(*at)).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let split = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]);
            prop_assert_eq!(scan(split), scan([whole.as_str()]));
        }

        #[test]
        fn nothing_is_lost_or_added(whole in "(\\[(IMAGE|FILE):/?|\\]|\\[|[a-z\n]{0,4}){0,30}") {
            let again: String = scan([whole.as_str()])
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Marker { kind, path } => Kind::marker(kind.as_str(), &path),
                })
                .collect();
            prop_assert_eq!(again, whole);
        }

        #[test]
        fn text_without_brackets_passes_at_once(whole in "[^\\[]{0,300}") {
            let mut scanner = Scanner::default();
            let pieces = scanner.push(&whole);
            let same: Vec<Piece> = (!whole.is_empty()).then_some(Piece::Text(whole)).into_iter().collect();
            prop_assert_eq!(pieces, same);
            prop_assert_eq!(scanner.finish(), "");
        }
    }
}
