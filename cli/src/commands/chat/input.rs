//! What a person types: lines with history and completion, in a thread of their own, and what is printed
//! above them meanwhile.

mod editor;
mod history;

use std::io::IsTerminal;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use self::editor::Editor;
use self::history::History;
use crate::data_dir::DataDir;

/// Texts that wait to be printed above the line; the thread that prints them waits for the editor at most.
const PRINTS: usize = 256;
/// Switches off what the editor has told the terminal about pasted text.
const NO_BRACKETED_PASTE: &str = "\u{1b}[?2004l";

/// What was typed.
#[derive(Debug)]
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D on an empty line, or the terminal is gone.
    End,
}

/// The person's side of the conversation.
pub(super) struct Input {
    prompts: SyncSender<String>,
    typed: mpsc::Receiver<Typed>,
    prints: SyncSender<String>,
    asking: bool,
    // Last: the threads' terminal is put back after everything else.
    terminal: Terminal,
}

impl Input {
    /// Begins; the threads end with the process, because nothing can take a person's keyboard away.
    pub(super) fn open(dir: &DataDir, styled: bool) -> anyhow::Result<Self> {
        let terminal = Terminal::remember()?;
        let mut editor = Editor::new(History::of(dir), styled)?;
        let mut printer = editor.printer();
        let (prompts, asked) = sync_channel::<String>(1);
        let (answers, typed) = mpsc::channel(1);
        let edit = move || {
            while let Ok(prompt) = asked.recv() {
                if answers.blocking_send(editor.line(&prompt)).is_err() {
                    return;
                }
            }
        };
        let (prints, texts) = sync_channel::<String>(PRINTS);
        let print = move || {
            while let Ok(text) = texts.recv() {
                printer.print(text);
            }
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("editor")
            .spawn(edit)
            .context("no thread for the editor")?;
        thread("printer")
            .spawn(print)
            .context("no thread for the printer")?;
        Ok(Self {
            prompts,
            typed,
            prints,
            asking: false,
            terminal,
        })
    }

    /// What is typed at the prompt. Waited for again after it was not, the prompt is still the same one.
    pub(super) async fn line(&mut self, prompt: &str) -> Typed {
        if !self.asking {
            if self.prompts.try_send(prompt.to_owned()).is_err() {
                return Typed::End;
            }
            self.asking = true;
        }
        let typed = self.typed.recv().await.unwrap_or(Typed::End);
        self.asking = false;
        typed
    }

    /// Prints lines above the prompt.
    pub(super) fn print_above(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let line_end = if text.ends_with('\n') { "" } else { "\n" };
        let _ = self.prints.try_send(format!("{text}{line_end}"));
    }

    /// Shows nothing of what is typed, until the result is dropped: it belongs to the next prompt.
    pub(super) fn hush(&self) -> Hushed<'_> {
        self.terminal
            .set(|mode| mode.local_modes.remove(LocalModes::ECHO));
        Hushed(&self.terminal)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.asking {
            crate::output::Output::new(false).piece(&format!("{NO_BRACKETED_PASTE}\r\n"));
        }
    }
}

/// A terminal without an echo.
pub(super) struct Hushed<'a>(&'a Terminal);

impl Drop for Hushed<'_> {
    fn drop(&mut self) {
        self.0.set(|_| {});
    }
}

/// The terminal's mode as it was.
struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    fn remember() -> anyhow::Result<Self> {
        let stdin = std::io::stdin();
        let before = match stdin.is_terminal() {
            true => Some(tcgetattr(&stdin).context("the terminal's mode could not be read")?),
            false => None,
        };
        Ok(Self { before })
    }

    fn set(&self, change: impl FnOnce(&mut Termios)) {
        if let Some(before) = &self.before {
            let mut mode = before.clone();
            change(&mut mode);
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &mode);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.set(|_| {});
    }
}
