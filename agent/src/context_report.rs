//! What the next call of a model in a session would carry, counted: for people who want to know where
//! the room and the money go.

use std::sync::Arc;

use crate::models::tokens_of;
use crate::prompt::Asker;
use crate::providers::ToolSpec;
use crate::sessions::{SessionError, Sessions, Speaker};
use crate::turn::{self, MAX_SAID, Said};

/// A part of what is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Bytes that a model reads.
    pub bytes: usize,
    /// Bytes that it had before it was cut.
    pub cut_from: Option<u64>,
}

/// The next call, counted in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextReport {
    /// Label of the model that is asked first.
    pub model: String,
    /// Bytes that fit beside an answer.
    pub room: usize,
    /// What is told first.
    pub sections: Vec<Part>,
    /// The tools, largest first.
    pub tools: Vec<Part>,
    /// Messages of the conversation, the summary not counted.
    pub messages: usize,
    /// Bytes of the conversation, the summary included.
    pub conversation: usize,
    /// The summary of what was before, if there is one.
    pub summary: Option<String>,
}

impl ContextReport {
    /// Counts for the device that asks, as if it said something now.
    ///
    /// # Errors
    /// When the id is not one or the database fails.
    pub async fn of(
        sessions: &Sessions,
        speaker: Arc<Speaker>,
        session: &str,
    ) -> Result<Self, SessionError> {
        let engine = sessions.engine();
        let (said, _) = sessions.past(&speaker, session).await?;
        let choices = engine.models.choose(speaker.user_id, session).await?;
        let first = choices.first();
        let room = first.map_or(0, crate::models::Choice::room);
        let asker = Asker {
            speaker: &speaker,
            session,
            read_only: engine.tools.read_only(),
        };
        let prompt = engine.prompts.of(asker).await;
        let section = |section: &crate::prompt::Section| Part {
            name: section.name.clone(),
            bytes: section.text.len(),
            cut_from: section.cut_from,
        };
        let tool = |spec: &ToolSpec| Part {
            name: spec.name.clone(),
            bytes: spec.size(),
            cut_from: None,
        };
        let mut tools: Vec<Part> = engine.tools.specs(&speaker).iter().map(tool).collect();
        tools.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let summaries = said.iter().filter_map(|one| match one {
            Said::Summary(text) => Some(text.as_str()),
            _ => None,
        });
        let summaries: Vec<&str> = summaries.collect();
        Ok(Self {
            model: first.map(|choice| choice.label.clone()).unwrap_or_default(),
            room,
            sections: prompt.sections(room).map(section).collect(),
            tools,
            messages: said.len() - summaries.len(),
            conversation: turn::size(&said),
            summary: (!summaries.is_empty()).then(|| summaries.join("\n")),
        })
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn used(&self) -> usize {
        sum(&self.sections) + sum(&self.tools) + self.conversation
    }

    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{}: about {} of {} tokens",
            self.model,
            tokens_of(self.used()),
            tokens_of(self.room)
        )
    }

    /// The parts, a line each.
    #[must_use]
    pub fn list(&self) -> String {
        let mut lines = vec![self.line()];
        lines.extend(self.sections.iter().map(line));
        lines.push(format!(
            "tools: {}, about {} tokens",
            self.tools.len(),
            tokens_of(sum(&self.tools))
        ));
        let summary = match &self.summary {
            Some(_) => " and a summary of what was before",
            None => "",
        };
        lines.push(format!(
            "conversation: {} messages{summary}, about {} tokens; told shorter above {} tokens or {MAX_SAID} messages",
            self.messages,
            tokens_of(self.conversation),
            tokens_of(self.room.saturating_sub(sum(&self.sections) + sum(&self.tools))),
        ));
        lines.join("\n")
    }

    /// The same with every tool and the summary.
    #[must_use]
    pub fn detail(&self) -> String {
        let mut lines = vec![self.list(), String::new()];
        lines.extend(self.tools.iter().map(line));
        if let Some(summary) = &self.summary {
            lines.push(format!("\nsummary:\n{summary}"));
        }
        lines.join("\n")
    }
}

fn sum(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.bytes).sum()
}

fn line(part: &Part) -> String {
    let cut = match part.cut_from {
        Some(bytes) => format!(", cut from {bytes} bytes"),
        None => String::new(),
    };
    format!("{}: about {} tokens{cut}", part.name, tokens_of(part.bytes))
}
