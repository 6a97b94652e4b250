//! The line editor: keys as in a shell, several lines by a backslash at the end or by pasting them,
//! completion of commands.

use std::borrow::Cow;

use anyhow::Context as _;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, ExternalPrinter, Helper};

use super::Typed;
use super::history::{History, MAX_LINES};
use crate::commands::chat::slash;
use crate::output::Output;

pub(super) struct Editor {
    editor: rustyline::Editor<Chat, MemHistory>,
    history: History,
}

/// Prints above the line that is being edited, or, on a terminal that can do nothing, after it.
pub(super) struct Printer(Option<Box<dyn ExternalPrinter + Send>>);

impl Editor {
    pub(super) fn new(history: History, styled: bool) -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(MAX_LINES)
            .context("the history")?
            .auto_add_history(false)
            .bracketed_paste(true)
            .build();
        let remembered = MemHistory::with_config(&config);
        let mut editor = rustyline::Editor::with_history(config, remembered)
            .context("the terminal cannot be edited on")?;
        editor.set_helper(Some(Chat { styled }));
        for line in history.lines() {
            let _ = editor.add_history_entry(line);
        }
        Ok(Self { editor, history })
    }

    pub(super) fn printer(&mut self) -> Printer {
        let printer = self.editor.create_external_printer().ok();
        Printer(printer.map(|printer| Box::new(printer) as _))
    }

    pub(super) fn line(&mut self, prompt: &str) -> Typed {
        match self.editor.readline(prompt) {
            Ok(line) => {
                let line = line.replace("\\\n", "\n");
                if !line.trim().is_empty() {
                    let _ = self.editor.add_history_entry(&line);
                    self.history.add(&line);
                }
                Typed::Line(line)
            }
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(_) => Typed::End,
        }
    }
}

impl Printer {
    pub(super) fn print(&mut self, text: String) {
        match &mut self.0 {
            // A terminal that is gone shows nothing; the editor notices it too.
            Some(printer) => drop(printer.print(text)),
            None => Output::new(false).piece(&text),
        }
    }
}

struct Chat {
    styled: bool,
}

impl Helper for Chat {}

impl Hinter for Chat {
    type Hint = String;
}

impl Highlighter for Chat {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.styled {
            Cow::Owned(format!("\u{1b}[1m{prompt}\u{1b}[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }
}

impl Validator for Chat {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let continues = context.input().ends_with('\\') && !context.input().ends_with("\\\\");
        Ok(if continues {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Completer for Chat {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or_default();
        let known = slash::NAMES.iter().map(|(name, _)| format!("/{name}"));
        let fitting = known.filter(|name| !typed.is_empty() && name.starts_with(typed));
        Ok((0, fitting.collect()))
    }
}
