//! One configured model API: its address, its key, and requests to it in its own form.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;

use super::http::Ask;
use super::profile::Wire;
use super::{ApiKey, Http, ModelEvent, ModelRequest, Profile, Provider, ProviderError};
use super::{anthropic, decode, openai};

/// Models of one provider that are listed; the largest directory has about 500.
const MAX_LISTED: usize = 2_000;
/// Version of Anthropic's API.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
/// Shown in OpenRouter's own lists.
const TITLE: HeaderValue = HeaderValue::from_static("homing");

/// A provider that is spoken to over HTTP.
#[derive(Debug, Clone)]
pub struct Endpoint {
    http: Http,
    profile: Profile,
    base: Url,
    key: Option<ApiKey>,
}

impl Endpoint {
    /// One at this address; `base` comes from [`super::base_url`].
    #[must_use]
    pub fn new(http: Http, profile: Profile, base: Url, key: Option<ApiKey>) -> Self {
        Self {
            http,
            profile,
            base,
            key,
        }
    }

    /// The models that it says it has.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn models(&self) -> Result<Vec<String>, ProviderError> {
        let ask = self.ask_for(Method::GET, "models", Bytes::new())?;
        let body = self.http.read(&ask).await?;
        let listed = serde_json::from_slice::<Listed>(&body)
            .map_err(|_| ProviderError::Malformed("its list of models is not one"))?;
        let names = listed.data.into_iter().chain(listed.models);
        let names = names.filter_map(|model| model.id.or(model.name));
        // Gemini's names come with the folder that they lie in.
        let names = names.map(|name| match name.strip_prefix("models/") {
            Some(bare) => bare.to_owned(),
            None => name,
        });
        Ok(names.take(MAX_LISTED).collect())
    }

    fn ask_for(&self, method: Method, path: &str, body: Bytes) -> Result<Ask, ProviderError> {
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/');
        url.set_path(&format!("{base}/{path}"));
        Ok(Ask {
            method,
            url,
            headers: self.headers(!body.is_empty())?,
            body,
            secret: self.key.clone(),
        })
    }

    fn headers(&self, has_body: bool) -> Result<HeaderMap, ProviderError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if self.profile.wire() == Wire::Messages {
            headers.insert(
                HeaderName::from_static("anthropic-version"),
                ANTHROPIC_VERSION,
            );
        }
        if self.profile == Profile::OpenRouter {
            headers.insert(HeaderName::from_static("x-title"), TITLE);
        }
        if let Some(key) = &self.key {
            let (name, value) = match self.profile.wire() {
                Wire::Messages => (
                    HeaderName::from_static("x-api-key"),
                    key.reveal().to_owned(),
                ),
                Wire::ChatCompletions => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
            };
            let mut value = HeaderValue::from_str(&value).map_err(|_| ProviderError::NoKey)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn stream(&self, path: &str, body: &Value) -> Result<Ask, ProviderError> {
        self.ask_for(Method::POST, path, Bytes::from(body.to_string()))
    }
}

impl Provider for Endpoint {
    fn ask(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let http = self.http.clone();
        let secret = self.key.clone();
        match self.profile.wire() {
            Wire::ChatCompletions => {
                let body = openai::body(&request, self.profile);
                match self.stream("chat/completions", &body) {
                    Ok(ask) => decode::answer(http, ask, openai::Decoder::new(secret)),
                    Err(error) => super::failed(error),
                }
            }
            Wire::Messages => {
                let body = anthropic::body(&request);
                match self.stream("messages", &body) {
                    Ok(ask) => decode::answer(http, ask, anthropic::Decoder::new(secret)),
                    Err(error) => super::failed(error),
                }
            }
        }
    }
}

/// OpenAI and those like it say `data`; Ollama's own list says `models`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    #[serde(deserialize_with = "super::openai::or_default")]
    data: Vec<ListedModel>,
    #[serde(deserialize_with = "super::openai::or_default")]
    models: Vec<ListedModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListedModel {
    id: Option<String>,
    name: Option<String>,
}
