//! The configuration while the agent runs: read, changed over the network, read again after somebody
//! has edited its file.
//!
//! Owns the order of changes and says what takes effect. The file itself, its format and what a value
//! may be are whoever's who starts the agent: behind [`ConfigFile`].

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::config::LiveSettings;

/// Where the configuration lies. All of it blocks.
pub trait ConfigFile: std::fmt::Debug + Send + Sync {
    /// The file as it is now.
    ///
    /// # Errors
    /// [`ConfigError`], when it cannot be read or is not valid.
    fn read(&self) -> Result<Configured, ConfigError>;

    /// Changes the file, whole or not at all, when all of it is valid afterwards. `revision` is the
    /// one that the change was made for; without it the newest is changed.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing has changed then.
    fn change(&self, change: Change, revision: Option<&str>) -> Result<Configured, ConfigError>;

    /// This is in effect now.
    fn in_effect(&self, configured: &Configured);
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The file, with its comments.
    pub text: String,
    /// Names this text.
    pub revision: String,
    /// Every section with the values that hold, defaults included.
    pub sections: Map<String, Value>,
    /// What differs from what the process was started with and takes effect at the next start.
    pub restart_required: Vec<String>,
    /// What takes effect at once.
    pub live: LiveSettings,
}

/// A change of the file.
#[derive(Debug, Clone)]
pub enum Change {
    /// This text in place of all of it.
    Whole(String),
    /// A JSON merge patch (RFC 7396) of one section.
    Section {
        /// Its name.
        name: String,
        /// The patch; for what is no section but a value, the value.
        patch: Value,
    },
}

/// Why the configuration could not be read or changed; the text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// This agent was started without one.
    #[error("this agent's configuration cannot be read or changed over the network")]
    Absent,
    /// There is no such section.
    #[error("there is no section {0}; there are {1}")]
    UnknownSection(String, String),
    /// It would not be valid.
    #[error("the configuration would not be valid: {0}")]
    Invalid(String),
    /// Only somebody on the host may change it.
    #[error("{0} chooses what this machine runs, and is changed on the host only")]
    HostOnly(String),
    /// Somebody else was faster.
    #[error("somebody has changed the configuration since it was read")]
    Changed,
    /// The disk failed.
    #[error("the configuration could not be {doing}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The agent is shutting down.
    #[error("the agent is shutting down")]
    Stopped,
}

/// The configuration of an agent.
#[derive(Debug)]
pub struct Configuration {
    file: Option<Arc<dyn ConfigFile>>,
    /// Held from the first look to the moment when it takes effect, so that an older state never
    /// replaces a newer one.
    changing: Mutex<()>,
}

impl Configuration {
    /// In this file, or in none.
    #[must_use]
    pub fn new(file: Option<Arc<dyn ConfigFile>>) -> Self {
        Self {
            file,
            changing: Mutex::default(),
        }
    }

    /// The file as it is now.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub async fn read(&self) -> Result<Configured, ConfigError> {
        self.blocking(|file| file.read()).await
    }

    /// Changes the file and lets `apply` take what takes effect at once.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing has changed then.
    pub async fn change(
        &self,
        change: Change,
        revision: Option<String>,
        apply: impl FnOnce(LiveSettings),
    ) -> Result<Configured, ConfigError> {
        let _changing = self.changing.lock().await;
        let changed = self.blocking(move |file| file.change(change, revision.as_deref()));
        let configured = changed.await?;
        apply(configured.live.clone());
        self.in_effect(&configured).await;
        Ok(configured)
    }

    /// Reads the file again and lets `apply` take what takes effect at once.
    ///
    /// # Errors
    /// [`ConfigError`]; what was in effect stays.
    pub async fn reload(
        &self,
        apply: impl FnOnce(LiveSettings),
    ) -> Result<Configured, ConfigError> {
        let _changing = self.changing.lock().await;
        let configured = self.read().await?;
        apply(configured.live.clone());
        self.in_effect(&configured).await;
        Ok(configured)
    }

    async fn in_effect(&self, configured: &Configured) {
        let done = configured.clone();
        let told = self.blocking(move |file| {
            file.in_effect(&done);
            Ok(done)
        });
        // It is in effect whether it could be noted or not.
        drop(told.await);
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&dyn ConfigFile) -> Result<Configured, ConfigError> + Send + 'static,
    ) -> Result<Configured, ConfigError> {
        let file = self.file.clone().ok_or(ConfigError::Absent)?;
        let done = tokio::task::spawn_blocking(move || work(file.as_ref())).await;
        done.map_err(|_| ConfigError::Stopped)?
    }
}
