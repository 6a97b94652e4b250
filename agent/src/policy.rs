//! What may become of a tool call before anybody is asked: run, ask a person, or refuse. Pure.
//!
//! Owns the rules and their order. Does not know devices: a scope that is missing refuses before the
//! policy is asked, and no rule gives what a scope takes. Read-only mode comes before every rule.

mod pattern;
mod settings;

use serde_json::Value;

pub use settings::{Action, PolicySettings, Rule};

pub(crate) use pattern::matches;

/// What a tool call does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolEffect {
    /// Nothing: asking twice is the same as asking once.
    Reads,
    /// Something may be different afterwards.
    Changes,
}

/// A tool call as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Which tool.
    pub tool: &'a str,
    /// Its arguments.
    pub arguments: &'a Value,
    /// What it does.
    pub effect: ToolEffect,
    /// What the tool's own configuration says, in place of the default by effect.
    pub own: Option<Action>,
    /// The least strict answer that there may be, whatever the rules say.
    pub at_least: Action,
}

/// What the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It may run.
    Run,
    /// A person must approve it.
    Ask,
    /// It may not run, and no approval changes that.
    Refuse(Refusal),
}

/// Why a call may not run; the text is told to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing may be changed here.
    #[error("this agent is in read-only mode and changes nothing; nobody can approve it")]
    ReadOnly,
    /// A rule denies it.
    #[error("the agent's policy denies this call; nobody can approve it")]
    Denied,
}

/// The rules of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    settings: PolicySettings,
}

impl Policy {
    /// From the configuration.
    #[must_use]
    pub fn new(settings: PolicySettings) -> Self {
        Self { settings }
    }

    /// Whether nothing may be changed.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.settings.read_only
    }

    /// What becomes of a call. A deny of any rule wins. Then rules about arguments come before those
    /// about a tool's name, those before what the tool itself says, and that before the default: what
    /// reads may run, what changes is asked about. Within a step ask wins over allow.
    #[must_use]
    pub fn judge(&self, call: &Call<'_>) -> Judgement {
        if self.settings.read_only && call.effect == ToolEffect::Changes {
            return Judgement::Refuse(Refusal::ReadOnly);
        }
        let ruled = strictest(self.ruled(call));
        let named = strictest(self.named(call.tool));
        if [ruled, named, call.own].contains(&Some(Action::Deny)) {
            return Judgement::Refuse(Refusal::Denied);
        }
        let by_effect = match call.effect {
            ToolEffect::Reads => Action::Allow,
            ToolEffect::Changes => Action::Ask,
        };
        let action = ruled.or(named).or(call.own).unwrap_or(by_effect);
        match action.max(call.at_least) {
            Action::Allow => Judgement::Run,
            Action::Ask => Judgement::Ask,
            Action::Deny => Judgement::Refuse(Refusal::Denied),
        }
    }

    /// Whether no call of a tool of this name can ever run.
    #[must_use]
    pub fn never(&self, tool: &str) -> bool {
        strictest(self.named(tool)) == Some(Action::Deny)
    }

    fn ruled<'a>(&'a self, call: &'a Call<'_>) -> impl Iterator<Item = Action> + 'a {
        let rules = self.settings.rules.iter();
        rules
            .filter(|rule| rule.covers(call.tool, call.arguments))
            .map(|rule| rule.action)
    }

    fn named<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = Action> + 'a {
        let tools = self.settings.tools.iter();
        tools
            .filter(move |(name, _)| matches(name, tool))
            .map(|(_, action)| *action)
    }
}

fn strictest(actions: impl Iterator<Item = Action>) -> Option<Action> {
    actions.max()
}

#[cfg(test)]
mod tests;
