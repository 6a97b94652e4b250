//! Whether a tool call may run: first the device's scopes, then the policy.

use serde_json::Value;

use super::{Tool, ToolError, Tools, allowed};
use crate::approvals::Origin;
use crate::audit::{Decision, Entry, Kind};
use crate::hooks::Asks;
use crate::policy::{Call, Judgement, ToolEffect};
use crate::sessions::Speaker;
use crate::turn::ToolCall;

/// Longest summary that people are shown, in characters.
const MAX_SUMMARY: usize = 300;

/// What may become of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// It may run.
    Run,
    /// It may run when a person has approved it.
    Ask {
        /// One line for that person.
        summary: String,
    },
}

impl Tools {
    /// What may become of a call of the device in whose name the turn runs; what the policy does not
    /// refuse, hooks may. The decision is in the audit log; a call that changes something runs only
    /// after its line.
    ///
    /// # Errors
    /// [`ToolError::Unknown`], [`ToolError::Forbidden`], [`ToolError::Policy`], [`ToolError::Hook`],
    /// [`ToolError::Unaudited`].
    pub async fn judge(&self, origin: &Origin, call: &ToolCall) -> Result<Permission, ToolError> {
        let speaker = &origin.speaker;
        let tool = self.find(speaker, &call.name)?;
        let scope = tool.scope().unwrap_or_default();
        let effect = tool.effect(&call.arguments);
        let judged = match allowed(tool.as_ref(), speaker) {
            false => Err(ToolError::Forbidden(scope)),
            true => match self
                .rules
                .load()
                .policy
                .judge(&as_seen(tool.as_ref(), call))
            {
                Judgement::Run => Ok(Permission::Run),
                Judgement::Ask => Ok(Permission::Ask {
                    summary: readable(&tool.summary(&call.arguments)),
                }),
                Judgement::Refuse(refusal) => Err(ToolError::Policy(refusal)),
            },
        };
        let (judged, hook) = match judged {
            Ok(permission) => self.hooked(origin, call, tool.as_ref(), permission).await,
            refused => (refused, None),
        };
        let entry = Entry::new(Kind::ToolCall)
            .by(speaker.node_id, &speaker.handle, &speaker.path)
            .call("tool", &call.name)
            .capability(scope);
        let entry = match &judged {
            Ok(Permission::Run) => entry.decision(Decision::Allowed),
            // The approval has lines of its own.
            Ok(Permission::Ask { .. }) => entry.detail("needs", "approval"),
            Err(_) => entry.decision(Decision::Refused),
        };
        let entry = match hook {
            Some(hook) => entry.detail("hook", hook),
            None => entry,
        };
        if judged == Ok(Permission::Run) && effect == ToolEffect::Changes {
            let recorded = self.audit.record(entry).await;
            recorded.map_err(|error| {
                tracing::error!(%error, "a tool did not run because it could not be audited");
                ToolError::Unaudited
            })?;
        } else {
            // Nothing is changed by this, so a line that is lost does not stop it.
            self.audit.note(entry);
        }
        judged
    }

    /// Like [`Tools::judge`], for callers with nobody to ask.
    ///
    /// # Errors
    /// Also [`ToolError::NeedsApproval`].
    pub async fn permit(&self, origin: &Origin, call: &ToolCall) -> Result<(), ToolError> {
        match self.judge(origin, call).await? {
            Permission::Run => Ok(()),
            Permission::Ask { .. } => Err(ToolError::NeedsApproval),
        }
    }

    /// What an approval of this call is bound to beside its arguments, as things are now.
    ///
    /// # Errors
    /// When the call could not run.
    pub async fn bind(&self, speaker: &Speaker, call: &ToolCall) -> Result<Value, ToolError> {
        let tool = self.find(speaker, &call.name)?;
        tool.bind(speaker, &call.arguments).await
    }

    /// What hooks make of a permission, and which of them spoke.
    async fn hooked(
        &self,
        origin: &Origin,
        call: &ToolCall,
        tool: &dyn Tool,
        permission: Permission,
    ) -> (Result<Permission, ToolError>, Option<String>) {
        match self.hooks.before_tool_call(origin, call).await {
            Ok(None) => (Ok(permission), None),
            Ok(Some(Asks { hook, reason })) => {
                let mut summary = readable(&tool.summary(&call.arguments));
                // After what is asked about, which it must not hide.
                summary += &match reason.trim() {
                    "" => format!(" [{hook}]"),
                    reason => format!(" [{hook}: {}]", readable(reason)),
                };
                (Ok(Permission::Ask { summary }), Some(hook))
            }
            Err(refused) => {
                let hook = refused.hook.clone();
                (Err(ToolError::Hook(refused)), Some(hook))
            }
        }
    }
}

fn as_seen<'a>(tool: &dyn Tool, call: &'a ToolCall) -> Call<'a> {
    Call {
        tool: &call.name,
        arguments: &call.arguments,
        effect: tool.effect(&call.arguments),
        own: tool.action(&call.arguments),
        at_least: tool.at_least(&call.arguments),
    }
}

/// Without characters that hide, reorder or fake what a person reads: the text comes from a model.
pub(crate) fn readable(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_control() => ' ',
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    };
    let mut short: String = text.chars().take(MAX_SUMMARY).map(shown).collect();
    if text.chars().nth(MAX_SUMMARY).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_short_and_shows_what_would_hide() {
        assert_eq!(readable("rm \u{202e}x\u{1b}[2J\n"), "rm \u{fffd}x [2J ");
        assert_eq!(readable(&"é".repeat(400)).chars().count(), MAX_SUMMARY + 1);
    }
}
