//! What providers say when they are asked about themselves: whether they answer, and which models they
//! have. Asks over the network, and only when somebody wants it.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::configured::Configuring;
use super::{Models, ModelsError};
use crate::providers::{
    Endpoint, Http, ModelEvent, ModelRequest, Profile, Provider, ProviderError, base_url,
};
use crate::turn::Said;

/// Programs that people run themselves, and the ports on which they listen by default.
pub const LOCAL_SERVERS: &[(Profile, u16)] = &[
    (Profile::Ollama, 11434),
    (Profile::LlamaCpp, 8080),
    (Profile::LmStudio, 1234),
    (Profile::Vllm, 8000),
];

/// Longest wait for one provider's list; a person waits for all of them.
const LIST_DEADLINE: Duration = Duration::from_secs(20);
/// Longest wait for a whole test.
const TEST_DEADLINE: Duration = Duration::from_secs(60);
/// Longest wait for a server on this host.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// Providers that are asked at once.
const AT_ONCE: usize = 8;

/// The models that a provider says it has, or why it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// The provider's id.
    pub provider_id: String,
    /// The provider's name.
    pub provider: String,
    /// Its profile.
    pub profile: Profile,
    /// Its models.
    pub models: Result<Vec<String>, ProviderError>,
}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How many models it lists, or `None` when it lists none and answered a question; or what is wrong.
    pub result: Result<Option<usize>, ProviderError>,
}

/// A server on this host that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What listens there by default.
    pub profile: Profile,
    /// Where it is.
    pub base_url: String,
    /// Its models.
    pub models: Vec<String>,
}

impl Models {
    /// Asks every enabled provider for its models.
    ///
    /// # Errors
    /// When models cannot be configured here; what a provider fails with is in its entry.
    pub async fn available(&self) -> Result<Vec<Available>, ModelsError> {
        let configured = self.stored()?.configured();
        let enabled = configured.providers.iter().filter(|of| of.row.enabled);
        let asked: Vec<_> = enabled.map(listing).collect();
        let mut listed: Vec<Available> = stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        listed.sort_by(|one, other| one.provider.cmp(&other.provider));
        Ok(listed)
    }

    /// Tests a provider: whether it is there and takes the key.
    ///
    /// # Errors
    /// When there is no such provider; what it fails with is in the report.
    pub async fn test_provider(&self, id: &str) -> Result<TestReport, ModelsError> {
        let configured = self.stored()?.configured();
        let of = configured
            .provider(id)
            .ok_or(ModelsError::UnknownProvider)?;
        let begun = Instant::now();
        let own = configured
            .models
            .iter()
            .find(|info| info.row.provider_id == id);
        let model = own.map(|info| info.row.model.clone());
        let result = match of.endpoint.clone() {
            None => Err(ProviderError::NoKey),
            Some(endpoint) => {
                match tokio::time::timeout(TEST_DEADLINE, test(endpoint, model)).await {
                    Ok(result) => result,
                    Err(_) => Err(ProviderError::Silent(TEST_DEADLINE.as_secs())),
                }
            }
        };
        Ok(TestReport {
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            result,
        })
    }

    /// Looks for model servers on this host.
    ///
    /// # Errors
    /// When models cannot be configured here.
    pub async fn detect(&self) -> Result<Vec<Found>, ModelsError> {
        let http = self.stored()?.http.clone();
        Ok(detect(&http, LOCAL_SERVERS).await)
    }
}

/// Asks loopback ports for a list of models, and says which answered.
pub async fn detect(http: &Http, servers: &[(Profile, u16)]) -> Vec<Found> {
    let asked: Vec<_> = servers
        .iter()
        .map(|(profile, port)| probe(http.clone(), *profile, *port))
        .collect();
    let found: Vec<Option<Found>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    found.into_iter().flatten().collect()
}

async fn probe(http: Http, profile: Profile, port: u16) -> Option<Found> {
    let url = base_url(&format!("http://127.0.0.1:{port}/v1")).ok()?;
    let base_url = url.to_string();
    let endpoint = Endpoint::new(http, profile, url, None);
    let models = tokio::time::timeout(PROBE_DEADLINE, endpoint.models()).await;
    Some(Found {
        profile,
        base_url,
        models: models.ok()?.ok()?,
    })
}

async fn listing_of(endpoint: Option<Endpoint>) -> Result<Vec<String>, ProviderError> {
    let endpoint = endpoint.ok_or(ProviderError::NoKey)?;
    match tokio::time::timeout(LIST_DEADLINE, endpoint.models()).await {
        Ok(models) => models,
        Err(_) => Err(ProviderError::Silent(LIST_DEADLINE.as_secs())),
    }
}

fn listing(of: &Configuring) -> impl Future<Output = Available> + use<> {
    let (provider_id, provider) = (of.row.id.clone(), of.row.name.clone());
    let (profile, endpoint) = (of.profile, of.endpoint.clone());
    async move {
        Available {
            provider_id,
            provider,
            profile,
            models: listing_of(endpoint).await,
        }
    }
}

/// A list shows that address and key are right; a server without lists is asked for one word.
async fn test(endpoint: Endpoint, model: Option<String>) -> Result<Option<usize>, ProviderError> {
    let listed = endpoint.models().await;
    let unlisted = matches!(
        listed,
        Err(ProviderError::Rejected { .. } | ProviderError::Malformed(_))
    );
    match (listed, model) {
        (Ok(models), _) => Ok(Some(models.len())),
        (Err(_), Some(model)) if unlisted => ask_one_token(endpoint, model).await.map(|()| None),
        (Err(error), _) => Err(error),
    }
}

async fn ask_one_token(endpoint: Endpoint, model: String) -> Result<(), ProviderError> {
    let mut answer = endpoint.ask(ModelRequest {
        model,
        said: vec![Said::User("Say yes.".to_owned())],
        max_output_tokens: 1,
        ..ModelRequest::default()
    });
    while let Some(event) = answer.next().await {
        if let ModelEvent::Finished(_) = event? {
            return Ok(());
        }
    }
    Err(ProviderError::BrokenOff)
}
