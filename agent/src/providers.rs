//! Model providers behind one trait. A provider is asked with what was said and the tools there are,
//! and answers with a stream. Dropping the stream cancels the call.

mod builtin;

use futures_util::stream::BoxStream;
use serde_json::Value;

pub use builtin::BuiltinAssistant;

use crate::turn::{Said, ToolCall};

/// What a provider is asked.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// Oldest first; the last is a person's message or the tools' outcomes.
    pub said: Vec<Said>,
    /// Tools that the model may ask for.
    pub tools: Vec<ToolSpec>,
}

/// A tool as a model sees it.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    /// Its name.
    pub name: &'static str,
    /// What it is good for.
    pub description: &'static str,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEvent {
    /// Text.
    Text(String),
    /// The model asks for a tool.
    Call(ToolCall),
    /// The round is over. Always the last.
    Finished {
        /// Tokens read.
        input_tokens: u64,
        /// Tokens written.
        output_tokens: u64,
    },
}

/// Why a provider gave no answer; the text is shown to the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The stream ended before the round was over.
    #[error("the model's answer broke off")]
    BrokenOff,
    /// Nothing came for too long.
    #[error("the model has said nothing for {0} seconds")]
    Silent(u64),
}

/// One model API.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Name of the model, as shown beside its answers.
    fn model(&self) -> &str;

    /// Asks. The stream ends after [`ModelEvent::Finished`] or an error.
    fn ask(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>>;
}
