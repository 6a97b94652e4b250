//! The only place that prints: people's text or one JSON document on stdout, progress on stderr.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this module is the output"
)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde_json::json;

use crate::failure::{Exit, describe};
use crate::terminal_text::{clean, clean_line};

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let colour =
            !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the command's result: `document` for programs, `text` for people.
    pub(crate) fn result(self, document: &impl Serialize, text: impl FnOnce() -> String) {
        let line = if self.json { to_json(document) } else { text() };
        let mut stdout = std::io::stdout().lock();
        // A reader that has gone away is not an error of the command.
        let _ = writeln!(stdout, "{}", line.trim_end());
        let _ = stdout.flush();
    }

    /// Prints a part of a result that comes piece by piece.
    pub(crate) fn piece(self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes());
        let _ = stdout.flush();
    }

    /// Prints one line of a result that has many.
    pub(crate) fn line(self, line: &str) {
        self.piece(&format!("{line}\n"));
    }

    /// Whether colours and styles may be used on stdout.
    pub(crate) fn is_styled(self) -> bool {
        self.colour
    }

    /// Says what is going on, to people only.
    pub(crate) fn progress(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// Says that somebody must approve this device: a document of its own, then the wait goes on.
    pub(crate) fn pending(self, check_code: &str) {
        let document = json!({ "status": "pending", "check_code": check_code });
        self.result(&document, || {
            format!(
                "This device waits for approval. On a device of the network's owner:\n\n  homing pending\n  homing approve <device> --code {check_code}\n"
            )
        });
    }

    /// Tells of something that happened in the network, on stderr in both forms.
    pub(crate) fn notice(self, text: &str) {
        eprintln!("{text}");
    }

    /// Asks a person at a terminal; the answer is read by the caller.
    pub(crate) fn prompt(self, text: &str) {
        eprint!("{text}");
    }

    /// Warns, on stderr in both forms.
    pub(crate) fn warn(self, text: &str) {
        eprintln!("warning: {text}");
    }

    /// Prints a failure and gives the exit code.
    pub(crate) fn fail(self, error: &anyhow::Error) -> ExitCode {
        let (body, exit) = describe(error);
        if exit == Exit::Restart {
            self.progress(&body.message);
        } else if self.json {
            self.result(&json!({ "error": body }), String::new);
        } else {
            // Often the words of another machine.
            eprintln!("{} {}", self.red("error:"), clean(&body.message));
            eprintln!("  code: {}", clean_line(&body.code));
            if !body.hint.is_empty() {
                eprintln!("  next: {}", clean(&body.hint));
            }
        }
        ExitCode::from(exit as u8)
    }

    /// A word that stands out on a terminal.
    pub(crate) fn bold(self, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn red(self, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[31;1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(unix_seconds: u64) -> String {
    let time = UNIX_EPOCH
        .checked_add(Duration::from_secs(unix_seconds))
        .unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Rows in columns, two spaces apart.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines.join("\n")
}

fn to_json(document: &impl Serialize) -> String {
    // Our own types always serialise; if one does not, programs still get a document.
    serde_json::to_string(document).unwrap_or_else(|error| {
        json!({ "error": { "code": "failed", "message": error.to_string() } }).to_string()
    })
}
