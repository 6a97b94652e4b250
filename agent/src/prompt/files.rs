//! The owner's own words to the agent: files of the workspace that every model is told.

use std::io::Read;
use std::path::Path;

use super::Section;

/// Their names, in the order in which they are told.
pub const FILES: [&str; 2] = ["AGENTS.md", "TOOLS.md"];

/// The files that are there, each cut after `cap` bytes. One that cannot be read is left out.
pub(super) fn read(workspace: &Path, cap: usize) -> Vec<Section> {
    if cap == 0 {
        return vec![];
    }
    let found = FILES.iter().filter_map(|name| one(workspace, name, cap));
    found.collect()
}

fn one(workspace: &Path, name: &str, cap: usize) -> Option<Section> {
    let (file, length) = open(workspace, name)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(cap).unwrap_or(u64::MAX);
    if let Err(error) = file.take(limit).read_to_end(&mut bytes) {
        tracing::warn!(%error, name, "a file of the workspace could not be read");
        return None;
    }
    let cut = length > limit;
    // The cap may have cut a character in two.
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches('\u{fffd}').trim();
    if text.is_empty() {
        return None;
    }
    let mark = match cut {
        true => format!("\n[{name} is cut here: {length} bytes in all]"),
        false => String::new(),
    };
    Some(Section {
        name: name.to_owned(),
        text: format!("From {name} in your workspace, by the owner of this agent:\n\n{text}{mark}"),
        least: false,
        cut_from: cut.then_some(length),
    })
}

/// Nothing outside of the workspace is told to a model: a link in place of a file is not followed.
#[cfg(target_os = "linux")]
fn open(workspace: &Path, name: &str) -> Option<(std::fs::File, u64)> {
    use crate::tools::{FileFolders, FilesError, settings::FileSettings};

    // Most workspaces have none, and this is asked in every turn.
    std::fs::symlink_metadata(workspace.join(name)).ok()?;
    let folders = FileFolders::new(&FileSettings::default(), workspace.to_owned(), vec![]);
    let file = match folders.open(name) {
        Ok(file) => file,
        Err(FilesError::NotFound(_)) => return None,
        Err(error) => {
            tracing::warn!(%error, name, "a file of the workspace is not told to models");
            return None;
        }
    };
    let length = file.metadata().ok()?.len();
    Some((file, length))
}

/// Only Linux keeps a path inside a folder.
#[cfg(not(target_os = "linux"))]
fn open(_: &Path, _: &str) -> Option<(std::fs::File, u64)> {
    None
}
