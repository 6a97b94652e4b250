//! What a program answers. Everything that is not understood is no answer, and so is everything that
//! its point has no place for: a program that believes to have said something must not be ignored.

use serde::Deserialize;

use crate::confine::Finished;
use crate::hooks::{HookError, Keeping, Point, Ruling, Start};
use crate::tools::readable;

/// Exit code that says no, with the reason on standard error.
const DENIES: i32 = 2;

/// An answer that means something at some point.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reply {
    decision: Decision,
    /// For `ask` and `deny`.
    reason: String,
    context: Option<String>,
    result: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    #[default]
    Pass,
    Ask,
    Deny,
}

/// The answer of a program that has ended.
pub(super) fn of(on: Point, finished: Finished) -> Result<Reply, HookError> {
    let first = finished.stderr.text.lines().next().unwrap_or_default();
    match finished.status.code() {
        Some(0) => {}
        Some(DENIES) => {
            return Reply {
                decision: Decision::Deny,
                reason: first.to_owned(),
                ..Reply::default()
            }
            .at(on);
        }
        _ => {
            return Err(HookError::Ended {
                status: finished.status,
                words: readable(first),
            });
        }
    }
    let stdout = finished.stdout;
    if stdout.truncated {
        return Err(HookError::TooLong(stdout.total));
    }
    match stdout.text.trim() {
        "" => Ok(Reply::default()),
        // A list would be read as the fields in their order.
        text if !text.starts_with('{') => {
            Err(HookError::Malformed("it is no JSON object".to_owned()))
        }
        text => {
            let reply: Reply = serde_json::from_str(text)
                .map_err(|error| HookError::Malformed(error.to_string()))?;
            reply.at(on)
        }
    }
}

impl Reply {
    /// Itself, when all that it says has a place at this point.
    fn at(self, on: Point) -> Result<Self, HookError> {
        let decision = match self.decision {
            Decision::Pass => true,
            Decision::Ask => on == Point::BeforeToolCall,
            Decision::Deny => matches!(
                on,
                Point::BeforeAgentStart | Point::BeforeToolCall | Point::ToolResultPersist
            ),
        };
        let context = matches!(on, Point::BeforeAgentStart | Point::BeforeCompaction);
        let result = on == Point::ToolResultPersist;
        let wrong = [
            (!decision, "this decision"),
            (self.context.is_some() && !context, "context"),
            (self.result.is_some() && !result, "result"),
        ];
        match wrong.iter().find(|(wrong, _)| *wrong) {
            None => Ok(self),
            Some((_, what)) => Err(HookError::Malformed(format!(
                "{what} has no place at {}",
                on.as_str()
            ))),
        }
    }

    pub(super) fn start(self) -> Start {
        match self.decision {
            Decision::Pass => Start::Go {
                context: self.context,
            },
            Decision::Ask | Decision::Deny => Start::Refuse(self.reason),
        }
    }

    pub(super) fn ruling(self) -> Ruling {
        match self.decision {
            Decision::Pass => Ruling::Pass,
            Decision::Ask => Ruling::Ask(self.reason),
            Decision::Deny => Ruling::Deny(self.reason),
        }
    }

    pub(super) fn keeping(self) -> Keeping {
        match (self.decision, self.result) {
            (Decision::Pass, None) => Keeping::AsIs,
            (Decision::Pass, Some(text)) => Keeping::Replace(text),
            (Decision::Ask | Decision::Deny, _) => Keeping::Withhold(self.reason),
        }
    }

    pub(super) fn wish(self) -> Option<String> {
        self.context
    }
}

#[cfg(test)]
mod tests;
