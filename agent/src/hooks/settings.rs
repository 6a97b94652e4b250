//! The hooks' part of the configuration. Written on the host only: it names programs that the agent
//! starts.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MAX_TIME, TIME};

/// Hooks that there may be: each costs a program at its point.
pub const MAX_HOOKS: usize = 32;
/// Words of a command and bytes of each: what an owner writes by hand.
const MAX_WORDS: usize = 64;
const MAX_WORD: usize = 4 << 10;

/// When a hook is asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// A turn is about to begin.
    BeforeAgentStart,
    /// A tool is about to run.
    BeforeToolCall,
    /// A tool has ended.
    AfterToolCall,
    /// A tool's result is about to be kept.
    ToolResultPersist,
    /// A turn has ended.
    AgentEnd,
    /// A conversation is about to be told shorter.
    BeforeCompaction,
    /// A conversation was told shorter.
    AfterCompaction,
}

impl Point {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeAgentStart => "before_agent_start",
            Self::BeforeToolCall => "before_tool_call",
            Self::AfterToolCall => "after_tool_call",
            Self::ToolResultPersist => "tool_result_persist",
            Self::AgentEnd => "agent_end",
            Self::BeforeCompaction => "before_compaction",
            Self::AfterCompaction => "after_compaction",
        }
    }

    fn about_tools(self) -> bool {
        matches!(
            self,
            Self::BeforeToolCall | Self::AfterToolCall | Self::ToolResultPersist
        )
    }
}

/// What a failure counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// A no.
    Deny,
    /// No objection.
    Pass,
}

/// `[[hooks]]`: a program that is started at a point of every turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// When.
    pub on: Point,
    /// The absolute path of the program, and its arguments. No shell is in between.
    pub command: Vec<String>,
    /// Names of the tools, in which `*` stands for anything, at the points about tools. Default empty:
    /// all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Seconds that it has, 1 to 60. Default 5.
    #[serde(default = "default_seconds")]
    pub timeout_seconds: u64,
    /// What its failure counts as, for `before_agent_start` and `before_tool_call`. Default `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Whether it is handed the texts of messages, answers, results and summaries where it does not
    /// need them for its answer. Default false.
    #[serde(default)]
    pub text: bool,
}

fn default_seconds() -> u64 {
    TIME.as_secs()
}

impl HookSettings {
    /// A hook at this point, with the defaults.
    #[must_use]
    pub fn new(on: Point, command: Vec<String>) -> Self {
        Self {
            on,
            command,
            tools: Vec::new(),
            timeout_seconds: default_seconds(),
            on_failure: None,
            text: false,
        }
    }

    /// Seconds that it has.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    fn check(&self) -> Result<(), String> {
        let on = self.on.as_str();
        let readable = |word: &String| word.len() <= MAX_WORD && !word.contains('\0');
        if !(1..=MAX_WORDS).contains(&self.command.len()) || !self.command.iter().all(readable) {
            return Err(format!(
                "hooks: command of {on} has 1 to {MAX_WORDS} words of at most {MAX_WORD} bytes"
            ));
        }
        let program = Path::new(&self.command[0]);
        if !program.is_absolute() || program.file_name().is_none() {
            return Err(format!(
                "hooks: {} is not the absolute path of a program",
                self.command[0]
            ));
        }
        if !(1..=MAX_TIME.as_secs()).contains(&self.timeout_seconds) {
            let most = MAX_TIME.as_secs();
            return Err(format!(
                "hooks: timeout_seconds of {on} must be 1 to {most}"
            ));
        }
        if !self.tools.is_empty() && !self.on.about_tools() {
            return Err(format!(
                "hooks: {on} is not about tools, so leave tools out"
            ));
        }
        match (self.on, self.on_failure) {
            (Point::BeforeAgentStart | Point::BeforeToolCall, _) | (_, None) => Ok(()),
            (Point::ToolResultPersist, Some(OnFailure::Deny)) => Ok(()),
            (Point::ToolResultPersist, Some(OnFailure::Pass)) => Err(
                "hooks: a result is withheld when a tool_result_persist hook fails; on_failure cannot be \"pass\""
                    .to_owned(),
            ),
            _ => Err(format!(
                "hooks: {on} refuses nothing, so leave on_failure out"
            )),
        }
    }
}

/// What is wrong with the list, for people.
///
/// # Errors
/// A sentence that names the key.
pub fn check(hooks: &[HookSettings]) -> Result<(), String> {
    if hooks.len() > MAX_HOOKS {
        return Err(format!("hooks: there may be {MAX_HOOKS}"));
    }
    hooks.iter().try_for_each(HookSettings::check)
}

#[cfg(test)]
mod tests;
