//! Markdown on a terminal, as it comes: what was shown is never painted again, so a line that scrolled
//! away stays as it is. Held back is only what the next characters decide: the beginning of a line, a
//! span until it closes, a table until it ends.
//!
//! Takes clean text. What is not understood is shown as it was written.

mod inline;
mod line;
mod table;

use self::inline::{Kind, Span, Style};
use self::line::{Beginning, beginning, fence_of, is_rule};
use self::table::Table;

/// Most that a beginning of a line, or a span, is held back; longer ones are shown as they are.
const MAX_HELD: usize = 600;
/// A rule's width.
const RULE: &str = "────────────────────────";

/// A renderer of one answer.
#[derive(Debug, Default)]
pub(super) struct Markdown {
    place: Place,
    /// What is not decided yet.
    held: String,
    /// The character before it.
    before: Option<char>,
    /// Of the line.
    style: Style,
    /// The marks that opened the code block.
    fence: String,
    in_list: bool,
    /// A quotation's bar was shown on this line.
    quoted: bool,
    table: Table,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line, whose kind is not known.
    #[default]
    Start,
    /// In a line of text.
    Text,
    /// In a line that is shown as it is.
    Verbatim,
    /// At the beginning of a line of a code block.
    CodeStart,
    /// In a line of a code block.
    Code,
}

impl Markdown {
    /// What can be shown now.
    pub(super) fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut plain = String::new();
        for c in text.chars() {
            self.take(c, &mut out, &mut plain);
        }
        out += &self.line_style().paint(&plain);
        out
    }

    /// What was held back; the next text begins a new line.
    pub(super) fn finish(&mut self) -> String {
        let mut out = String::new();
        if self.place == Place::Start && self.held.trim_start().starts_with('|') {
            let row = std::mem::take(&mut self.held);
            if !self.table.push(&row) {
                self.table.flush(&mut out);
                self.table.push(&row);
            }
            self.table.flush(&mut out);
        } else {
            self.table.flush(&mut out);
            let held = std::mem::take(&mut self.held);
            match self.place {
                Place::CodeStart | Place::Code => out += &code().paint(&held),
                _ => out += &inline::painted(&inline::pieces(&held, self.style)),
            }
        }
        let fence = std::mem::take(&mut self.fence);
        let (place, in_list) = (self.place, self.in_list);
        *self = Self::default();
        // A tool that runs in the middle of a code block does not end it.
        if matches!(place, Place::Code | Place::CodeStart) {
            self.fence = fence;
            self.place = Place::CodeStart;
        }
        self.in_list = in_list;
        out
    }

    fn take(&mut self, c: char, out: &mut String, plain: &mut String) {
        match self.place {
            Place::Start => {
                if c == '\n' {
                    self.end_short_line(out);
                } else {
                    self.held.push(c);
                    self.decide(out, plain);
                }
            }
            Place::CodeStart => {
                if c == '\n' {
                    self.end_code_line(out);
                    return;
                }
                self.held.push(c);
                let closes = self.held.trim_start_matches(' ');
                let mark = self.fence.chars().next().unwrap_or('`');
                if !closes.chars().all(|c| c == mark || c == ' ') || self.held.len() > MAX_HELD {
                    self.place = Place::Code;
                    plain.push_str(&std::mem::take(&mut self.held));
                }
            }
            Place::Code | Place::Verbatim => {
                if c == '\n' {
                    *out += &self.line_style().paint(&std::mem::take(plain));
                    out.push('\n');
                    self.place = match self.place {
                        Place::Code => Place::CodeStart,
                        _ => Place::Start,
                    };
                } else {
                    plain.push(c);
                }
            }
            Place::Text if c == '\n' => {
                self.flush_plain(out, plain);
                let held = std::mem::take(&mut self.held);
                *out += &inline::painted(&inline::pieces(&held, self.style));
                out.push('\n');
                self.begin_line();
            }
            Place::Text => self.text(c, out, plain),
        }
    }

    fn text(&mut self, c: char, out: &mut String, plain: &mut String) {
        if self.held.is_empty() && !inline::begins_span(c) {
            self.before = Some(c);
            plain.push(c);
            return;
        }
        self.held.push(c);
        match inline::span(&self.held, self.before, false) {
            Span::Open if self.held.len() <= MAX_HELD => {}
            Span::Closed(length, kind) => {
                let pieces = inline::of(&kind, self.style);
                let escaped = matches!(kind, Kind::Escaped(_));
                let rest = self.held[length..].to_owned();
                self.flush_plain(out, plain);
                *out += &inline::painted(&pieces);
                self.before = Some(if escaped { '\\' } else { ')' });
                self.held.clear();
                for c in rest.chars() {
                    self.text(c, out, plain);
                }
            }
            Span::No | Span::Open => {
                // The whole run of marks: its second half is no run of its own.
                let held = std::mem::take(&mut self.held);
                let first = held.chars().next().unwrap_or(c);
                let (literal, rest) = held.split_at(inline::run(&held, first));
                self.before = Some(first);
                plain.push_str(literal);
                for c in rest.chars() {
                    self.text(c, out, plain);
                }
            }
        }
    }

    /// Looks at the beginning of a line; goes on with the line when it is known.
    fn decide(&mut self, out: &mut String, plain: &mut String) {
        let held = self.held.clone();
        let rest = match beginning(&held, self.in_list) {
            Beginning::Unknown if held.len() <= MAX_HELD => return,
            Beginning::Unknown | Beginning::Text => {
                self.leave_table(out);
                self.in_list &= held.starts_with(' ');
                held.as_str()
            }
            Beginning::Verbatim => {
                self.leave_table(out);
                self.held.clear();
                self.place = Place::Verbatim;
                plain.push_str(&held);
                return;
            }
            Beginning::Heading(level, text) => {
                self.leave_table(out);
                self.style.bold = true;
                self.style.underline = level == 1;
                text
            }
            Beginning::Bullet(indent, text) => {
                self.leave_table(out);
                self.in_list = true;
                *out += &format!("{indent}• ");
                text
            }
            Beginning::Numbered => {
                self.leave_table(out);
                self.in_list = true;
                held.as_str()
            }
            Beginning::Quote(text) => {
                self.leave_table(out);
                *out += &Style {
                    dim: true,
                    ..Style::default()
                }
                .paint("│ ");
                self.quoted = true;
                self.held = text.to_owned();
                if !text.is_empty() {
                    self.decide(out, plain);
                }
                return;
            }
        };
        self.held.clear();
        self.place = Place::Text;
        for c in rest.chars() {
            self.text(c, out, plain);
        }
    }

    /// A line that ended before its kind was known.
    fn end_short_line(&mut self, out: &mut String) {
        let line = std::mem::take(&mut self.held);
        let trimmed = line.trim();
        if trimmed.starts_with('|') && self.table.push(&line) {
            return;
        }
        self.leave_table(out);
        let marks = fence_of(trimmed);
        if marks > 0 {
            self.fence = trimmed[..marks].to_owned();
            *out += &Style {
                dim: true,
                ..Style::default()
            }
            .paint(&line);
            self.place = Place::CodeStart;
            self.quoted = false;
        } else if is_rule(trimmed) {
            *out += &Style {
                dim: true,
                ..Style::default()
            }
            .paint(RULE);
            self.begin_line();
        } else {
            *out += &inline::painted(&inline::pieces(&line, Style::default()));
            self.begin_line();
        }
        out.push('\n');
    }

    fn end_code_line(&mut self, out: &mut String) {
        let line = std::mem::take(&mut self.held);
        let trimmed = line.trim();
        if trimmed.len() >= self.fence.len() && !trimmed.is_empty() {
            *out += &Style {
                dim: true,
                ..Style::default()
            }
            .paint(&line);
            self.begin_line();
        } else {
            *out += &code().paint(&line);
        }
        out.push('\n');
    }

    fn begin_line(&mut self) {
        self.place = Place::Start;
        self.style = Style::default();
        self.before = None;
        self.quoted = false;
    }

    fn leave_table(&mut self, out: &mut String) {
        // A bar that was shown already stands before the table's last rows otherwise.
        if !self.quoted {
            self.table.flush(out);
        }
    }

    fn flush_plain(&self, out: &mut String, plain: &mut String) {
        *out += &self.line_style().paint(&std::mem::take(plain));
    }

    fn line_style(&self) -> Style {
        match self.place {
            Place::Code | Place::Verbatim => code(),
            _ => self.style,
        }
    }
}

fn code() -> Style {
    Style {
        code: true,
        ..Style::default()
    }
}

#[cfg(test)]
mod tests;
