//! The command line of providers and models.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct ProvidersArgs {
    /// NodeId or name of the agent; the only one when absent
    #[arg(long, global = true)]
    pub(crate) agent: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<ProvidersCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersCommand {
    /// Add a model API; its key comes from stdin or a file, never from the command line
    Add(AddProviderArgs),
    /// Enter another key for a provider, from stdin or a file
    Key(KeyArgs),
    /// Remove a provider with its models
    Remove {
        /// Name or id
        provider: String,
    },
    /// Ask a provider whether it is there and takes the key
    Test {
        /// Name or id
        provider: String,
    },
    /// Look for model servers on the agent's own host
    Detect,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddProviderArgs {
    /// openai, anthropic, gemini, groq, mistral, deepseek, openrouter, ollama, llama.cpp, vllm, lmstudio or custom
    pub(crate) profile: String,
    /// Name for it [default: the profile]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where it is [default: the profile's address]
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Read the key from a file; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// Name or id
    pub(crate) provider: String,
    /// Read the key from a file; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArgs {
    /// NodeId or name of the agent; the only one when absent
    #[arg(long, global = true)]
    pub(crate) agent: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<ModelsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Add a model of a provider
    Add(AddModelArgs),
    /// List what the providers offer
    Available,
    /// Remove a model
    Remove {
        /// `<provider>/<model>`, or its id
        model: String,
    },
    /// Let a model answer again
    Enable {
        /// `<provider>/<model>`, or its id
        model: String,
    },
    /// Keep a model from answering
    Disable {
        /// `<provider>/<model>`, or its id
        model: String,
    },
    /// Make a model the one that answers where nothing else is said
    Default {
        /// `<provider>/<model>`, or its id
        model: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddModelArgs {
    /// Name or id of the provider
    pub(crate) provider: String,
    /// The provider's name of the model
    pub(crate) model: String,
    /// Tokens that its context holds [default: what is known of it]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) context: Option<u32>,
    /// Tokens that an answer may have [default: what is known of it]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_output: Option<u32>,
    /// Whether it takes pictures [default: what is known of it]
    #[arg(long, value_name = "true|false")]
    pub(crate) images: Option<bool>,
    /// Price of a million tokens read, in US dollars [default: what is known of it]
    #[arg(long, value_name = "DOLLARS", requires = "price_output", value_parser = micro_dollars)]
    pub(crate) price_input: Option<u64>,
    /// Price of a million tokens written, in US dollars
    #[arg(long, value_name = "DOLLARS", requires = "price_input", value_parser = micro_dollars)]
    pub(crate) price_output: Option<u64>,
    /// Place in the order of those that answer when the first choice fails, from 1
    #[arg(long, value_name = "PLACE")]
    pub(crate) fallback: Option<u32>,
    /// Make it the default, whatever was it before
    #[arg(long)]
    pub(crate) default: bool,
}

/// Dollars with up to six decimals, as millionths: read without floating point, which would be a
/// millionth off here and there.
fn micro_dollars(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is not an amount such as 3 or 0.15");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 || (whole.is_empty() && part.is_empty()) {
        return Err(wrong());
    }
    let digits = format!("{whole}{part:0<6}");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly() {
        assert_eq!(micro_dollars("3"), Ok(3_000_000));
        assert_eq!(micro_dollars("0.15"), Ok(150_000));
        assert_eq!(micro_dollars(".000001"), Ok(1));
        assert_eq!(micro_dollars("0"), Ok(0));
        for wrong in [
            "",
            ".",
            "-1",
            "1e3",
            "0.0000001",
            "1,5",
            "$1",
            "9".repeat(30).as_str(),
        ] {
            assert!(micro_dollars(wrong).is_err(), "{wrong}");
        }
    }
}
