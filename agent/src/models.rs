//! Which model answers in a session: the one that it is pinned to, else the default, else the built-in
//! assistant; then those that stand in the order of fallback.
//!
//! Owns the configured providers and models, their keys while they are in use, and what a session is
//! pinned to. A turn reads what is in memory; it is swapped whole when something changes.

mod catalog;
mod change;
mod configured;
mod discover;
mod error;
mod key;
mod price;

use std::sync::{Arc, Mutex, PoisonError};

use homing_certs::UserId;

pub use catalog::as_of as prices_as_of;
pub use change::{ModelChange, NewModel, NewProvider, PriceChange, ProviderChange};
pub use configured::{ModelInfo, ProviderInfo};
pub use discover::{Available, Found, LOCAL_SERVERS, TestReport, detect};
pub use error::ModelsError;
pub use key::{SealError, Sealer};
pub use price::Price;

use configured::Configured;

use crate::providers::{BUILTIN, BuiltinAssistant, Http, Provider, Times};
use crate::store::{Store, StoreError};

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
    /// Whether it takes pictures.
    pub images: bool,
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
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Fixed(Arc<Vec<Choice>>),
    Stored(Arc<Stored>),
}

#[derive(Debug)]
struct Stored {
    store: Store,
    sealer: Sealer,
    http: Http,
    builtin: Choice,
    configured: Mutex<Arc<Configured>>,
    /// Held from a change's first look to the swap, so that an older state never replaces a newer one.
    changing: tokio::sync::Mutex<()>,
}

impl Models {
    /// The same models for every session, best first; nothing can be configured.
    #[must_use]
    pub fn fixed(choices: Vec<Choice>) -> Self {
        Self {
            source: Source::Fixed(Arc::new(choices)),
        }
    }

    /// Only the built-in assistant.
    #[must_use]
    pub fn builtin(assistant: BuiltinAssistant) -> Self {
        Self::fixed(vec![builtin(assistant)])
    }

    /// The models of an agent's database, with the sealer of its folder.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open(
        store: Store,
        sealer: Sealer,
        times: Times,
        assistant: BuiltinAssistant,
    ) -> Result<Self, StoreError> {
        let stored = Stored {
            store,
            sealer,
            http: Http::new(times),
            builtin: builtin(assistant),
            configured: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        stored.reload().await?;
        Ok(Self {
            source: Source::Stored(Arc::new(stored)),
        })
    }

    /// Who may answer in a session, best first; never nobody.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn choose(&self, user: UserId, session: &str) -> Result<Vec<Choice>, StoreError> {
        let stored = match &self.source {
            Source::Fixed(choices) => return Ok(choices.to_vec()),
            Source::Stored(stored) => stored,
        };
        let configured = stored.configured();
        // Nothing can be pinned where nothing is configured.
        let pinned = match configured.is_empty() {
            true => None,
            false => stored.store.session_model(user, session.to_owned()).await?,
        };
        let order = configured.order(pinned.as_deref());
        Ok(match order.is_empty() {
            true => vec![stored.builtin.clone()],
            false => order,
        })
    }

    fn stored(&self) -> Result<&Arc<Stored>, ModelsError> {
        match &self.source {
            Source::Fixed(_) => Err(ModelsError::Fixed),
            Source::Stored(stored) => Ok(stored),
        }
    }
}

impl Stored {
    fn configured(&self) -> Arc<Configured> {
        self.lock().clone()
    }

    /// Reads everything anew and swaps it in.
    async fn reload(&self) -> Result<(), StoreError> {
        let providers = self.store.providers().await?;
        let models = self.store.models().await?;
        let (sealer, http) = (self.sealer.clone(), self.http.clone());
        let build = move || Configured::new(providers, models, &sealer, &http);
        // It may read the key file.
        let built = tokio::task::spawn_blocking(build).await;
        *self.lock() = Arc::new(built.map_err(|_| StoreError::Closed)?);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Configured>> {
        self.configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn builtin(assistant: BuiltinAssistant) -> Choice {
    Choice {
        provider: Arc::new(assistant),
        model: BUILTIN.to_owned(),
        label: BUILTIN.to_owned(),
        context_tokens: 1_000_000,
        max_output_tokens: 0,
        images: false,
        price: Some(Price::FREE),
    }
}
