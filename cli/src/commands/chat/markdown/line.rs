//! How a line of Markdown begins, pure.

use super::inline;

/// What the beginning of a line says.
pub(super) enum Beginning<'a> {
    Unknown,
    Text,
    Verbatim,
    /// Level and text.
    Heading(usize, &'a str),
    /// Indentation and text.
    Bullet(&'a str, &'a str),
    Numbered,
    /// What stands behind the mark.
    Quote(&'a str),
}

/// The kind of a line of which this has come so far.
pub(super) fn beginning(line: &str, in_list: bool) -> Beginning<'_> {
    let text = line.trim_start_matches(' ');
    let (indent, text) = line.split_at(line.len() - text.len());
    let Some(c) = text.chars().next() else {
        return Beginning::Unknown;
    };
    if indent.len() >= 4 && !in_list {
        return Beginning::Verbatim;
    }
    match c {
        '|' => Beginning::Unknown,
        '#' => {
            let level = inline::run(text, '#');
            match text[level..].chars().next() {
                _ if level > 6 => Beginning::Text,
                None => Beginning::Unknown,
                Some(' ') => match text[level..].trim_start() {
                    "" => Beginning::Unknown,
                    title => Beginning::Heading(level, title),
                },
                Some(_) => Beginning::Text,
            }
        }
        '>' => {
            let rest = &text[1..];
            match rest.chars().next() {
                None => Beginning::Unknown,
                Some(_) => Beginning::Quote(rest.strip_prefix(' ').unwrap_or(rest)),
            }
        }
        '`' | '~' if inline::run(text, c) >= 3 || inline::run(text, c) == text.len() => {
            Beginning::Unknown
        }
        '-' | '*' | '+' | '_' => {
            if text.chars().all(|other| other == c || other == ' ') {
                Beginning::Unknown
            } else if c != '_' && text[1..].starts_with(' ') {
                Beginning::Bullet(indent, text[1..].trim_start())
            } else {
                Beginning::Text
            }
        }
        '0'..='9' => {
            let after = text.trim_start_matches(|c: char| c.is_ascii_digit());
            match (text.len() - after.len(), after) {
                (1..=9, "" | "." | ")") => Beginning::Unknown,
                (1..=9, after) if after.starts_with(". ") || after.starts_with(") ") => {
                    Beginning::Numbered
                }
                _ => Beginning::Text,
            }
        }
        _ => Beginning::Text,
    }
}

/// Length of the marks that open a code block; 0 when the line opens none.
pub(super) fn fence_of(line: &str) -> usize {
    for mark in ['`', '~'] {
        let marks = inline::run(line, mark);
        if marks >= 3 && !line[marks..].contains('`') {
            return marks;
        }
    }
    0
}

/// Whether a complete line is a rule.
pub(super) fn is_rule(line: &str) -> bool {
    let marks: String = line.split(' ').collect();
    marks.len() >= 3
        && ["-", "*", "_"]
            .iter()
            .any(|mark| marks.trim_start_matches(mark).is_empty())
}
