//! `homing.toml`: read whole, checked whole, before anything binds. Written at first run with a
//! comment on every key.

mod edit;
pub(crate) mod ports;
pub(crate) mod store;
mod text;
mod tools;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use homing_agent::budgets::Caps;
use homing_agent::config::{LiveSettings, Sizes};
use homing_agent::hooks::{self, HookSettings};
use homing_agent::limits::Rates;
use homing_agent::policy::PolicySettings;
use homing_agent::prompt::ContextSettings;
use homing_agent::tools::ToolSettings;
use homing_transport::Relay;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::failure::Failure;
use crate::files;

/// Default port of the loopback proxy.
const PROXY_PORT: u16 = 7070;

/// Largest budget, in US dollars; more is a slip of the pen.
const MAX_BUDGET: f64 = 1_000_000.0;

/// All settings of a data directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What QUIC endpoints may contact. Default `"none"`.
    pub(crate) relay: RelaySetting,
    pub(crate) agent: AgentSection,
    pub(crate) quic: QuicSection,
    pub(crate) proxy: ProxySection,
    pub(crate) limits: LimitsSection,
    /// What tools may do. Default: what reads may run, what changes something is asked about.
    pub(crate) policy: PolicySettings,
    /// What models are told before a conversation.
    pub(crate) context: ContextSettings,
    pub(crate) shell: ShellSection,
    pub(crate) tools: ToolSettings,
    pub(crate) budgets: BudgetsSection,
    /// Programs that are asked or told at points of a turn. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<HookSettings>,
}

/// What models may cost, in US dollars, and how many tokens they may use. No cap by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BudgetsSection {
    /// Of one session in all.
    pub(crate) session: Option<f64>,
    /// Of one device in a day.
    pub(crate) device_day: Option<f64>,
    /// Of one user in a day.
    pub(crate) user_day: Option<f64>,
    /// Of the agent in a day.
    pub(crate) day: Option<f64>,
    /// Of the agent in a month of the calendar, in UTC.
    pub(crate) month: Option<f64>,
    /// Tokens of the agent in a day; the only cap that holds for models without a known price.
    pub(crate) tokens_day: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ShellSection {
    /// Folders besides the agent's workspace in which the shell tool may start programs. Default none.
    pub(crate) roots: Vec<PathBuf>,
}

/// `"none"`, `"public"`, or a list of URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum RelaySetting {
    Word(String),
    Urls(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentSection {
    /// Name that people see. Default `home`.
    pub(crate) name: Option<String>,
    /// Bytes that one upload may have. Default 10 MB.
    pub(crate) upload_limit: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuicSection {
    /// Address of all QUIC sockets. Default 0.0.0.0, which is IPv6 as well.
    pub(crate) address: IpAddr,
    /// UDP ports; 0 picks one at every start. Those that are not named are chosen and written at the
    /// first start that needs them.
    pub(crate) agent_port: Option<u16>,
    pub(crate) coordinator_port: Option<u16>,
    pub(crate) device_port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProxySection {
    /// TCP port on 127.0.0.1; 0 picks one at every start. Default 7070.
    pub(crate) port: u16,
    /// Whether the proxy listens on `[::1]` too. Default true: whoever else listened there could be
    /// `localhost` for a browser.
    pub(crate) ipv6: bool,
    /// `same-user`: programs of this user need no token; `token`: every request needs one.
    pub(crate) auth: ProxyAuthSetting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyAuthSetting {
    SameUser,
    Token,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsSection {
    /// Plain reads per second of one device. Default 2,000.
    pub(crate) reads_per_second: u32,
    /// Writes per second of one device. Default 50.
    pub(crate) writes_per_second: u32,
    /// Agent runs per minute of one device. Default 10.
    pub(crate) runs_per_minute: u32,
    /// Chat messages per minute of one user. Default 60.
    pub(crate) chat_per_minute: u32,
    /// New TCP connections per second at the loopback proxy. Default 4,000.
    pub(crate) proxy_connections_per_second: u32,
    /// Devices that may join per second, over all. Default 10.
    pub(crate) enrolments_per_second: u32,
    /// QUIC handshakes that one address may start at once. Default 60.
    pub(crate) handshake_burst: u32,
    /// QUIC handshakes per second that one address earns back. Default 2.
    pub(crate) handshakes_per_second: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            relay: RelaySetting::Word("none".to_owned()),
            agent: AgentSection::default(),
            quic: QuicSection::default(),
            proxy: ProxySection::default(),
            limits: LimitsSection::default(),
            tools: ToolSettings::default(),
            budgets: BudgetsSection::default(),
            policy: PolicySettings::default(),
            context: ContextSettings::default(),
            shell: ShellSection::default(),
            hooks: Vec::new(),
        }
    }
}

impl BudgetsSection {
    /// As the agent counts: in millionths of a dollar.
    pub(crate) fn caps(&self) -> anyhow::Result<Caps> {
        Ok(Caps {
            session: micro_usd("session", self.session)?,
            device_day: micro_usd("device_day", self.device_day)?,
            user_day: micro_usd("user_day", self.user_day)?,
            day: micro_usd("day", self.day)?,
            month: micro_usd("month", self.month)?,
            tokens_day: self.tokens_day,
        })
    }
}

fn micro_usd(key: &str, dollars: Option<f64>) -> anyhow::Result<Option<u64>> {
    let Some(dollars) = dollars else {
        return Ok(None);
    };
    if !(0.0..=MAX_BUDGET).contains(&dollars) {
        anyhow::bail!("budgets.{key} is an amount of US dollars from 0 to {MAX_BUDGET}");
    }
    // Exact enough: a float holds millionths up to nine billion.
    Ok(Some((dollars * 1e6).round() as u64))
}

impl Default for QuicSection {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED.into(),
            agent_port: None,
            coordinator_port: None,
            device_port: None,
        }
    }
}

impl Default for ProxySection {
    fn default() -> Self {
        Self {
            port: PROXY_PORT,
            ipv6: true,
            auth: ProxyAuthSetting::SameUser,
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            reads_per_second: 2_000,
            writes_per_second: 50,
            runs_per_minute: 10,
            chat_per_minute: 60,
            proxy_connections_per_second: 4_000,
            enrolments_per_second: 10,
            handshake_burst: 60,
            handshakes_per_second: 2.0,
        }
    }
}

impl Config {
    /// Reads and checks the file; `None` when there is none yet.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let Some(bytes) = files::read(path)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned());
        match text.and_then(|text| Self::parse(&text)) {
            Ok(config) => Ok(Some(config)),
            Err(message) => Err(invalid(path, &message).into()),
        }
    }

    /// Reads and checks a text; the error is for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.relay.parse().map_err(|error| error.to_string())?;
        config.tools.check().map_err(|error| error.to_string())?;
        config.budgets.caps().map_err(|error| error.to_string())?;
        config.policy.check()?;
        config.context.check()?;
        hooks::check(&config.hooks)?;
        if let Some(root) = config.shell.roots.iter().find(|root| !root.is_absolute()) {
            let root = root.display();
            return Err(format!("shell.roots: {root} is not an absolute path"));
        }
        Ok(config)
    }

    /// What takes effect while an agent runs.
    pub(crate) fn live(&self) -> anyhow::Result<LiveSettings> {
        let limits = &self.limits;
        Ok(LiveSettings {
            rates: Rates {
                reads_per_second: limits.reads_per_second,
                writes_per_second: limits.writes_per_second,
                runs_per_minute: limits.runs_per_minute,
                chat_per_minute: limits.chat_per_minute,
                ..Rates::default()
            },
            upload: self.agent.upload_limit.unwrap_or(Sizes::default().upload),
            caps: self.budgets.caps()?,
            tools: self.tools.clone(),
            policy: self.policy.clone(),
            context: self.context,
            shell_roots: self.shell.roots.clone(),
            hooks: self.hooks.clone(),
        })
    }

    /// Names of what differs from `started` and takes effect at the next start only.
    pub(crate) fn restart_required(&self, started: &Self) -> Vec<String> {
        let at_start = |limits: &LimitsSection| {
            (
                limits.proxy_connections_per_second,
                limits.enrolments_per_second,
                limits.handshake_burst,
                limits.handshakes_per_second,
            )
        };
        let differs = [
            ("relay", self.relay != started.relay),
            ("agent.name", self.agent.name != started.agent.name),
            ("quic", self.quic != started.quic),
            ("proxy", self.proxy != started.proxy),
            (
                "limits",
                at_start(&self.limits) != at_start(&started.limits),
            ),
        ];
        let names = differs.iter().filter(|(_, differs)| *differs);
        names.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Writes the file of a first run, or adds to the user's own the ports that it does not name. A
    /// file that cannot be written costs only the ports, at the next start.
    pub(crate) fn keep(&self, path: &Path, first_run: bool) -> anyhow::Result<()> {
        if first_run {
            return files::write(path, self.to_text().as_bytes());
        }
        let stored = Self::load(path)?.unwrap_or_default();
        if stored.quic != self.quic
            && let Err(error) = ports::add(path, &self.quic)
        {
            warn!(
                error = format!("{error:#}"),
                "the UDP ports could not be kept in homing.toml; the next start chooses others"
            );
        }
        Ok(())
    }

    /// The socket address of a QUIC endpoint with this port.
    pub(crate) fn quic_address(&self, port: Option<u16>) -> SocketAddr {
        SocketAddr::new(self.quic.address, port.unwrap_or(0))
    }
}

fn invalid(path: &Path, message: &str) -> Failure {
    Failure::new(
        "config_invalid",
        format!("{} is not valid: {message}", path.display()),
        "correct that line (docs/cli.md lists every key), or go back to the last one that worked: homing config restore",
    )
}

impl RelaySetting {
    /// Reads the value of `--relay`.
    pub(crate) fn from_arg(text: &str) -> anyhow::Result<Self> {
        let setting = match text {
            "none" | "public" => Self::Word(text.to_owned()),
            urls => Self::Urls(urls.split(',').map(|url| url.trim().to_owned()).collect()),
        };
        setting.parse()?;
        Ok(setting)
    }

    /// The setting as the transport understands it.
    pub(crate) fn parse(&self) -> anyhow::Result<Relay> {
        match self {
            Self::Word(word) if word == "none" => Ok(Relay::None),
            Self::Word(word) if word == "public" => Ok(Relay::Public),
            Self::Urls(urls)
                if !urls.is_empty()
                    && urls
                        .iter()
                        .all(|url| url.starts_with("https://") || url.starts_with("http://")) =>
            {
                Ok(Relay::Own(urls.clone()))
            }
            other => Err(Failure::new(
                "invalid_argument",
                format!("{other:?} is not a relay setting"),
                "use none, public, or URLs that start with https://",
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_first_run_reads_back_as_the_settings_it_was_made_of() {
        let mut config = Config::default();
        config.quic.agent_port = Some(40_001);
        config.agent.name = Some("ho\"me".to_owned());
        config.relay = RelaySetting::Urls(vec!["https://relay.example.org".to_owned()]);
        let back: Config = toml::from_str(&config.to_text()).unwrap();
        assert_eq!(back, config);
        config.tools.containers.socket = Some("/run/a \"b\" \\c.sock".into());
        config.tools.files.roots = Some(vec!["/srv/media".into(), "/srv/notes".into()]);
        config.tools.fetch.enabled = true;
        config.tools.fetch.ports = vec![443, 8443];
        config.tools.fetch.allow_private = vec!["10.0.0.0/24".parse().unwrap()];
        let back: Config = toml::from_str(&config.to_text()).unwrap();
        assert_eq!(back, config);
    }

    #[test]
    fn settings_of_a_tool_that_cannot_be_meant_are_refused_with_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        for (text, named) in [
            ("[tools.files]\nroots = [\"media\"]\n", "tools.files.roots"),
            ("[tools.fetch]\nports = [0]\n", "tools.fetch.ports"),
            ("[tools.fetch]\nallow_private = [\"router\"]\n", "router"),
            ("[tools.programs]\nsystemctl = \"/tmp/x\"\n", "programs"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Config::load(&path).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn budgets_are_dollars_and_nonsense_is_refused_with_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        std::fs::write(&path, "[budgets]\nday = 1.5\n").unwrap();
        let config = Config::load(&path).unwrap().unwrap();
        assert_eq!(config.budgets.caps().unwrap().day, Some(1_500_000));
        for wrong in ["-1.0", "nan", "inf", "1e9"] {
            std::fs::write(&path, format!("[budgets]\nmonth = {wrong}\n")).unwrap();
            let error = Config::load(&path).unwrap_err();
            assert!(error.to_string().contains("budgets.month"), "{error}");
        }
    }

    #[test]
    fn a_key_that_does_not_exist_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        std::fs::write(&path, "[proxy]\nprot = 7070\n").unwrap();
        let error = Config::load(&path).unwrap_err();
        assert!(error.to_string().contains("prot"), "{error}");
    }

    #[test]
    fn a_policy_is_read_and_one_that_means_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        let good = r#"
            [policy]
            read_only = true
            [policy.tools]
            shell = "ask"
            "mcp_github_*" = "allow"
            [[policy.rules]]
            tool = "shell"
            argv = ["git", "status"]
            action = "allow"
        "#;
        std::fs::write(&path, good).unwrap();
        let config = Config::load(&path).unwrap().unwrap();
        assert!(config.policy.read_only);
        assert_eq!(config.policy.rules.len(), 1);
        for (bad, word) in [
            ("[policy]\napproval_minutes = 0\n", "approval_minutes"),
            ("[policy.tools]\nshell = \"sometimes\"\n", "sometimes"),
            ("[policy]\nreadonly = true\n", "readonly"),
            (
                "[[policy.rules]]\ntool = \"shell\"\naction = \"allow\"\n",
                "policy.tools",
            ),
            ("[shell]\nroots = [\"work\"]\n", "absolute"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = Config::load(&path).unwrap_err();
            assert!(error.to_string().contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn hooks_are_read_and_one_that_means_nothing_is_refused_with_its_key() {
        let hook = |rest: &str| Config::parse(&format!("[[hooks]]\non = {rest}\n"));
        let config = hook("\"agent_end\"\ncommand = [\"/x\", \"-v\"]").unwrap();
        assert_eq!(config.live().unwrap().hooks, config.hooks);
        let back = Config::parse(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(back, config);
        for (bad, word) in [
            ("\"before_lunch\"\ncommand = [\"/x\"]", "before_lunch"),
            ("\"agent_end\"", "command"),
            ("\"agent_end\"\ncommand = [\"x\"]", "absolute"),
            ("\"agent_end\"\ncommand = [\"/x\"]\nenv = {}", "env"),
        ] {
            let error = hook(bad).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn a_relay_is_none_public_or_urls_and_nothing_else() {
        assert_eq!(
            RelaySetting::from_arg("none").unwrap().parse().unwrap(),
            Relay::None
        );
        assert_eq!(
            RelaySetting::from_arg("public").unwrap().parse().unwrap(),
            Relay::Public
        );
        assert!(RelaySetting::from_arg("https://a.example,https://b.example").is_ok());
        assert!(RelaySetting::from_arg("sometimes").is_err());
        assert!(RelaySetting::from_arg("").is_err());
    }
}
