//! Model providers behind one trait. A provider is asked with what was said and the tools there are,
//! and answers with a stream. Dropping the stream cancels the call.
//!
//! Speaks the providers' wire formats. Which provider answers whom, with which key and at what price,
//! is `models`' to know.

mod anthropic;
mod api_key;
mod base_url;
mod builtin;
mod decode;
mod endpoint;
mod failure;
mod http;
mod openai;
mod profile;
mod sse;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;

pub use api_key::{ApiKey, BadApiKey};
pub use base_url::{BadBaseUrl, base_url, is_near};
pub use builtin::{BUILTIN, BuiltinAssistant};
pub use endpoint::Endpoint;
pub use http::{Http, Times};
pub use profile::{Profile, Wire};

use crate::attachments::Images;
use crate::turn::{Said, Tokens, ToolCall};

/// What a provider is asked.
#[derive(Debug, Clone, Default)]
pub struct ModelRequest {
    /// The provider's own name of the model.
    pub model: String,
    /// What the model is told of itself and its place, before everything else. Empty for none.
    pub system: String,
    /// Pictures of what was said, for models that take them.
    pub images: Images,
    /// Oldest first; the last is a person's message or the tools' outcomes.
    pub said: Vec<Said>,
    /// Tools that the model may ask for.
    pub tools: Vec<ToolSpec>,
    /// Tokens that the answer may have; 0 leaves it to the provider.
    pub max_output_tokens: u32,
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Its name: 1 to 64 of `a-z A-Z 0-9 _ -`, which every provider takes.
    pub name: String,
    /// What it is good for.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

impl ToolSpec {
    /// About how many bytes of a model's context it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.name.len() + self.description.len() + self.parameters.to_string().len()
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEvent {
    /// Text.
    Text(String),
    /// The model asks for a tool.
    Call(ToolCall),
    /// The round is over. Always the last.
    Finished(Tokens),
}

/// Why a provider gave no answer; the text is shown to the person who asked, and holds nothing of what
/// the provider's server wrote except where a variant says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The stream ended before the round was over.
    #[error("the model's answer broke off")]
    BrokenOff,
    /// Nothing came for too long.
    #[error("the model has said nothing for {0} seconds")]
    Silent(u64),
    /// Its server cannot be reached.
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    /// It does not take the key.
    #[error("the provider refused the key (status {0})")]
    Unauthorized(u16),
    /// Too many calls.
    #[error("the provider asks to wait{}", after(.retry_after))]
    RateLimited {
        /// For how long, if it said so.
        retry_after: Option<Duration>,
    },
    /// Its server fails.
    #[error("the provider failed (status {0})")]
    Unavailable(u16),
    /// It refuses this request; its own words.
    #[error("the provider refused the request (status {status}): {text}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// What its server wrote, shortened.
        text: String,
    },
    /// What was said does not fit into the model's context.
    #[error("the conversation is too long for the model")]
    ContextTooLong,
    /// It answered what the format does not allow.
    #[error("the provider's answer cannot be understood: {0}")]
    Malformed(&'static str),
    /// It answered more than anybody reads.
    #[error("the provider's answer is too long: {0}")]
    TooLong(&'static str),
    /// Its key is not there or cannot be read.
    #[error("the provider's key cannot be read on this host; enter it again")]
    NoKey,
}

/// One model API.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Asks. The stream ends after [`ModelEvent::Finished`] or an error.
    fn ask(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>>;
}

/// A provider that only says why it does not answer.
#[derive(Debug)]
pub struct Unusable(pub ProviderError);

impl Provider for Unusable {
    fn ask(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        failed(self.0.clone())
    }
}

fn failed(error: ProviderError) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
    stream::iter([Err(error)]).boxed()
}

fn after(wait: &Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| {
        format!(" for {} seconds", wait.as_secs())
    })
}
