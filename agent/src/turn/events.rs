//! What goes into the machine of a turn and what comes out of it.

use super::{Said, Tokens, ToolCall, ToolOutcome, Usage};

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Begin, with what was said so far; the last is the person's message.
    Begin {
        /// Oldest first.
        said: Vec<Said>,
        /// For each model that may answer, best first: bytes of `said` that fit into its context.
        rooms: Vec<usize>,
    },
    /// Go on after a restart of the process.
    Resume,
    /// The model wrote some text.
    Text(String),
    /// The model asks for a tool.
    Call(ToolCall),
    /// The model has finished its round.
    Finished {
        /// What it read and wrote.
        tokens: Tokens,
        /// In millionths of a US dollar; `None` when its price is not known.
        cost: Option<u64>,
    },
    /// The model failed.
    ModelFailed(String),
    /// The model says that its context is too small for what was said.
    ContextTooLong(String),
    /// The call of the model was refused because it would cost more than somebody allowed.
    OverBudget(String),
    /// What was said, told shorter.
    Compacted {
        /// What is said from now on.
        said: Vec<Said>,
        /// What it took.
        usage: Usage,
    },
    /// It could not be told shorter.
    CompactionFailed(String),
    /// The policy has spoken about a call.
    Decided {
        /// Which call.
        id: String,
        /// What is to become of it.
        verdict: Verdict,
    },
    /// Somebody approved what an approval stands for.
    Approved {
        /// The approval.
        approval: i64,
    },
    /// Somebody denied it, or it expired, or it was used before.
    Denied {
        /// The approval.
        approval: i64,
        /// For the model.
        why: String,
    },
    /// A tool has answered.
    ToolDone(ToolOutcome),
    /// Somebody wants it to stop.
    Interrupt,
}

/// What the policy says about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Run,
    /// Somebody is asked under this approval.
    Ask {
        /// The approval.
        approval: i64,
    },
    /// It may not; the text is for the model.
    Refuse(String),
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the model at this place of the list.
    CallModel {
        /// What was said.
        said: Vec<Said>,
        /// Its place.
        choice: usize,
    },
    /// Tell what was said shorter, with the model at this place.
    Compact {
        /// What was said.
        said: Vec<Said>,
        /// Its place.
        choice: usize,
        /// Bytes that the answer may have.
        room: usize,
    },
    /// Ask the policy about a call.
    Decide(ToolCall),
    /// Wait for the answer to an approval.
    AwaitApproval(i64),
    /// Run a tool, beside others.
    RunTool {
        /// The call.
        call: ToolCall,
        /// The approval under which it runs, if it needed one; to be used up before it runs.
        approval: Option<i64>,
    },
    /// Put the machine on the disk before anything else: a restart goes on from here.
    Keep,
    /// Show text.
    ShowText(String),
    /// Show that a tool is asked for.
    ShowCall(ToolCall),
    /// Show a tool's outcome.
    ShowOutcome(ToolOutcome),
    /// Show what the turn is doing: a state, not a text for people.
    ShowStatus(&'static str),
    /// Drop the model's stream and all tools.
    StopAll,
    /// The turn is over. Always the last effect.
    End(End),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The answer, as far as it came.
    pub text: String,
    /// What was used.
    pub usage: Usage,
    /// The model that spoke last, by its place in the list.
    pub choice: usize,
}

/// Why a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// Answered.
    Done,
    /// The model chose to say nothing.
    NoReply,
    /// Stopped.
    Interrupted,
    /// Failed; the text is for people.
    Failed(String),
    /// A budget is used up; the text is for people.
    OverBudget(String),
}
