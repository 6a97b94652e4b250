//! What a model is told of itself and its place before a conversation: sections in a fixed order, the
//! owner's own files `AGENTS.md` and `TOOLS.md` among them, each with a cap.
//!
//! Owns the words and the caps. What was said, and how it is made to fit, is the turn's; which tools
//! there are is told by their own descriptions. What stands here is advice to a model: what holds is
//! the policy.

mod files;
mod sections;
mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use files::FILES;
pub use settings::{ContextSettings, PromptMode};

use crate::sessions::Speaker;

/// Bytes of a model's context below which it is told only the least: about 16,000 tokens, of which a
/// conversation and the tools need most.
const SMALL_ROOM: usize = 48 << 10;
/// Bytes that others may add in all.
pub const MAX_ADDED: usize = 8 << 10;

/// Makes prompts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prompts {
    agent: String,
    host: String,
    workspace: PathBuf,
    settings: Arc<ArcSwap<ContextSettings>>,
}

/// For whom a prompt is.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Who speaks.
    pub speaker: &'a Speaker,
    /// In which session.
    pub session: &'a str,
    /// Whether nothing may be changed.
    pub read_only: bool,
}

/// What a model is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    sections: Vec<Section>,
    mode: PromptMode,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, for people.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether models with little room are told it as well.
    pub least: bool,
    /// Bytes that it had before it was cut; `None` when it was not.
    pub cut_from: Option<u64>,
}

impl Prompts {
    /// For the agent of this name, with this workspace.
    #[must_use]
    pub fn new(agent: String, workspace: PathBuf, settings: ContextSettings) -> Self {
        Self {
            agent,
            host: host_name(),
            workspace,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
        }
    }

    /// From now on these settings.
    pub fn change(&self, settings: ContextSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// The prompt of a turn that begins now. The workspace's files are read each time: whoever edits
    /// them need not restart anything.
    pub async fn of(&self, asker: Asker<'_>) -> Prompt {
        let today = jiff::Zoned::now();
        let mut sections = sections::all(self, asker, &today);
        let settings = **self.settings.load();
        let (workspace, cap) = (self.workspace.clone(), settings.file_bytes);
        let read = move || files::read(&workspace, cap);
        // A panic in it costs the files, not the turn.
        let files = tokio::task::spawn_blocking(read).await;
        sections.extend(files.unwrap_or_default());
        Prompt {
            sections,
            mode: settings.prompt,
        }
    }
}

impl Prompt {
    /// The sections for a model with so many bytes of context.
    pub fn sections(&self, room: usize) -> impl Iterator<Item = &Section> {
        let least = self.mode == PromptMode::Minimal || room < SMALL_ROOM;
        self.sections
            .iter()
            .filter(move |section| section.least || !least)
    }

    /// The whole text for a model with so many bytes of context.
    #[must_use]
    pub fn text(&self, room: usize) -> String {
        let texts = self.sections(room).map(|section| section.text.as_str());
        texts.collect::<Vec<_>>().join("\n\n")
    }

    /// Adds what somebody else has to say, cut to what is left of [`MAX_ADDED`].
    pub fn add(&mut self, name: &str, text: &str) {
        let added = |section: &&Section| section.name.starts_with(ADDED);
        let before = self.sections.iter().filter(added);
        let left = MAX_ADDED.saturating_sub(before.map(|section| section.text.len()).sum());
        let cut = text.len() > left;
        self.sections.push(Section {
            name: format!("{ADDED}{name}"),
            text: crate::turn::shorten(text, left),
            least: true,
            cut_from: cut.then_some(text.len() as u64),
        });
    }
}

/// What the names of added sections begin with.
const ADDED: &str = "added by ";

fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    match name.is_empty() {
        true => "this machine".to_owned(),
        false => name,
    }
}
