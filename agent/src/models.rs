//! Which model answers in a session: the one that it is pinned to, else the default, else the built-in
//! assistant; then those that answer when it fails.

mod price;

use std::sync::Arc;

use homing_certs::UserId;

pub use price::Price;

use crate::providers::{BUILTIN, BuiltinAssistant, Provider};
use crate::store::StoreError;

/// Bytes of text in a token, taken low so that an estimate of what fits errs to the safe side.
const BYTES_PER_TOKEN: usize = 3;

/// A model that may answer.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Whom to ask.
    pub provider: Arc<dyn Provider>,
    /// The provider's own name of the model.
    pub model: String,
    /// As people see it: `<provider>/<model>`, or `built-in`.
    pub label: String,
    /// Tokens that its context holds, the answer included.
    pub context_tokens: u32,
    /// Tokens that its answer may have; 0 leaves it to the provider.
    pub max_output_tokens: u32,
    /// `None` when it is not known.
    pub price: Option<Price>,
}

impl Choice {
    /// Whether its calls are counted and set aside for: those of the built-in assistant cost nobody
    /// anything.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        self.label != BUILTIN
    }

    /// Bytes of conversation that fit into its context beside an answer.
    #[must_use]
    pub fn room(&self) -> usize {
        let tokens = self.context_tokens.saturating_sub(self.max_output_tokens);
        usize::try_from(tokens).unwrap_or(usize::MAX) * BYTES_PER_TOKEN
    }
}

/// Tokens that a text of so many bytes has at most, as far as one can tell without the model.
#[must_use]
pub fn tokens_of(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

/// The models of an agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Models {
    fixed: Arc<Vec<Choice>>,
}

impl Models {
    /// The same models for every session, best first.
    #[must_use]
    pub fn fixed(choices: Vec<Choice>) -> Self {
        Self {
            fixed: Arc::new(choices),
        }
    }

    /// Only the built-in assistant.
    #[must_use]
    pub fn builtin(assistant: BuiltinAssistant) -> Self {
        Self::fixed(vec![Choice {
            provider: Arc::new(assistant),
            model: BUILTIN.to_owned(),
            label: BUILTIN.to_owned(),
            context_tokens: 1_000_000,
            max_output_tokens: 0,
            price: Some(Price::FREE),
        }])
    }

    /// Who may answer in a session, best first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn choose(&self, _user: UserId, _session: &str) -> Result<Vec<Choice>, StoreError> {
        Ok(self.fixed.to_vec())
    }
}
