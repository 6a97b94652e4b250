//! Messages of a program, one on a line, none longer than a limit.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest message, in bytes: the same as a frame of `/ws`.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// What is kept of the two ends of a longer one: enough to find the id of the request it answers.
const ENDS: usize = 256;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line, without its end.
    Whole(Vec<u8>),
    /// A line above the limit; it was thrown away. The id, if it seems to answer a request.
    TooLong(Option<i64>),
    /// Nothing more comes.
    End,
}

/// Reads lines. `next` may be dropped and called again: nothing is lost.
#[derive(Debug)]
pub(super) struct Lines<R> {
    read: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
    /// Whether the line is already above the limit: `line` then holds its two ends.
    over: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(read: R, limit: usize) -> Self {
        Self {
            read: BufReader::new(read),
            line: Vec::new(),
            limit,
            over: false,
        }
    }

    pub(super) async fn next(&mut self) -> Line {
        loop {
            let Ok(ready) = self.read.fill_buf().await else {
                return Line::End;
            };
            if ready.is_empty() {
                return Line::End;
            }
            let end = ready.iter().position(|byte| *byte == b'\n');
            let part = ready.get(..end.unwrap_or(ready.len())).unwrap_or_default();
            let consumed = part.len() + usize::from(end.is_some());
            self.line.extend_from_slice(part);
            self.read.consume(consumed);
            if self.line.len() > self.limit || (self.over && self.line.len() > 2 * ENDS) {
                self.over = true;
                let tail = self.line.len() - ENDS;
                self.line.drain(ENDS..tail);
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return if std::mem::take(&mut self.over) {
                    Line::TooLong(answered(&line))
                } else {
                    Line::Whole(line)
                };
            }
        }
    }
}

/// The id in the ends of a message: servers write it first or last, around the result.
fn answered(ends: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(ends);
    let head = text.split("\"result\"").next().unwrap_or_default();
    let number = |text: &str| {
        let text = text.trim_start().strip_prefix(':')?.trim_start();
        let digits = text.split(|letter: char| !letter.is_ascii_digit()).next()?;
        digits.parse::<i64>().ok()
    };
    let first = head.split_once("\"id\"").and_then(|(_, rest)| number(rest));
    first.or_else(|| {
        text.rsplit_once("\"id\"")
            .and_then(|(_, rest)| number(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8], limit: usize) -> Vec<Line> {
        let mut lines = Lines::new(text, limit);
        let mut all = vec![];
        loop {
            all.push(lines.next().await);
            if all.last() == Some(&Line::End) {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn a_line_above_the_limit_is_thrown_away_and_the_next_is_read() {
        let long = "x".repeat(5_000);
        let text = format!("a\n{long}\nb\nrest without an end");
        let lines = read(text.as_bytes(), 1_000).await;
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(
            lines,
            [whole("a"), Line::TooLong(None), whole("b"), Line::End]
        );
    }

    #[tokio::test]
    async fn the_id_of_an_answer_that_is_too_long_is_found_at_either_end() {
        let long = "x".repeat(50_000);
        for text in [
            format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{{\"t\":\"{long}\"}}}}\n"),
            format!("{{\"result\":{{\"t\":\"{long}\"}},\"jsonrpc\":\"2.0\", \"id\" : 7}}\n"),
        ] {
            let lines = read(text.as_bytes(), 1_000).await;
            assert_eq!(lines, [Line::TooLong(Some(7)), Line::End]);
        }
    }

    #[tokio::test]
    async fn a_line_that_never_ends_takes_no_more_memory_than_the_limit() {
        let text = vec![b'x'; 1 << 20];
        let mut lines = Lines::new(text.as_slice(), 4_096);
        assert_eq!(lines.next().await, Line::End);
        assert!(
            lines.line.capacity() <= 64 << 10,
            "{}",
            lines.line.capacity()
        );
    }
}
