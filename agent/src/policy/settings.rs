//! The policy's part of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pattern::matches;

/// Minutes that a question waits for its answer, by default.
const APPROVAL_MINUTES: u32 = 15;

/// What is to become of a call; the later ones are stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It runs.
    Allow,
    /// A person is asked each time.
    Ask,
    /// It never runs.
    Deny,
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Refuses everything that changes something. Default false.
    pub read_only: bool,
    /// Minutes that a question waits for its answer, 1 to 1,440. Default 15.
    pub approval_minutes: u32,
    /// Lets devices other than an admin's start programs where the system cannot confine them.
    /// Default false.
    pub unconfined_for_all: bool,
    /// By the name of a tool, in which `*` stands for anything. Default empty.
    pub tools: BTreeMap<String, Action>,
    /// By what a call is about. Default empty.
    pub rules: Vec<Rule>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            read_only: false,
            approval_minutes: APPROVAL_MINUTES,
            unconfined_for_all: false,
            tools: BTreeMap::new(),
            rules: Vec::new(),
        }
    }
}

impl PolicySettings {
    /// How long a question waits for its answer.
    #[must_use]
    pub fn approval_lifetime(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.approval_minutes))
    }

    /// What is wrong with it, for people.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=1_440).contains(&self.approval_minutes) {
            return Err("policy.approval_minutes must be 1 to 1440".to_owned());
        }
        for rule in &self.rules {
            if rule.argv.is_empty() && rule.arguments.is_empty() {
                let tool = &rule.tool;
                return Err(format!(
                    "a rule of policy.rules about {tool} names neither argv nor arguments; use policy.tools"
                ));
            }
        }
        Ok(())
    }
}

/// `[[policy.rules]]`: a rule about what a call is about. All that it names must fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of the tool, in which `*` stands for anything.
    pub tool: String,
    /// What is to become of such a call.
    pub action: Action,
    /// How `argv` of the call begins, word by word. Default empty: not looked at.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Whether `argv` must be the whole of it. Default false.
    #[serde(default)]
    pub exact: bool,
    /// Patterns for arguments that are texts, by name. Default empty.
    #[serde(default)]
    pub arguments: BTreeMap<String, String>,
}

impl Rule {
    pub(super) fn covers(&self, tool: &str, arguments: &Value) -> bool {
        matches(&self.tool, tool) && self.covers_argv(arguments) && self.covers_texts(arguments)
    }

    fn covers_argv(&self, arguments: &Value) -> bool {
        if self.argv.is_empty() {
            return true;
        }
        let Some(given) = arguments["argv"].as_array() else {
            return false;
        };
        let begins = given.len() >= self.argv.len()
            && self
                .argv
                .iter()
                .zip(given)
                .all(|(wanted, given)| given.as_str() == Some(wanted));
        begins && (!self.exact || given.len() == self.argv.len())
    }

    fn covers_texts(&self, arguments: &Value) -> bool {
        self.arguments.iter().all(|(name, pattern)| {
            arguments[name.as_str()]
                .as_str()
                .is_some_and(|text| matches(pattern, text))
        })
    }
}
