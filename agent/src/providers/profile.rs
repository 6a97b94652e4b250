//! What is known of each kind of model API: where it is, how it is spoken to, what it wants.

use serde::{Deserialize, Serialize};

/// How a provider's API is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's Chat Completions.
    ChatCompletions,
    /// Anthropic's Messages.
    Messages,
}

/// A kind of model API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// api.openai.com
    OpenAi,
    /// api.anthropic.com
    Anthropic,
    /// Google's API in OpenAI's form.
    Gemini,
    /// api.groq.com
    Groq,
    /// api.mistral.ai
    Mistral,
    /// api.deepseek.com
    DeepSeek,
    /// openrouter.ai
    OpenRouter,
    /// Ollama, by default on this host.
    Ollama,
    /// llama-server of llama.cpp, by default on this host.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// vLLM, by default on this host.
    Vllm,
    /// LM Studio, by default on this host.
    LmStudio,
    /// Anything else that speaks Chat Completions.
    Custom,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Groq,
        Self::Mistral,
        Self::DeepSeek,
        Self::OpenRouter,
        Self::Ollama,
        Self::LlamaCpp,
        Self::Vllm,
        Self::LmStudio,
        Self::Custom,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Groq => "groq",
            Self::Mistral => "mistral",
            Self::DeepSeek => "deepseek",
            Self::OpenRouter => "openrouter",
            Self::Ollama => "ollama",
            Self::LlamaCpp => "llama.cpp",
            Self::Vllm => "vllm",
            Self::LmStudio => "lmstudio",
            Self::Custom => "custom",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == name)
    }

    /// How it is spoken to.
    #[must_use]
    pub fn wire(self) -> Wire {
        match self {
            Self::Anthropic => Wire::Messages,
            _ => Wire::ChatCompletions,
        }
    }

    /// Where it is, unless somebody says otherwise.
    #[must_use]
    pub fn base_url(self) -> Option<&'static str> {
        Some(match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/openai",
            Self::Groq => "https://api.groq.com/openai/v1",
            Self::Mistral => "https://api.mistral.ai/v1",
            Self::DeepSeek => "https://api.deepseek.com/v1",
            Self::OpenRouter => "https://openrouter.ai/api/v1",
            Self::Ollama => "http://127.0.0.1:11434/v1",
            Self::LlamaCpp => "http://127.0.0.1:8080/v1",
            Self::Vllm => "http://127.0.0.1:8000/v1",
            Self::LmStudio => "http://127.0.0.1:1234/v1",
            Self::Custom => return None,
        })
    }

    /// Whether it answers nobody without a key.
    #[must_use]
    pub fn needs_key(self) -> bool {
        !self.is_local() && self != Self::Custom
    }

    /// Whether it is a program that people run themselves, so that its answers cost nothing.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(
            self,
            Self::Ollama | Self::LlamaCpp | Self::Vllm | Self::LmStudio
        )
    }

    /// The field that limits an answer: newer models of some refuse the old name, most others do not
    /// know the new one.
    pub(super) fn max_tokens_field(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Groq => "max_completion_tokens",
            _ => "max_tokens",
        }
    }

    /// Whether it takes `stream_options`. Mistral refuses fields that it does not know, and tells the
    /// usage without being asked.
    pub(super) fn takes_stream_options(self) -> bool {
        self != Self::Mistral
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_one_name_in_every_form() {
        for profile in Profile::ALL {
            assert_eq!(Profile::find(profile.as_str()), Some(profile));
            let json = serde_json::to_value(profile).unwrap();
            assert_eq!(json, profile.as_str());
        }
        assert_eq!(Profile::find("OpenAI"), None);
    }
}
