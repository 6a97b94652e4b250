//! The last lines that a server wrote beside the protocol, and what happened to it.

use std::collections::VecDeque;

use serde::Serialize;

/// Lines kept per server: what a person reads to see why it does not start.
pub const KEPT_LINES: usize = 256;
/// Longest line, in bytes; the rest is cut.
pub(super) const MAX_LINE: usize = 1_024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// `stderr`, `stdout` (what was not MCP) or `agent`.
    pub from: &'static str,
    /// What.
    pub text: String,
}

/// The newest lines.
#[derive(Debug, Default)]
pub(super) struct LogRing {
    lines: VecDeque<LogLine>,
}

impl LogRing {
    pub(super) fn push(&mut self, at_ms: i64, from: &'static str, text: &str) {
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        let text = cut(text, MAX_LINE);
        let text = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter });
        self.lines.push_back(LogLine {
            at_ms,
            from,
            text: text.collect(),
        });
    }

    pub(super) fn newest(&self, count: usize) -> Vec<LogLine> {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).cloned().collect()
    }
}

/// The longest beginning of a text that has at most so many bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_lines_stay_and_none_is_long_or_moves_a_terminal() {
        let mut ring = LogRing::default();
        for number in 0..KEPT_LINES + 10 {
            ring.push(0, "stderr", &number.to_string());
        }
        ring.push(1, "stderr", &format!("\u{1b}[2J{}", "ä".repeat(MAX_LINE)));
        let lines = ring.newest(usize::MAX);
        assert_eq!(lines.len(), KEPT_LINES);
        let last = lines.last().unwrap();
        assert!(last.text.len() <= MAX_LINE && last.text.starts_with(" [2J"));
        assert_eq!(ring.newest(2)[0].text, (KEPT_LINES + 9).to_string());
    }
}
