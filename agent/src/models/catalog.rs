//! What is known of well-known models without asking: sizes and prices, as of a date.
//!
//! A model that is not here has no price until somebody enters one: not known is never free.

use std::sync::LazyLock;

use serde::Deserialize;

use super::Price;
use crate::providers::Profile;

/// Where a model costs more for long conversations, its higher price stands here: a budget must hold.
const CATALOG: &str = include_str!("catalog.json");

static PARSED: LazyLock<Option<Catalog>> = LazyLock::new(|| {
    let parsed = serde_json::from_str(CATALOG);
    parsed
        .inspect_err(|error| tracing::error!(%error, "the catalog of models is unreadable"))
        .ok()
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    as_of: String,
    models: Vec<Known>,
}

/// A well-known model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// Whose it is.
    pub profile: Profile,
    /// The provider's name of it.
    pub model: String,
    /// Tokens that its context holds.
    pub context: u32,
    /// Tokens that an answer may have; 0 when only the context bounds it.
    pub output: u32,
    /// Whether it takes pictures.
    #[serde(default)]
    pub images: bool,
    /// What it costs.
    pub price: Price,
}

/// The date of the prices.
#[must_use]
pub fn as_of() -> &'static str {
    PARSED.as_ref().map_or("", |catalog| &catalog.as_of)
}

/// A provider's model. A dated name such as `gpt-4o-2024-08-06` is found by the name before its date.
#[must_use]
pub(super) fn find(profile: Profile, model: &str) -> Option<&'static Known> {
    let known = |name: &str| {
        let models = &PARSED.as_ref()?.models;
        models
            .iter()
            .find(|known| known.profile == profile && known.model == name)
    };
    known(model).or_else(|| known(undated(model)?))
}

/// The name before `-YYYY-MM-DD` or `-YYYYMMDD`.
fn undated(model: &str) -> Option<&str> {
    let is_date = |text: &str, digits: usize| {
        text.bytes().filter(u8::is_ascii_digit).count() == digits
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    for length in ["-YYYY-MM-DD".len(), "-YYYYMMDD".len()] {
        let Some((name, date)) = model
            .len()
            .checked_sub(length)
            .and_then(|at| model.split_at_checked(at))
        else {
            continue;
        };
        if date.starts_with('-') && is_date(date, 8) {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_catalog_is_readable_and_every_model_in_it_has_a_size_and_a_price() {
        let catalog = PARSED.as_ref().unwrap();
        assert_eq!(catalog.as_of.len(), "2025-11-30".len());
        let mut names = HashSet::new();
        for known in &catalog.models {
            assert!(
                names.insert((known.profile, &known.model)),
                "twice: {known:?}"
            );
            assert!(known.context >= 32_000, "{known:?}");
            assert!(
                known.output < known.context || known.model.contains("8b"),
                "{known:?}"
            );
            assert!(
                known.price.input > 0 && known.price.output >= known.price.input,
                "{known:?}"
            );
            assert!(known.price.cached <= known.price.input, "{known:?}");
            // A dollar is 1,000,000: a price above 200 dollars is a slip of a digit.
            assert!(
                known.price.output < 200_000_000 && known.price.input >= 10_000,
                "{known:?}"
            );
        }
    }

    #[test]
    fn a_dated_name_is_found_and_a_foreign_one_is_not() {
        let price = |profile, model| find(profile, model).map(|known| known.model.as_str());
        assert_eq!(price(Profile::OpenAi, "gpt-4o-2024-08-06"), Some("gpt-4o"));
        assert_eq!(
            price(Profile::Anthropic, "claude-sonnet-4-5-20250929"),
            Some("claude-sonnet-4-5")
        );
        for model in [
            "gpt-4o-audio-preview",
            "gpt-4o-x024-08-06",
            "gpt",
            "",
            "-20250929",
        ] {
            assert_eq!(price(Profile::OpenAi, model), None, "{model}");
        }
        assert_eq!(price(Profile::Ollama, "gpt-4o"), None);
    }
}
