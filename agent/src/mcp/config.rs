//! How an MCP server is reached, and what its owner has said about its tools. Checked whole before
//! anything is stored or started.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::names::is_server_name;
use super::secret::{MASK, Secret};
use crate::models::{SealError, Sealer};
use crate::tools::Action;

/// Words of a command line, and bytes of one: far above what people write.
const MAX_WORDS: usize = 64;
const MAX_WORD: usize = 4_096;
/// Environment variables or headers, and bytes of one value.
const MAX_SECRETS: usize = 64;
const MAX_SECRET: usize = 8_192;
/// Longest address, in bytes.
const MAX_URL: usize = 2_048;
/// Rules for single tools.
const MAX_RULES: usize = 512;
/// Longest time of one call, in seconds, by default and at most.
const DEFAULT_TIMEOUT: u64 = 60;
const MAX_TIMEOUT: u64 = 600;

/// Headers that the protocol itself sets.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "transfer-encoding",
    "upgrade",
];

/// Why a config is refused. The texts are for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name.
    #[error("a name has 1 to 32 of a-z, 0-9 and -, and no - at its ends")]
    Name,
    /// Neither or both ways to reach it.
    #[error("give either a command or a url")]
    Place,
    /// The command line.
    #[error(
        "a command has 1 to {MAX_WORDS} words of at most {MAX_WORD} bytes, the first not empty"
    )]
    Command,
    /// The folder.
    #[error("cwd is an absolute path")]
    Cwd,
    /// The address.
    #[error("the url is not one: {0}")]
    Url(&'static str),
    /// A name of a variable or header.
    #[error("{0} cannot be the name of {1}")]
    SecretName(String, &'static str),
    /// A value.
    #[error("the value of {0} is too long or has control characters")]
    SecretValue(String),
    /// A masked value that stands for nothing.
    #[error("there is no stored value of {0} to keep")]
    NothingToKeep(String),
    /// Too many variables or headers.
    #[error("there are at most {MAX_SECRETS} variables or headers")]
    TooManySecrets,
    /// Variables for a url, or headers for a command.
    #[error("{0}")]
    WrongSecrets(&'static str),
    /// The time limit.
    #[error("timeout_s is 1 to {MAX_TIMEOUT}")]
    Timeout,
    /// Too many rules.
    #[error("there are at most {MAX_RULES} rules for tools")]
    TooManyRules,
}

/// One word or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// A program.
    One(String),
    /// A program and its arguments.
    Many(Vec<String>),
}

/// A config as a person sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Draft {
    /// 1 to 32 of `a-z0-9-`; in an update that of the path.
    pub name: Option<String>,
    /// The program to start.
    pub command: Option<Words>,
    /// More words of the command.
    pub args: Vec<String>,
    /// The address of a server that runs elsewhere (streamable HTTP).
    pub url: Option<String>,
    /// Variables for the program; their values are secrets.
    pub env: BTreeMap<String, SecretText>,
    /// Headers for the server; their values are secrets.
    pub headers: BTreeMap<String, SecretText>,
    /// Folder in which the program starts; the home folder by default.
    pub cwd: Option<PathBuf>,
    /// Longest time of one call, in seconds; 60 by default.
    pub timeout_s: Option<u64>,
    /// What holds for its tools; `ask` by default.
    pub policy: Option<Action>,
    /// What holds for single tools, by the names that the server gives them.
    pub tools: BTreeMap<String, Action>,
    /// Whether it is to run; true by default.
    pub enabled: Option<bool>,
}

/// A value that came from outside and is shown in no output.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// A program that the agent starts.
    Command {
        /// The program and its arguments.
        words: Vec<String>,
        /// Where it starts.
        cwd: Option<PathBuf>,
    },
    /// Streamable HTTP.
    Url(String),
}

/// A checked config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Values of variables or headers.
    pub secrets: BTreeMap<String, Secret>,
    /// Longest time of one call.
    pub timeout: Duration,
    /// What holds for its tools.
    pub policy: Action,
    /// What holds for single tools.
    pub tools: BTreeMap<String, Action>,
    /// Whether it is to run.
    pub enabled: bool,
}

/// As it is stored, without secrets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    place: Place,
    timeout_s: u64,
    policy: Action,
    tools: BTreeMap<String, Action>,
}

impl Draft {
    /// Checks it; values that are masked are taken from `before`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(self, before: Option<&ServerConfig>) -> Result<ServerConfig, ConfigError> {
        let name = self.name.filter(|name| is_server_name(name));
        let name = name.ok_or(ConfigError::Name)?;
        let (place, texts) = match (self.command, self.url) {
            (Some(command), None) => {
                if !self.headers.is_empty() {
                    let text = "headers are for a url; a command takes env";
                    return Err(ConfigError::WrongSecrets(text));
                }
                (program(command, self.args, self.cwd)?, self.env)
            }
            (None, Some(url)) if self.args.is_empty() && self.cwd.is_none() => {
                if !self.env.is_empty() {
                    let text = "env is for a command; a url takes headers";
                    return Err(ConfigError::WrongSecrets(text));
                }
                check_url(&url)?;
                (Place::Url(url), self.headers)
            }
            _ => return Err(ConfigError::Place),
        };
        let timeout = self.timeout_s.unwrap_or(DEFAULT_TIMEOUT);
        if !(1..=MAX_TIMEOUT).contains(&timeout) {
            return Err(ConfigError::Timeout);
        }
        if self.tools.len() > MAX_RULES {
            return Err(ConfigError::TooManyRules);
        }
        Ok(ServerConfig {
            secrets: secrets(texts, &place, before)?,
            name,
            place,
            timeout: Duration::from_secs(timeout),
            policy: self.policy.unwrap_or(Action::Ask),
            tools: self.tools,
            enabled: self.enabled.unwrap_or(true),
        })
    }
}

impl ServerConfig {
    /// What holds for a tool.
    #[must_use]
    pub fn rule(&self, tool: &str) -> Action {
        self.tools.get(tool).copied().unwrap_or(self.policy)
    }

    /// Whether another config is about the same process or address with the same secrets, so that
    /// nothing must be started anew.
    #[must_use]
    pub fn same_server(&self, other: &Self) -> bool {
        self.place == other.place && self.secrets == other.secrets
    }

    /// As it is stored: the config without secrets, and the sealed secrets.
    ///
    /// # Errors
    /// When the secrets cannot be sealed.
    pub fn store(&self, owner: &str, sealer: &Sealer) -> Result<(String, Vec<u8>), SealError> {
        let stored = Stored {
            place: self.place.clone(),
            timeout_s: self.timeout.as_secs(),
            policy: self.policy,
            tools: self.tools.clone(),
        };
        let values: BTreeMap<&str, &str> = self
            .secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.reveal()))
            .collect();
        let plain = Zeroizing::new(serde_json::to_string(&values).unwrap_or_default());
        let sealed = sealer.seal(&purpose(owner, &self.name), &plain)?;
        Ok((serde_json::to_string(&stored).unwrap_or_default(), sealed))
    }

    /// Reads what was stored. Without its secrets when those cannot be opened: then the second is why.
    ///
    /// # Errors
    /// When it is not what this version writes.
    pub fn load(
        name: &str,
        owner: &str,
        (config, sealed): (&str, &[u8]),
        enabled: bool,
        sealer: &Sealer,
    ) -> Result<(Self, Option<SealError>), serde_json::Error> {
        let stored: Stored = serde_json::from_str(config)?;
        let (values, error) = match sealer.open(&purpose(owner, name), sealed) {
            Ok(plain) => (serde_json::from_str(&plain)?, None),
            Err(error) => (BTreeMap::<String, String>::new(), Some(error)),
        };
        let secrets = values
            .into_iter()
            .map(|(name, value)| (name, Secret::new(value)));
        let config = Self {
            name: name.to_owned(),
            place: stored.place,
            secrets: secrets.collect(),
            timeout: Duration::from_secs(stored.timeout_s),
            policy: stored.policy,
            tools: stored.tools,
            enabled,
        };
        Ok((config, error))
    }
}

/// Binds sealed secrets to their row: they cannot be moved to another server or user.
fn purpose(owner: &str, name: &str) -> String {
    format!("mcp {owner} {name}")
}

fn program(command: Words, args: Vec<String>, cwd: Option<PathBuf>) -> Result<Place, ConfigError> {
    let mut words = match command {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    };
    words.extend(args);
    let fits = |word: &String| word.len() <= MAX_WORD && !word.contains('\0');
    if !(1..=MAX_WORDS).contains(&words.len())
        || !words.iter().all(fits)
        || words.first().is_none_or(String::is_empty)
    {
        return Err(ConfigError::Command);
    }
    if cwd.as_ref().is_some_and(|cwd| !cwd.is_absolute()) {
        return Err(ConfigError::Cwd);
    }
    Ok(Place::Command { words, cwd })
}

/// https to anywhere; http only to this machine or an address that no public network routes, given
/// as an address: a name could point elsewhere tomorrow.
fn check_url(url: &str) -> Result<(), ConfigError> {
    let refuse = |why| Err(ConfigError::Url(why));
    if url.len() > MAX_URL {
        return refuse("it is too long");
    }
    let Ok(url) = Url::parse(url) else {
        return refuse("it cannot be read");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a secret goes into a header, not into the url");
    }
    if url.fragment().is_some() {
        return refuse("it has a fragment");
    }
    let Some(host) = url.host_str() else {
        return refuse("it names no host");
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if host == "localhost" => Ok(()),
        "http" => match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if is_near(address) => Ok(()),
            _ => refuse("http is only for localhost and for private addresses; use https"),
        },
        _ => refuse("it is neither http nor https"),
    }
}

fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            // 100.64/10 is what overlay networks give to their members.
            let [first, second, ..] = address.octets();
            let shared = first == 100 && (64..128).contains(&second);
            address.is_loopback() || address.is_private() || shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

fn secrets(
    texts: BTreeMap<String, SecretText>,
    place: &Place,
    before: Option<&ServerConfig>,
) -> Result<BTreeMap<String, Secret>, ConfigError> {
    if texts.len() > MAX_SECRETS {
        return Err(ConfigError::TooManySecrets);
    }
    let mut secrets = BTreeMap::new();
    for (name, SecretText(text)) in texts {
        let header = matches!(place, Place::Url(_));
        if header && !is_header(&name) {
            return Err(ConfigError::SecretName(name, "a header"));
        }
        if !header && !is_variable(&name) {
            return Err(ConfigError::SecretName(name, "a variable"));
        }
        let value = if text == MASK {
            let kept = before.and_then(|before| before.secrets.get(&name));
            kept.cloned()
                .ok_or_else(|| ConfigError::NothingToKeep(name.clone()))?
        } else {
            Secret::new(text)
        };
        let text = value.reveal();
        let fits = text.len() <= MAX_SECRET && !text.contains('\0');
        if !fits || (header && HeaderValue::from_str(text).is_err()) {
            return Err(ConfigError::SecretValue(name));
        }
        secrets.insert(name, value);
    }
    Ok(secrets)
}

fn is_variable(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&name.len())
        && name.bytes().all(letter)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn is_header(name: &str) -> bool {
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return false;
    };
    let header = header.as_str();
    name.len() <= 128 && !header.starts_with("mcp-") && !RESERVED_HEADERS.contains(&header)
}

#[cfg(test)]
mod tests;
