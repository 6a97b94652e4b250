//! The text of `homing.toml` at a first run: every key with a comment.

use homing_agent::prompt::PromptMode;

use super::{Config, ProxyAuthSetting, RelaySetting, tools};

impl Config {
    /// The file of a first run.
    pub(crate) fn to_text(&self) -> String {
        let relay = match &self.relay {
            RelaySetting::Word(word) => format!("{word:?}"),
            RelaySetting::Urls(urls) => format!("{urls:?}"),
        };
        let name = match &self.agent.name {
            Some(name) => format!("name = {name:?}"),
            None => "# name = \"home\"".to_owned(),
        };
        let (quic, proxy, limits) = (&self.quic, &self.proxy, &self.limits);
        let auth = match proxy.auth {
            ProxyAuthSetting::SameUser => "same-user",
            ProxyAuthSetting::Token => "token",
        };
        let text = format!(
            r#"# Settings of homing. After an edit: homing config check, then homing config reload; it says what waits
# for the next start.

# What may be contacted beside the addresses of this network's own members:
# "none" (this machine and the local network), "public" (iroh's public relays and look-up),
# or a list of your own relays, such as ["https://relay.example.org"].
relay = {relay}

[agent]
# Name of the agent, as people see it.
{name}
# Bytes that one upload may have. Default 10 MB.
# upload_limit = 10000000

[quic]
# Address of the QUIC sockets (UDP). 0.0.0.0 means all, IPv6 included.
address = "{address}"
# UDP ports, chosen when they are first needed and kept, so that tickets and remembered addresses
# stay good. 0 picks a free one at every start.
{agent}
{coordinator}
{device}

[proxy]
# TCP port of the loopback proxy on 127.0.0.1. 0 picks a free one at every start.
port = {port}
# Whether it listens on [::1] too, so that nobody else can be localhost there.
ipv6 = {ipv6}
# "same-user": programs of this user need no token. "token": every request needs the token of
# run/proxy.token.
auth = "{auth}"

[limits]
# Per device: plain reads a second, writes a second, agent runs a minute.
reads_per_second = {reads}
writes_per_second = {writes}
runs_per_minute = {runs}
# Per user: chat messages a minute.
chat_per_minute = {chat}
# New TCP connections a second at the loopback proxy.
proxy_connections_per_second = {connections}
# Devices that may join a second, over all.
enrolments_per_second = {enrolments}
# QUIC handshakes of one address before it is admitted: at once, and a second.
handshake_burst = {burst}
handshakes_per_second = {rate:?}

[budgets]
# What models may cost, in US dollars: set aside before each call, so that no call passes a cap.
# No cap by default. A month is one of the calendar, days are in UTC.
# session = 5.0
# device_day = 5.0
# user_day = 10.0
# day = 20.0
# month = 100.0
# Tokens of all models in a day, also of those whose price is not known.
# tokens_day = 5000000

[policy]
# Refuses every tool call that changes something, whatever anybody approves.
# read_only = false
# Minutes that a question waits for its answer; no answer is a no.
# approval_minutes = 15
# Lets devices other than an admin's start programs where the system cannot confine them.
# unconfined_for_all = false

# By the name of a tool, * stands for anything: "allow", "ask" or "deny". Without a line, what only
# reads is allowed and what changes something is asked about.
# [policy.tools]
# shell = "ask"

# By what a call is about; here how argv begins. docs/policy.md has more.
# [[policy.rules]]
# tool = "shell"
# argv = ["git", "status"]
# action = "allow"

[context]
# How much models are told before a conversation: "full" or "minimal". Models with a small context are
# told the least in any case.
prompt = {prompt}
# Bytes of AGENTS.md and of TOOLS.md in agent/workspace that models are told; 0 for none.
file_bytes = {file_bytes}

# Folders besides the agent's workspace in which the shell tool may start programs.
# [shell]
# roots = ["/srv/work"]

# Programs that are asked or told at points of a turn; docs/hooks.md has all of them. Keep them where
# the agent's tools cannot write.
# [[hooks]]
# on = "before_tool_call"
# command = ["/usr/local/bin/check", "--strict"]
# tools = ["shell", "mcp_*"]
# Seconds that it has, 1 to 60.
# timeout_seconds = 5
# What its failure counts as: "deny" or "pass".
# on_failure = "deny"
# Whether it is handed the texts of messages and answers.
# text = false
"#,
            address = quic.address,
            prompt = match self.context.prompt {
                PromptMode::Full => "\"full\"",
                PromptMode::Minimal => "\"minimal\"",
            },
            file_bytes = self.context.file_bytes,
            agent = port_line("agent_port", quic.agent_port),
            coordinator = port_line("coordinator_port", quic.coordinator_port),
            device = port_line("device_port", quic.device_port),
            port = proxy.port,
            ipv6 = proxy.ipv6,
            reads = limits.reads_per_second,
            writes = limits.writes_per_second,
            runs = limits.runs_per_minute,
            chat = limits.chat_per_minute,
            connections = limits.proxy_connections_per_second,
            enrolments = limits.enrolments_per_second,
            burst = limits.handshake_burst,
            rate = limits.handshakes_per_second,
        );
        text + &tools::to_text(&self.tools)
    }
}

fn port_line(key: &str, port: Option<u16>) -> String {
    port.map_or_else(|| format!("# {key} = 0"), |port| format!("{key} = {port}"))
}
