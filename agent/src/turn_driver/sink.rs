//! Where a turn shows itself, and where its machine is kept.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::turn::{ToolCall, ToolOutcome};

/// Something for whoever follows the turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Text of the answer.
    Text(String),
    /// What the turn is doing: a state, not a text for people.
    Status(&'static str),
    /// A tool is asked for.
    Call(ToolCall),
    /// A tool has ended.
    Outcome(ToolOutcome),
}

/// What was said in a session until a turn, told shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// The last turn that it tells of.
    pub turn_id: i64,
    /// Text.
    pub text: String,
    /// Label of the model that wrote it.
    pub model: String,
}

/// What could not be shown is lost; the turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer could not be stored")]
pub struct ShowFailed;

/// Where a turn shows itself. A sink that only shows need do nothing else.
pub trait Sink: Send + Sync {
    /// Shows, in order. Slow followers do not slow the turn.
    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), ShowFailed>>;

    /// Puts the machine on the disk, or takes it away when it cannot go on after a restart.
    fn keep(&self, _checkpoint: Option<String>) -> BoxFuture<'_, Result<(), ShowFailed>> {
        async { Ok(()) }.boxed()
    }

    /// Keeps a summary, so that the next turns begin with it.
    fn compacted(&self, _summary: Compacted) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    /// Whether the turn does nothing but wait for a person.
    fn waiting(&self, _waits: bool) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    /// Whether a turn that is cancelled now is to go on after a restart, if it can.
    fn goes_on_later(&self) -> bool {
        false
    }
}

pub(super) fn show_text(shown: &mut Vec<Shown>, text: String) {
    if let Some(Shown::Text(before)) = shown.last_mut() {
        before.push_str(&text);
    } else {
        shown.push(Shown::Text(text));
    }
}
