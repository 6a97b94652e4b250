//! What somebody wants of providers and models, as it comes in: not checked yet.

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// The text of a key on its way in.
#[derive(Clone)]
pub struct KeyText(pub(super) Zeroizing<String>);

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyText(..)")
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A provider to be added.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// Name; the profile's by default.
    pub name: Option<String>,
    /// Name of its profile.
    #[serde(alias = "framework")]
    pub profile: String,
    /// Where it is; the profile's by default.
    pub base_url: Option<String>,
    /// Its key.
    pub api_key: Option<KeyText>,
    /// True by default.
    pub enabled: Option<bool>,
}

/// What of a provider is to change; what is not there stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderChange {
    /// Its name.
    pub name: Option<String>,
    /// Where it is.
    pub base_url: Option<String>,
    /// Its key; null removes it.
    #[serde(deserialize_with = "given")]
    pub api_key: Option<Option<KeyText>>,
    /// Whether its models may answer.
    pub enabled: Option<bool>,
}

/// A price that somebody enters, in millionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceChange {
    /// Tokens read.
    pub input: u64,
    /// Tokens read from a cache; the same by default.
    pub cached: Option<u64>,
    /// Tokens written.
    pub output: u64,
}

/// A model to be added.
#[derive(Debug, Clone, Deserialize)]
pub struct NewModel {
    /// Id or name of its provider.
    #[serde(alias = "provider")]
    pub provider_id: String,
    /// The provider's name of it.
    pub model: String,
    /// The rest.
    #[serde(flatten)]
    pub change: ModelChange,
}

/// What of a model is to change; what is not there stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelChange {
    /// As people call it.
    pub display_name: Option<String>,
    /// Tokens that its context holds; 0 is what is known of it.
    pub context_tokens: Option<u32>,
    /// Tokens that an answer may have; 0 is what is known of it.
    pub max_output_tokens: Option<u32>,
    /// Whether it takes pictures; null is what is known of it.
    #[serde(deserialize_with = "given")]
    pub images: Option<Option<bool>>,
    /// Its price; null is what is known of it.
    #[serde(deserialize_with = "given")]
    pub price: Option<Option<PriceChange>>,
    /// Place in the order of fallback; null is none.
    #[serde(deserialize_with = "given")]
    pub rank: Option<Option<u32>>,
    /// Whether it answers where nothing else is said; of a new model true when there is no other.
    #[serde(alias = "is_default")]
    pub default: Option<bool>,
    /// Whether it may answer.
    pub enabled: Option<bool>,
}

/// Tells a field that is null from one that is not there.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
