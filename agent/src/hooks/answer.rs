//! What hooks answer, and why one has no answer.

use std::time::Duration;

use crate::confine::LaunchError;
use crate::tools::readable;

/// Whether a turn may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It may.
    Go {
        /// What models are told besides; cut to what is left of
        /// [`MAX_ADDED`](crate::prompt::MAX_ADDED).
        context: Option<String>,
    },
    /// It may not; the reason is for people.
    Refuse(String),
}

impl Default for Start {
    fn default() -> Self {
        Self::Go { context: None }
    }
}

/// What is to become of a call that the policy does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// What the policy said.
    Pass,
    /// A person must approve it; the reason is for them and may be empty.
    Ask(String),
    /// It may not run; the reason is for the model.
    Deny(String),
}

/// What is kept of a tool's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeping {
    /// All.
    AsIs,
    /// This text in its place, cut to [`MAX_RESULT`](crate::turn::MAX_RESULT) bytes.
    Replace(String),
    /// Nothing; the reason is for the model.
    Withhold(String),
}

/// A hook wants a person to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    /// Which.
    pub hook: String,
    /// For the person; may be empty.
    pub reason: String,
}

/// A hook says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the hook {hook} refuses this: {reason}")]
pub struct Refused {
    /// Which.
    pub hook: String,
    /// For people and models.
    pub reason: String,
}

impl Refused {
    pub(super) fn new(hook: &str, reason: &str) -> Self {
        let reason = match reason.trim() {
            "" => "it gives no reason",
            reason => reason,
        };
        Self {
            hook: hook.to_owned(),
            reason: readable(reason),
        }
    }
}

/// Why a hook has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// Its program was not started.
    #[error("its program was not started")]
    Launch(#[source] LaunchError),
    /// Its program lies where models write.
    #[error("{0} lies in the agent's workspace, where models write")]
    InWorkspace(String),
    /// What it was to be told is too long.
    #[error("what it was to be told has more than {0} bytes")]
    TooMuch(usize),
    /// It was not ready in time.
    #[error("it was not ready within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// How its program ended is not known.
    #[error("how its program ended is not known")]
    Unknown(#[source] std::io::Error),
    /// Its program ended as none should.
    #[error("its program ended with {status}: {words}")]
    Ended {
        /// How.
        status: std::process::ExitStatus,
        /// The first line of what it complained, shortened.
        words: String,
    },
    /// Its program said more than is read.
    #[error("its program wrote {0} bytes")]
    TooLong(u64),
    /// What it said is no answer.
    #[error("its answer is not understood: {0}")]
    Malformed(String),
    /// Something of its own.
    #[error("{0}")]
    Failed(String),
}
