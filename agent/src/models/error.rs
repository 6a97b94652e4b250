//! Why providers and models cannot be configured as somebody wants.

use crate::providers::{BadApiKey, BadBaseUrl};
use crate::store::StoreError;

use super::SealError;

/// A refusal or failure. Holds no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// The database.
    #[error("the database failed")]
    Store(#[from] StoreError),
    /// The key could not be sealed.
    #[error("the key could not be sealed")]
    Seal(#[from] SealError),
    /// This agent's models are given by its program.
    #[error("this agent's models cannot be changed")]
    Fixed,
    /// No such provider.
    #[error("there is no such provider")]
    UnknownProvider,
    /// No such model.
    #[error("there is no such model")]
    UnknownModel,
    /// No such kind of provider.
    #[error("there is no provider profile of this name; there are {0}")]
    UnknownProfile(String),
    /// A provider's name.
    #[error("a provider's name is 1 to 32 of a-z, 0-9, dot, dash and underscore")]
    BadName,
    /// Two of one name.
    #[error("another provider has this name")]
    NameTaken,
    /// Nowhere to go.
    #[error("this kind of provider needs base_url")]
    NoBaseUrl,
    /// An address that keys must not be sent to.
    #[error("base_url: {0}")]
    BadBaseUrl(#[from] BadBaseUrl),
    /// A key that is none.
    #[error("api_key: {0}")]
    BadKey(#[from] BadApiKey),
    /// This API answers nobody without one.
    #[error("this kind of provider needs api_key")]
    KeyNeeded,
    /// A key is for the address that it was entered for.
    #[error("with a new base_url the key has to be entered again")]
    KeyForOtherAddress,
    /// A model's name.
    #[error("a model's name is 1 to 200 characters without control characters")]
    BadModelName,
    /// Two of one model.
    #[error("the provider has this model already")]
    ModelTaken,
    /// A number that makes no sense.
    #[error("{0}")]
    BadNumber(&'static str),
    /// A model that may not answer cannot be what answers.
    #[error("a model that is disabled cannot be the default")]
    DefaultDisabled,
    /// Too many.
    #[error("there are {0} already, and not more fit")]
    TooMany(usize),
}
