//! What was typed in earlier chats: a private file with one JSON text per line.

use std::path::PathBuf;

use crate::data_dir::DataDir;
use crate::files;

/// Lines that are kept: months of a talkative person.
pub(super) const MAX_LINES: usize = 1_000;
/// A longer line was pasted; nobody looks for it in the history.
const MAX_LINE: usize = 4 * 1024;

pub(super) struct History {
    path: PathBuf,
    folder: PathBuf,
    lines: Vec<String>,
}

impl History {
    pub(super) fn of(dir: &DataDir) -> Self {
        let folder = dir.chat();
        let path = folder.join("history");
        let bytes = files::read(&path).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Self {
            lines: lines.collect(),
            path,
            folder,
        }
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Remembers a line. A history that cannot be written ends no conversation.
    pub(super) fn add(&mut self, line: &str) {
        if line.len() > MAX_LINE || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_owned());
        let surplus = self.lines.len().saturating_sub(MAX_LINES);
        self.lines.drain(..surplus);
        let mut text = String::new();
        for line in &self.lines {
            text += &serde_json::Value::from(line.as_str()).to_string();
            text.push('\n');
        }
        let written = files::make_folder(&self.folder)
            .and_then(|()| files::write(&self.path, text.as_bytes()));
        if let Err(error) = written {
            tracing::warn!("what was typed is not remembered: {error:#}");
        }
    }
}
