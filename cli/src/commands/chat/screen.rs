//! What a person sees of the frames of a turn: the answer as it comes, and beside it, in dim lines, what
//! the agent does. Everything from the agent is cleaned before it is shown.

use super::frames::{Approval, Attachment, By, What};
use super::markdown::Markdown;
use crate::output::Output;
use crate::terminal_text::{Cleaner, clean, clean_line};

/// Most of a tool's arguments in the line that says it runs.
const MAX_ARGUMENTS: usize = 120;

/// What one turn shows.
#[derive(Debug)]
pub(super) struct Screen {
    styled: bool,
    /// Whether stdout is a terminal, where lines of both kinds share the screen.
    shared: bool,
    cleaner: Cleaner,
    markdown: Option<Markdown>,
    at_line_start: bool,
    /// Something of the answer was shown.
    streamed: bool,
    model: String,
}

impl Screen {
    /// For one answer: rendered on a terminal with colours, else as the agent wrote it.
    pub(super) fn for_answer(output: Output) -> Self {
        use std::io::IsTerminal;
        let styled = output.is_styled();
        Self {
            styled,
            shared: std::io::stdout().is_terminal(),
            cleaner: Cleaner::default(),
            markdown: styled.then(Markdown::default),
            at_line_start: true,
            streamed: false,
            model: String::new(),
        }
    }

    /// What to print: of the answer, then beside it.
    pub(super) fn take(&mut self, what: &What) -> (String, String) {
        match what {
            What::Delta { text } => {
                self.streamed = true;
                (self.render(text), String::new())
            }
            What::Response {
                text,
                model,
                attachments,
            } => {
                self.model.clone_from(model);
                let mut answer = String::new();
                // A turn that came as a whole.
                if !self.streamed {
                    answer = self.render(text);
                    self.streamed = true;
                }
                if !attachments.is_empty() {
                    answer += &self.break_line();
                }
                (answer, self.dim(&files(attachments)))
            }
            What::Queued { position } => {
                let text = format!("waits; {position} in the queue");
                (String::new(), self.dim(&text))
            }
            What::ToolCall {
                name, arguments, ..
            } => {
                let arguments = match arguments {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::Object(none) if none.is_empty() => String::new(),
                    some => shorten(&some.to_string()),
                };
                let text = format!("· {} {arguments}", clean_line(name));
                (self.break_line(), self.dim(text.trim_end()))
            }
            What::ToolResult {
                name,
                ok: false,
                error,
                ..
            } => {
                let error = error.as_deref().unwrap_or("failed");
                let text = format!("· {}: {}", clean_line(name), shorten(error));
                (self.break_line(), self.dim(&text))
            }
            What::Status { text } if text == "compacting" || text == "fallback" => {
                (self.break_line(), self.dim(&format!("· {text}")))
            }
            _ => (String::new(), String::new()),
        }
    }

    /// The rest of the answer, with a newline at its end.
    pub(super) fn finish(&mut self) -> String {
        let mut rest = match &mut self.markdown {
            Some(markdown) => markdown.finish(),
            None => String::new(),
        };
        self.note_end(&rest);
        if self.streamed && !self.at_line_start {
            rest.push('\n');
            self.at_line_start = true;
        }
        rest
    }

    /// A newline when the answer's line is not complete and something else comes on the same screen.
    pub(super) fn break_line(&mut self) -> String {
        if !self.shared {
            return String::new();
        }
        let mut text = match &mut self.markdown {
            Some(markdown) => markdown.finish(),
            None => String::new(),
        };
        self.note_end(&text);
        if !self.at_line_start {
            text.push('\n');
            self.at_line_start = true;
        }
        text
    }

    /// The model that answered.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// A line beside the answer.
    pub(super) fn dim(&self, text: &str) -> String {
        if self.styled && !text.is_empty() {
            format!("\u{1b}[2m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn render(&mut self, text: &str) -> String {
        let clean = self.cleaner.push(text);
        let shown = match &mut self.markdown {
            Some(markdown) => markdown.push(&clean),
            None => clean,
        };
        self.note_end(&shown);
        shown
    }

    fn note_end(&mut self, shown: &str) {
        // Styles that are switched off after a newline do not begin a line.
        let visible = shown.trim_end_matches("\u{1b}[0m");
        if !visible.is_empty() {
            self.at_line_start = visible.ends_with('\n');
        }
    }
}

/// A tool call that waits for approval, with everything that is approved.
pub(super) fn approval(approval: &Approval) -> String {
    let mut arguments = serde_json::to_string_pretty(&approval.arguments).unwrap_or_default();
    if !approval.bound.is_null() {
        let bound = serde_json::to_string_pretty(&approval.bound).unwrap_or_default();
        arguments = format!("{arguments}\nbound to {bound}");
    }
    let until = u64::try_from(approval.expires_at)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(|seconds| format!(" (until {})", crate::output::rfc3339(seconds)))
        .unwrap_or_default();
    let lines = clean(&arguments).replace('\n', "\n    ");
    format!(
        "The agent asks to use {} (approval {}){until}: {}\n    {lines}",
        clean_line(&approval.tool),
        approval.id,
        clean_line(&approval.summary)
    )
}

/// What became of an approval.
pub(super) fn resolved(id: i64, decision: &str, by: Option<&By>) -> String {
    let by = by.map(|by| format!(" on {}", clean_line(&by.device)));
    format!(
        "Approval {id} is {}{}.",
        clean_line(decision),
        by.unwrap_or_default()
    )
}

/// A line for each file.
pub(super) fn files(attachments: &[Attachment]) -> String {
    let lines = attachments.iter().map(|file| {
        let name = if file.filename.is_empty() {
            &file.path
        } else {
            &file.filename
        };
        format!("· file: {} at {}", clean_line(name), clean_line(&file.path))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn shorten(text: &str) -> String {
    let line = clean_line(text);
    match line.char_indices().nth(MAX_ARGUMENTS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
