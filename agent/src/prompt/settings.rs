//! The context's part of the configuration.

use serde::{Deserialize, Serialize};

/// Bytes of each of the workspace's files, by default: some pages.
const FILE_BYTES: usize = 20_000;
/// Most that may be set: a file that is told in every call is paid for in every call.
const MAX_FILE_BYTES: usize = 256 << 10;

/// `[context]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContextSettings {
    /// How much models are told before a conversation. Default `full`; models with a small context
    /// are told the least in any case.
    pub prompt: PromptMode,
    /// Bytes that a model is told of `AGENTS.md` and of `TOOLS.md` in the agent's workspace, 0 to
    /// 262,144. Default 20,000; 0 tells it neither.
    pub file_bytes: usize,
}

/// How much a model is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptMode {
    /// Everything.
    #[default]
    Full,
    /// Who it is, what holds, and what hooks add: for small models.
    Minimal,
}

impl Default for ContextSettings {
    fn default() -> Self {
        Self {
            prompt: PromptMode::default(),
            file_bytes: FILE_BYTES,
        }
    }
}

impl ContextSettings {
    /// What is wrong with it, for people.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        match self.file_bytes {
            0..=MAX_FILE_BYTES => Ok(()),
            _ => Err(format!("context.file_bytes must be 0 to {MAX_FILE_BYTES}")),
        }
    }
}
