//! Changes of providers, models and pins. Each is checked whole, stored, and then swapped in.

mod wanted;

use homing_certs::UserId;

pub use wanted::{ModelChange, NewModel, NewProvider, PriceChange, ProviderChange};

use super::configured::{Configuring, place};
use super::{ModelInfo, Models, ModelsError, ProviderInfo, Stored};
use crate::clock;
use crate::providers::{ApiKey, Profile, base_url};
use crate::store::{ModelRow, ProviderRow};

/// Providers of one agent: a list that a person still oversees.
const MAX_PROVIDERS: usize = 32;
/// Models of one agent; a whole list is one page.
const MAX_MODELS: usize = 200;
/// Longest name of a provider, which is part of every answer's label.
const MAX_NAME: usize = 32;
/// Longest name of a model; the longest ones name a file.
const MAX_MODEL: usize = 200;
/// Largest context, in tokens; ten times what there is.
const MAX_CONTEXT: u32 = 10_000_000;
/// Smallest context in which a conversation has a place.
const MIN_CONTEXT: u32 = 1_024;
/// Highest price, in millionths of a US dollar for a million tokens: 10,000 dollars.
const MAX_PRICE: u64 = 10_000_000_000;
/// Random bytes in an id.
const ID_BYTES: usize = 8;

impl Models {
    /// All providers by name.
    ///
    /// # Errors
    /// When models cannot be configured here.
    pub fn providers(&self) -> Result<Vec<ProviderInfo>, ModelsError> {
        let configured = self.stored()?.configured();
        Ok(configured.providers.iter().map(Into::into).collect())
    }

    /// All models in the order in which they were added.
    ///
    /// # Errors
    /// When models cannot be configured here.
    pub fn models(&self) -> Result<Vec<ModelInfo>, ModelsError> {
        Ok(self.stored()?.configured().models.clone())
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn add_provider(&self, new: NewProvider) -> Result<ProviderInfo, ModelsError> {
        let stored = self.stored()?;
        let profile = Profile::find(&new.profile).ok_or_else(unknown_profile)?;
        let name = new.name.unwrap_or_else(|| profile.as_str().to_owned());
        let given = new.base_url.as_deref().or(profile.base_url());
        let url = base_url(given.ok_or(ModelsError::NoBaseUrl)?)?;
        let key = new.api_key.map(|key| ApiKey::new(&key.0)).transpose()?;
        if key.is_none() && profile.needs_key() {
            return Err(ModelsError::KeyNeeded);
        }
        let _changing = stored.changing.lock().await;
        if stored.configured().providers.len() >= MAX_PROVIDERS {
            return Err(ModelsError::TooMany(MAX_PROVIDERS));
        }
        let now = clock::unix_ms();
        let mut row = ProviderRow {
            id: new_id("p")?,
            name,
            profile: profile.as_str().to_owned(),
            base_url: url.to_string(),
            key_sealed: None,
            key_display: String::new(),
            enabled: new.enabled.unwrap_or(true),
            created_ms: now,
            updated_ms: now,
        };
        stored.set_key(&mut row, key).await?;
        stored.save_provider(row).await
    }

    /// Changes a provider.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn change_provider(
        &self,
        id: &str,
        change: ProviderChange,
    ) -> Result<ProviderInfo, ModelsError> {
        let stored = self.stored()?;
        let _changing = stored.changing.lock().await;
        let found = stored.store.provider(id.to_owned()).await?;
        let mut row = found.ok_or(ModelsError::UnknownProvider)?;
        let profile = Profile::find(&row.profile).ok_or_else(unknown_profile)?;
        if let Some(name) = change.name {
            row.name = name;
        }
        if let Some(address) = change.base_url {
            let url = base_url(&address)?;
            let before = base_url(&row.base_url).ok().map(|url| url.origin());
            // Whoever may change an address must not learn a key by it.
            if before != Some(url.origin()) && row.key_sealed.is_some() && change.api_key.is_none()
            {
                return Err(ModelsError::KeyForOtherAddress);
            }
            row.base_url = url.to_string();
        }
        if let Some(key) = change.api_key {
            let key = key.map(|key| ApiKey::new(&key.0)).transpose()?;
            if key.is_none() && profile.needs_key() {
                return Err(ModelsError::KeyNeeded);
            }
            stored.set_key(&mut row, key).await?;
        }
        row.enabled = change.enabled.unwrap_or(row.enabled);
        row.updated_ms = clock::unix_ms();
        stored.save_provider(row).await
    }

    /// Removes a provider with its models; sessions that were pinned to them fall to the default.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn remove_provider(&self, id: &str) -> Result<(), ModelsError> {
        let stored = self.stored()?;
        let _changing = stored.changing.lock().await;
        if !stored.store.delete_provider(id.to_owned()).await? {
            return Err(ModelsError::UnknownProvider);
        }
        Ok(stored.reload().await?)
    }

    /// Adds a model. The first one is the default.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn add_model(&self, new: NewModel) -> Result<ModelInfo, ModelsError> {
        let stored = self.stored()?;
        let name = new.model.trim().to_owned();
        let letters = name.chars().count();
        if !(1..=MAX_MODEL).contains(&letters) || name.chars().any(char::is_control) {
            return Err(ModelsError::BadModelName);
        }
        let _changing = stored.changing.lock().await;
        let configured = stored.configured();
        if configured.models.len() >= MAX_MODELS {
            return Err(ModelsError::TooMany(MAX_MODELS));
        }
        let named =
            |of: &&Configuring| of.row.id == new.provider_id || of.row.name == new.provider_id;
        let provider = configured.providers.iter().find(named);
        let provider = provider.ok_or(ModelsError::UnknownProvider)?;
        let now = clock::unix_ms();
        let has_default = configured.models.iter().any(|info| info.row.is_default);
        let mut row = ModelRow {
            id: new_id("m")?,
            provider_id: provider.row.id.clone(),
            model: name,
            display_name: String::new(),
            context_tokens: 0,
            max_output_tokens: 0,
            images: None,
            price: None,
            rank: None,
            is_default: !has_default && new.change.enabled != Some(false),
            enabled: true,
            created_ms: now,
            updated_ms: now,
        };
        apply(&mut row, new.change)?;
        stored.save_model(row).await
    }

    /// Changes a model.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn change_model(
        &self,
        id: &str,
        change: ModelChange,
    ) -> Result<ModelInfo, ModelsError> {
        let stored = self.stored()?;
        let _changing = stored.changing.lock().await;
        let configured = stored.configured();
        let info = configured.model(id).ok_or(ModelsError::UnknownModel)?;
        let mut row = info.row.clone();
        apply(&mut row, change)?;
        row.updated_ms = clock::unix_ms();
        stored.save_model(row).await
    }

    /// Removes a model; sessions that were pinned to it fall to the default.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn remove_model(&self, id: &str) -> Result<(), ModelsError> {
        let stored = self.stored()?;
        let _changing = stored.changing.lock().await;
        if !stored.store.delete_model(id.to_owned()).await? {
            return Err(ModelsError::UnknownModel);
        }
        Ok(stored.reload().await?)
    }

    /// Pins a user's session to a model; `None` ends that.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn pin(
        &self,
        user: UserId,
        session: &str,
        model: Option<String>,
    ) -> Result<(), ModelsError> {
        let stored = self.stored()?;
        let pinned = stored
            .store
            .pin_session(user, session.to_owned(), model)
            .await?;
        if pinned {
            Ok(())
        } else {
            Err(ModelsError::UnknownModel)
        }
    }
}

impl Stored {
    async fn set_key(&self, row: &mut ProviderRow, key: Option<ApiKey>) -> Result<(), ModelsError> {
        row.key_display = key.as_ref().map(ApiKey::masked).unwrap_or_default();
        row.key_sealed = match key {
            None => None,
            Some(key) => {
                let (sealer, place) = (self.sealer.clone(), place(&row.id));
                let seal = move || sealer.seal(&place, key.reveal());
                let sealed = tokio::task::spawn_blocking(seal).await;
                Some(sealed.map_err(|_| crate::store::StoreError::Closed)??)
            }
        };
        Ok(())
    }

    async fn save_provider(&self, row: ProviderRow) -> Result<ProviderInfo, ModelsError> {
        if !is_name(&row.name) {
            return Err(ModelsError::BadName);
        }
        let id = row.id.clone();
        if !self.store.save_provider(row).await? {
            return Err(ModelsError::NameTaken);
        }
        self.reload().await?;
        let configured = self.configured();
        let saved = configured.provider(&id).map(ProviderInfo::from);
        saved.ok_or(ModelsError::UnknownProvider)
    }

    async fn save_model(&self, row: ModelRow) -> Result<ModelInfo, ModelsError> {
        let id = row.id.clone();
        if !self.store.save_model(row).await? {
            return Err(ModelsError::ModelTaken);
        }
        self.reload().await?;
        let configured = self.configured();
        let saved = configured.model(&id).cloned();
        saved.ok_or(ModelsError::UnknownModel)
    }
}

fn apply(row: &mut ModelRow, change: ModelChange) -> Result<(), ModelsError> {
    if let Some(name) = change.display_name {
        let name = name.trim().to_owned();
        if name.chars().count() > MAX_MODEL || name.chars().any(char::is_control) {
            return Err(ModelsError::BadModelName);
        }
        row.display_name = name;
    }
    if let Some(tokens) = change.context_tokens {
        if tokens != 0 && !(MIN_CONTEXT..=MAX_CONTEXT).contains(&tokens) {
            return Err(ModelsError::BadNumber(
                "context_tokens is 1,024 to 10,000,000, or 0 for what is known of the model",
            ));
        }
        row.context_tokens = tokens;
    }
    if let Some(tokens) = change.max_output_tokens {
        if tokens > MAX_CONTEXT {
            return Err(ModelsError::BadNumber(
                "max_output_tokens is at most 10,000,000, or 0 for what is known of the model",
            ));
        }
        row.max_output_tokens = tokens;
    }
    if let Some(images) = change.images {
        row.images = images;
    }
    if let Some(price) = change.price {
        row.price = price.map(price_of).transpose()?;
    }
    if let Some(rank) = change.rank {
        row.rank = rank;
    }
    let was_default = row.is_default;
    row.enabled = change.enabled.unwrap_or(row.enabled);
    row.is_default = change.default.unwrap_or(row.is_default);
    if row.is_default && !row.enabled {
        if change.default == Some(true) {
            return Err(ModelsError::DefaultDisabled);
        }
        // It stays the default for when it is enabled again.
        row.is_default = was_default;
    }
    Ok(())
}

fn price_of(price: PriceChange) -> Result<(u64, u64, u64), ModelsError> {
    let all = (
        price.input,
        price.cached.unwrap_or(price.input),
        price.output,
    );
    if [all.0, all.1, all.2].iter().any(|part| *part > MAX_PRICE) {
        return Err(ModelsError::BadNumber(
            "a price is at most 10,000,000,000 millionths of a US dollar for a million tokens",
        ));
    }
    Ok(all)
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte)
        })
}

fn unknown_profile() -> ModelsError {
    ModelsError::UnknownProfile(Profile::ALL.map(Profile::as_str).join(", "))
}

fn new_id(kind: &str) -> Result<String, ModelsError> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(super::SealError::Random)?;
    Ok(format!("{kind}{}", data_encoding::HEXLOWER.encode(&bytes)))
}
