//! What is configured, ready for use: keys opened, providers built, models in order. Pure but for the
//! key file; changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Choice, Price, Sealer, catalog};
use crate::providers::{
    ApiKey, Endpoint, Http, Profile, Provider, ProviderError, Unusable, base_url, is_near,
};
use crate::store::{ModelRow, ProviderRow};

/// Context of a model that nobody has told anything about: what local servers give by default, and
/// what any hosted model has.
const LOCAL_CONTEXT: u32 = 8_192;
const HOSTED_CONTEXT: u32 = 32_768;
/// Most tokens of an answer by default: a turn's text ends near there anyway.
const MAX_OUTPUT: u32 = 32_000;

/// Everything that is configured at one moment.
#[derive(Debug, Default)]
pub(super) struct Configured {
    pub(super) providers: Vec<Configuring>,
    pub(super) models: Vec<ModelInfo>,
    /// Those that may answer, by id.
    choices: HashMap<String, Choice>,
}

/// A provider with what it takes to ask it.
#[derive(Debug)]
pub(super) struct Configuring {
    pub(super) row: ProviderRow,
    pub(super) profile: Profile,
    /// `None` when its key does not open or a newer version wrote it.
    pub(super) endpoint: Option<Endpoint>,
}

/// A provider as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Name of its profile.
    pub profile: String,
    /// Where it is.
    pub base_url: String,
    /// Its key, masked; empty for none.
    pub key_display: String,
    /// Whether its models may answer.
    pub enabled: bool,
    /// Whether it can be asked: its key opens on this host.
    pub usable: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

/// A model as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// What is stored of it.
    pub row: ModelRow,
    /// Name of its provider.
    pub provider: String,
    /// Whether it may answer: it and its provider are enabled.
    pub active: bool,
    /// Tokens that its context holds.
    pub context_tokens: u32,
    /// Tokens that an answer may have.
    pub max_output_tokens: u32,
    /// Whether it takes pictures; false when that is not known.
    pub images: bool,
    /// What it costs; `None` when that is not known.
    pub price: Option<Price>,
}

impl ModelInfo {
    /// As it is named in answers and on the command line.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.provider, self.row.model)
    }
}

impl From<&Configuring> for ProviderInfo {
    fn from(configuring: &Configuring) -> Self {
        let row = configuring.row.clone();
        Self {
            id: row.id,
            name: row.name,
            profile: row.profile,
            base_url: row.base_url,
            key_display: row.key_display,
            enabled: row.enabled,
            usable: configuring.endpoint.is_some(),
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
        }
    }
}

impl Configured {
    /// Blocks: it may read the key file.
    pub(super) fn new(
        providers: Vec<ProviderRow>,
        models: Vec<ModelRow>,
        sealer: &Sealer,
        http: &Http,
    ) -> Self {
        let providers: Vec<Configuring> = providers
            .into_iter()
            .map(|row| configuring(row, sealer, http))
            .collect();
        let mut configured = Self::default();
        for row in models {
            let Some(of) = providers.iter().find(|of| of.row.id == row.provider_id) else {
                continue;
            };
            let info = info(row, of);
            if info.active {
                let choice = choice(&info, of);
                configured.choices.insert(info.row.id.clone(), choice);
            }
            configured.models.push(info);
        }
        configured.providers = providers;
        configured
    }

    pub(super) fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    pub(super) fn provider(&self, id: &str) -> Option<&Configuring> {
        self.providers.iter().find(|of| of.row.id == id)
    }

    pub(super) fn model(&self, id: &str) -> Option<&ModelInfo> {
        self.models.iter().find(|info| info.row.id == id)
    }

    /// Who answers, best first: what the session is pinned to, or the default, then the order of
    /// fallback. Nobody when neither of the first two may answer: a model that somebody only put into
    /// the order of fallback is not one that was chosen.
    pub(super) fn order(&self, pinned: Option<&str>) -> Vec<Choice> {
        let active = |id: &str| self.choices.contains_key(id).then(|| id.to_owned());
        let default = || {
            let default = self.models.iter().find(|info| info.row.is_default)?;
            active(&default.row.id)
        };
        let Some(first) = pinned.and_then(active).or_else(default) else {
            return Vec::new();
        };
        let mut ranked: Vec<&ModelRow> = self
            .models
            .iter()
            .map(|info| &info.row)
            .filter(|row| row.rank.is_some() && row.id != first)
            .collect();
        ranked.sort_by_key(|row| row.rank);
        let ids = [first.as_str()]
            .into_iter()
            .chain(ranked.iter().map(|row| row.id.as_str()));
        ids.filter_map(|id| self.choices.get(id).cloned()).collect()
    }
}

fn configuring(row: ProviderRow, sealer: &Sealer, http: &Http) -> Configuring {
    let profile = Profile::find(&row.profile);
    let key = match &row.key_sealed {
        None => Ok(None),
        Some(sealed) => open_key(&row.id, sealed, sealer).map(Some),
    };
    let url = base_url(&row.base_url).ok();
    let endpoint = match (profile, url, key) {
        (Some(profile), Some(url), Ok(key)) => Some(Endpoint::new(http.clone(), profile, url, key)),
        (_, _, Err(error)) => {
            tracing::error!(
                provider = row.name,
                error = &*error,
                "a provider's key does not open"
            );
            None
        }
        _ => {
            tracing::error!(provider = row.name, "a provider is of an unknown kind");
            None
        }
    };
    Configuring {
        row,
        profile: profile.unwrap_or(Profile::Custom),
        endpoint,
    }
}

fn open_key(
    id: &str,
    sealed: &[u8],
    sealer: &Sealer,
) -> Result<ApiKey, Box<dyn std::error::Error + 'static>> {
    let text = sealer.open(&place(id), sealed)?;
    Ok(ApiKey::new(&text)?)
}

/// What a provider's key is bound to.
pub(super) fn place(provider: &str) -> String {
    format!("provider:{provider}")
}

fn info(row: ModelRow, of: &Configuring) -> ModelInfo {
    let known = catalog::find(of.profile, &row.model);
    let near = base_url(&of.row.base_url).is_ok_and(|url| is_near(&url));
    let free = of.profile.is_local() && near;
    let own = row.price.map(|(input, cached, output)| Price {
        input,
        cached,
        output,
    });
    let context_tokens = match (row.context_tokens, known) {
        (0, Some(known)) => known.context,
        (0, None) if near => LOCAL_CONTEXT,
        (0, None) => HOSTED_CONTEXT,
        (own, _) => own,
    };
    let max_output_tokens = match (row.max_output_tokens, known.map(|known| known.output)) {
        (0, Some(known)) if known > 0 => known.min(MAX_OUTPUT),
        // Room for an answer has to be kept free.
        (0, _) => (context_tokens / 4).min(MAX_OUTPUT),
        (own, _) => own,
    };
    ModelInfo {
        provider: of.row.name.clone(),
        active: row.enabled && of.row.enabled,
        context_tokens,
        max_output_tokens: max_output_tokens.min(context_tokens / 2),
        images: row
            .images
            .or(known.map(|known| known.images))
            .unwrap_or(false),
        price: own
            .or(known.map(|known| known.price))
            .or(free.then_some(Price::FREE)),
        row,
    }
}

fn choice(info: &ModelInfo, of: &Configuring) -> Choice {
    let provider: Arc<dyn Provider> = match &of.endpoint {
        Some(endpoint) => Arc::new(endpoint.clone()),
        None => Arc::new(Unusable(ProviderError::NoKey)),
    };
    Choice {
        provider,
        model: info.row.model.clone(),
        label: info.label(),
        context_tokens: info.context_tokens,
        max_output_tokens: info.max_output_tokens,
        images: info.images,
        price: info.price,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Times;

    fn provider(id: &str, profile: &str, base_url: &str, enabled: bool) -> ProviderRow {
        ProviderRow {
            id: id.into(),
            name: id.into(),
            profile: profile.into(),
            base_url: base_url.into(),
            key_sealed: None,
            key_display: String::new(),
            enabled,
            created_ms: 0,
            updated_ms: 0,
        }
    }

    fn model(id: &str, provider: &str, rank: Option<u32>) -> ModelRow {
        ModelRow {
            id: id.into(),
            provider_id: provider.into(),
            model: id.into(),
            display_name: String::new(),
            context_tokens: 0,
            max_output_tokens: 0,
            images: None,
            price: None,
            rank,
            is_default: false,
            enabled: true,
            created_ms: 0,
            updated_ms: 0,
        }
    }

    fn configured(models: Vec<ModelRow>) -> Configured {
        let providers = vec![
            provider("on", "openai", "https://api.openai.com/v1", true),
            provider("off", "openai", "https://api.openai.com/v1", false),
            provider("near", "ollama", "http://127.0.0.1:11434/v1", true),
            provider("far", "ollama", "https://ollama.example.org/v1", true),
        ];
        let dir = tempfile::tempdir().unwrap();
        let (sealer, http) = (Sealer::new(dir.path()), Http::new(Times::default()));
        Configured::new(providers, models, &sealer, &http)
    }

    fn order(configured: &Configured, pinned: Option<&str>) -> Vec<String> {
        let choices = configured.order(pinned).into_iter();
        choices.map(|choice| choice.model).collect()
    }

    #[test]
    fn a_pin_comes_before_the_default_and_both_before_the_order_of_fallback() {
        let mut models = vec![
            model("second", "near", Some(2)),
            model("first", "on", Some(1)),
            model("default", "on", Some(3)),
            model("plain", "on", None),
        ];
        models[2].is_default = true;
        let configured = configured(models);
        assert_eq!(order(&configured, None), ["default", "first", "second"]);
        assert_eq!(
            order(&configured, Some("plain")),
            ["plain", "first", "second", "default"]
        );
        assert_eq!(order(&configured, Some("first"))[..2], ["first", "second"]);
        assert_eq!(order(&configured, Some("gone"))[0], "default");
    }

    #[test]
    fn what_is_disabled_never_answers_and_without_a_default_nobody_does() {
        let mut models = vec![
            model("default", "off", None),
            model("ranked", "on", Some(1)),
            model("disabled", "on", Some(2)),
        ];
        models[0].is_default = true;
        models[2].enabled = false;
        let configured = configured(models);
        assert!(order(&configured, None).is_empty());
        assert!(order(&configured, Some("disabled")).is_empty());
        assert_eq!(order(&configured, Some("ranked")), ["ranked"]);
    }

    #[test]
    fn prices_are_ones_own_or_known_or_free_nearby_and_otherwise_not_known() {
        let mut own = model("gpt-5", "on", None);
        own.price = Some((1, 1, 1));
        let models = vec![
            model("gpt-4o", "on", None),
            own,
            model("qwen3", "near", None),
            model("qwen3b", "far", None),
            model("gpt-99", "on", None),
        ];
        let configured = configured(models);
        let price = |id: &str| configured.model(id).unwrap().price;
        assert_eq!(price("gpt-4o").unwrap().input, 2_500_000);
        assert_eq!(price("gpt-5").unwrap().input, 1);
        assert_eq!(price("qwen3"), Some(Price::FREE));
        assert_eq!(price("qwen3b"), None);
        assert_eq!(price("gpt-99"), None);
        for info in &configured.models {
            assert!(info.max_output_tokens > 0, "{info:?}");
            assert!(
                info.max_output_tokens <= info.context_tokens / 2,
                "{info:?}"
            );
        }
    }

    #[test]
    fn who_takes_pictures_is_ones_own_word_or_known_and_else_nobody_does() {
        let mut off = model("gpt-5", "on", None);
        off.images = Some(false);
        let mut on = model("qwen3-vl", "near", None);
        on.images = Some(true);
        let models = vec![
            model("gpt-4o", "on", None),
            off,
            on,
            model("gpt-99", "on", None),
        ];
        let configured = configured(models);
        let images = configured.models.iter().map(|info| info.images);
        assert_eq!(images.collect::<Vec<_>>(), [true, false, true, false]);
    }

    #[test]
    fn a_provider_whose_key_does_not_open_says_so_when_it_is_asked() {
        let mut row = provider("p", "openai", "https://api.openai.com/v1", true);
        row.key_sealed = Some(vec![7; 60]);
        let dir = tempfile::tempdir().unwrap();
        let (sealer, http) = (Sealer::new(dir.path()), Http::new(Times::default()));
        let mut default = model("m", "p", None);
        default.is_default = true;
        let configured = Configured::new(vec![row], vec![default], &sealer, &http);
        assert!(configured.providers[0].endpoint.is_none());
        let choices = configured.order(None);
        assert_eq!(choices[0].label, "p/m");
    }
}
