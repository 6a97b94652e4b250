//! Markdown inside of a line, pure: emphasis, code, links. What is not closed stays as it was written, so
//! that no character of an answer is ever lost.

use unicode_width::UnicodeWidthStr;

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) bold: bool,
    pub(super) italic: bool,
    pub(super) underline: bool,
    pub(super) strike: bool,
    pub(super) dim: bool,
    pub(super) code: bool,
}

/// Text of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) style: Style,
    pub(super) text: String,
}

/// What a text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span<'a> {
    /// No span: its first character is an ordinary one.
    No,
    /// Perhaps one; what comes next decides.
    Open,
    /// One of this length in bytes.
    Closed(usize, Kind<'a>),
}

/// A span and what is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Escaped(char),
    Code(&'a str),
    /// With the number of stars.
    Emphasis(usize, &'a str),
    Strike(&'a str),
    Link {
        text: &'a str,
        url: &'a str,
    },
}

impl Style {
    /// The text with this look, and the terminal's own look after it.
    pub(super) fn paint(self, text: &str) -> String {
        let codes = [
            (self.bold, "1"),
            (self.dim, "2"),
            (self.italic, "3"),
            (self.underline, "4"),
            (self.strike, "9"),
            (self.code, "36"),
        ];
        let on: Vec<&str> = codes
            .iter()
            .filter_map(|(on, code)| on.then_some(*code))
            .collect();
        if on.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{}m{text}\u{1b}[0m", on.join(";"))
    }
}

/// Whether a span can begin with this character.
pub(super) fn begins_span(c: char) -> bool {
    matches!(c, '*' | '_' | '~' | '`' | '[' | '!' | '\\')
}

/// All of a text, which is complete.
pub(super) fn pieces(text: &str, base: Style) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let before = text[..text.len() - rest.len()].chars().next_back();
        let span = if begins_span(c) {
            span(rest, before, true)
        } else {
            Span::No
        };
        match span {
            Span::Closed(length, kind) => {
                push(&mut pieces, base, std::mem::take(&mut plain));
                pieces.extend(of(&kind, base));
                rest = &rest[length..];
            }
            Span::No | Span::Open => {
                // A whole run of marks, or its second half would be taken for a run of its own.
                let run = if begins_span(c) {
                    run(rest, c)
                } else {
                    c.len_utf8()
                };
                plain.push_str(&rest[..run]);
                rest = &rest[run..];
            }
        }
    }
    push(&mut pieces, base, plain);
    pieces
}

/// The pieces of a span.
pub(super) fn of(kind: &Kind<'_>, base: Style) -> Vec<Piece> {
    let mut style = base;
    match kind {
        Kind::Escaped(c) => vec![Piece {
            style,
            text: c.to_string(),
        }],
        Kind::Code(text) => {
            style.code = true;
            vec![Piece {
                style,
                text: (*text).to_owned(),
            }]
        }
        Kind::Emphasis(stars, text) => {
            style.italic |= stars % 2 == 1;
            style.bold |= *stars >= 2;
            pieces(text, style)
        }
        Kind::Strike(text) => {
            style.strike = true;
            pieces(text, style)
        }
        Kind::Link { text, url } => {
            style.underline = true;
            let mut all = pieces(text, style);
            // Always shown: what a link says is not where it leads.
            if text != url {
                let text = if text.is_empty() {
                    (*url).to_owned()
                } else {
                    format!(" ({url})")
                };
                all.push(Piece {
                    style: Style { dim: true, ..base },
                    text,
                });
            }
            all
        }
    }
}

/// The pieces as text for the terminal.
pub(super) fn painted(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| piece.style.paint(&piece.text))
        .collect()
}

/// Columns that the pieces take.
pub(super) fn width(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.text.width()).sum()
}

/// What `text` begins with; `complete` when nothing can follow it.
pub(super) fn span(text: &str, before: Option<char>, complete: bool) -> Span<'_> {
    let Some(c) = text.chars().next() else {
        return Span::Open;
    };
    match c {
        '\\' => match text[1..].chars().next() {
            None => Span::Open,
            Some(next) if next.is_ascii_punctuation() => Span::Closed(2, Kind::Escaped(next)),
            Some(_) => Span::No,
        },
        '`' => code(text, complete),
        '*' | '_' | '~' => emphasis(text, c, before, complete),
        '[' => link(text, 0),
        '!' => match text[1..].chars().next() {
            None => Span::Open,
            Some('[') => link(text, 1),
            Some(_) => Span::No,
        },
        _ => Span::No,
    }
}

fn code(text: &str, complete: bool) -> Span<'_> {
    let marks = run(text, '`');
    let mut at = marks;
    while let Some(found) = text[at..].find('`') {
        let start = at + found;
        let length = run(&text[start..], '`');
        let end = start + length;
        if length == marks && (end < text.len() || complete) {
            return Span::Closed(end, Kind::Code(strip_one_space(&text[marks..start])));
        }
        at = end;
    }
    Span::Open
}

/// Code that begins or ends with a backtick is written with a space, which is not part of it.
fn strip_one_space(code: &str) -> &str {
    match code
        .strip_prefix(' ')
        .and_then(|code| code.strip_suffix(' '))
    {
        Some(inner) if !inner.trim().is_empty() => inner,
        _ => code,
    }
}

fn emphasis(text: &str, mark: char, before: Option<char>, complete: bool) -> Span<'_> {
    let marks = run(text, mark);
    if marks > 3 || mark == '~' && marks != 2 && marks < text.len() {
        return Span::No;
    }
    let Some(next) = text[marks..].chars().next() else {
        return Span::Open;
    };
    let in_word = before.is_some_and(char::is_alphanumeric);
    if next.is_whitespace() || in_word && (mark == '_' || next.is_alphanumeric() && marks == 1) {
        return Span::No;
    }
    let mut at = marks;
    while let Some(c) = text[at..].chars().next() {
        if c == '\\' || c == '`' {
            // Marks inside of code, and escaped ones, close nothing.
            at += match span(&text[at..], None, complete) {
                Span::Closed(length, _) => length,
                Span::Open if !complete => return Span::Open,
                Span::No | Span::Open => run(&text[at..], c),
            };
            continue;
        }
        if c != mark {
            at += c.len_utf8();
            continue;
        }
        let length = run(&text[at..], mark);
        let end = at + length;
        let after = text[end..].chars().next();
        let closes = length >= marks
            && !text[..at].ends_with(char::is_whitespace)
            && (mark != '_' || !after.is_some_and(char::is_alphanumeric));
        if closes && (after.is_some() || complete) {
            let inner = &text[marks..end - marks];
            let kind = match mark {
                '~' => Kind::Strike(inner),
                _ => Kind::Emphasis(marks, inner),
            };
            return Span::Closed(end, kind);
        }
        at = end;
    }
    Span::Open
}

fn link(text: &str, bracket: usize) -> Span<'_> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(bracket) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => depth += 1,
            ']' if depth > 1 => depth -= 1,
            ']' => {
                let rest = &text[at + 1..];
                if rest.is_empty() {
                    return Span::Open;
                }
                let Some(target) = rest.strip_prefix('(') else {
                    return Span::No;
                };
                let Some(end) = target.find(')') else {
                    return Span::Open;
                };
                // A title after the address is left out.
                let url = target[..end].split_whitespace().next().unwrap_or_default();
                let text = &text[bracket + 1..at];
                return Span::Closed(at + 2 + end + 1, Kind::Link { text, url });
            }
            _ => {}
        }
    }
    Span::Open
}

/// Bytes of the run of an ASCII mark at the beginning.
pub(super) fn run(text: &str, mark: char) -> usize {
    text.len() - text.trim_start_matches(mark).len()
}

fn push(pieces: &mut Vec<Piece>, style: Style, text: String) {
    if !text.is_empty() {
        pieces.push(Piece { style, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        pieces(text, Style::default())
            .iter()
            .map(|piece| {
                let style = piece.style;
                let names = [
                    (style.bold, 'b'),
                    (style.italic, 'i'),
                    (style.underline, 'u'),
                    (style.strike, 's'),
                    (style.dim, 'd'),
                    (style.code, 'c'),
                ];
                let names: String = names.iter().filter(|(on, _)| *on).map(|(_, c)| c).collect();
                if names.is_empty() {
                    piece.text.clone()
                } else {
                    format!("<{names}:{}>", piece.text)
                }
            })
            .collect()
    }

    #[test]
    fn emphasis_code_and_links_are_told_from_text_that_only_looks_like_them() {
        for (given, wanted) in [
            ("a **b** c", "a <b:b> c"),
            ("*i* and _i_", "<i:i> and <i:i>"),
            ("***both***", "<bi:both>"),
            ("**b *bi***", "<b:b ><bi:bi>"),
            ("**use `a**b` now**", "<b:use ><bc:a**b><b: now>"),
            ("~~gone~~ ~one~", "<s:gone> ~one~"),
            ("`x` ``a`b`` `` ` ``", "<c:x> <c:a`b> <c:`>"),
            ("[text](http://u)", "<u:text><d: (http://u)>"),
            ("[http://u](http://u \"t\")", "<u:http://u>"),
            ("![alt](p.png)", "<u:alt><d: (p.png)>"),
            ("[x] and [y]: z", "[x] and [y]: z"),
            (r"\*not\* \a", r"*not* \a"),
            // What is not closed, or stands alone, stays.
            ("2 * 3 * 4 and 5*3*2", "2 * 3 * 4 and 5*3*2"),
            ("*args and **kwargs", "*args and **kwargs"),
            ("snake_case_name _x", "snake_case_name _x"),
            ("`open [open](never **open", "`open [open](never **open"),
            ("wow! \\", "wow! \\"),
            ("****", "****"),
        ] {
            assert_eq!(shown(given), wanted, "{given}");
        }
    }
}
