//! `homing doctor`: what is wrong here and the next step, every socket, every host that is contacted.

use serde::Serialize;
use serde_json::{Value, json};

use super::providers::{entries, word};
use super::status;
use crate::agent_api::AgentApi;
use crate::config::{Config, ProxyAuthSetting, RelaySetting};
use crate::data_dir::DataDir;
use crate::failure::describe;
use crate::output::Output;

/// Seconds without a heartbeat after which an agent refuses what needs a fresh log.
const STALE: u64 = homing_certs::STALE_AFTER_SECS;

#[derive(Debug, Serialize)]
struct Finding {
    /// `warning` or `problem`.
    level: &'static str,
    code: &'static str,
    message: String,
    next: String,
}

pub(super) async fn run(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let (config, broken) = match Config::load(&dir.config()) {
        Ok(config) => (config.unwrap_or_default(), None),
        Err(error) => (Config::default(), Some(describe(&error).0)),
    };
    let status = status::document(dir).await?;
    let mut findings = findings(dir, &config, &status);
    findings.extend(broken.map(|error| Finding {
        level: "problem",
        code: "config_invalid",
        message: match status["running"] == true {
            true => format!("{}; the running process keeps what it has", error.message),
            false => error.message,
        },
        next: error.hint,
    }));
    let mut contacts = contacts(&config);
    contacts.extend(providers(dir, &status).await);
    let sockets = sockets(&status);
    let document = json!({
        "findings": findings,
        "sockets": sockets,
        "contacts": contacts,
        "running": status["running"],
    });
    output.result(&document, || text(&findings, &sockets, &contacts, output));
    Ok(())
}

fn findings(dir: &DataDir, config: &Config, status: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |level, code, message: &str, next: &str| {
        findings.push(Finding {
            level,
            code,
            message: message.to_owned(),
            next: next.to_owned(),
        });
    };
    if status["running"] != true {
        warn(
            "warning",
            "not_running",
            "nothing runs on this directory",
            "homing up on the host, homing proxy on a device",
        );
    }
    if dir.coordinator().join("root.kit").exists() {
        warn(
            "warning",
            "root_on_host",
            "the network's root key lies on this machine",
            "homing kit export <file>, then homing kit verify <file>, which deletes it here",
        );
    }
    if dir.has_device() && dir.has_agent() {
        warn(
            "warning",
            "same_user_programs",
            "programs that run as this user can use the proxy without a token, as a client",
            "set auth = \"token\" in homing.toml if programs run here that you do not trust",
        );
    }
    let missing = homing_agent::confine::support().missing();
    if dir.has_agent() && !missing.is_empty() {
        let message = format!(
            "programs that the agent starts cannot be kept from {}",
            missing.join(", ")
        );
        warn(
            "warning",
            "unconfined_programs",
            &message,
            "until the kernel is newer, only an admin's device may have programs started; leave unconfined_for_all off",
        );
    }
    if config.proxy.auth == ProxyAuthSetting::Token {
        findings.retain(|finding| finding.code != "same_user_programs");
    }
    let mut note = |level, code, message: String, next: &str| {
        findings.push(Finding {
            level,
            code,
            message,
            next: next.to_owned(),
        });
    };
    if status["host"]["recovering"] == true {
        note(
            "problem",
            "recovering",
            "the coordinator was restored or set back, and signs nothing".to_owned(),
            "look at homing devices, revoke what you do not know, then homing coordinator resume",
        );
    }
    if let Some(days) = status["device"]["certificate_warning_days"].as_u64() {
        note(
            "problem",
            "certificate_ends",
            format!("this device's certificate ends in {days} days"),
            "check that the coordinator can be reached: homing agents",
        );
    }
    if let Some(stale) = status["host"]["log_staleness_seconds"]
        .as_u64()
        .filter(|stale| *stale > STALE)
    {
        note(
            "problem",
            "stale_log",
            format!("the agent has not heard from its coordinator for {stale} s"),
            "check that the coordinator runs",
        );
    }
    if let Some(link) = status["device"]["link"]
        .as_str()
        .filter(|link| *link != "connected")
    {
        note(
            "problem",
            "no_link",
            format!("there is no connection to the agent: {link}"),
            "homing dial says more",
        );
    }
    findings
}

fn sockets(status: &Value) -> Vec<String> {
    let mut sockets = Vec::new();
    let mut list = |what: &str, value: &Value| {
        for address in value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            sockets.push(format!("udp {address} ({what})"));
        }
    };
    list("agent", &status["host"]["agent_sockets"]);
    list("coordinator", &status["host"]["coordinator_addresses"]);
    list("device", &status["device"]["sockets"]);
    if let Some(url) = status["device"]["proxy_url"].as_str() {
        sockets.push(format!(
            "tcp {} (loopback proxy)",
            url.trim_start_matches("http://")
        ));
    }
    sockets
}

fn contacts(config: &Config) -> Vec<String> {
    match &config.relay {
        RelaySetting::Word(word) if word == "public" => {
            vec!["iroh's public relays and address look-up (relay = \"public\")".to_owned()]
        }
        RelaySetting::Urls(urls) => urls.clone(),
        RelaySetting::Word(_) => Vec::new(),
    }
}

/// The model providers that the agent of this host may ask.
async fn providers(dir: &DataDir, status: &Value) -> Vec<String> {
    if status["host"]["agent"].is_null() || status["device"].is_null() {
        return Vec::new();
    }
    let asked = async {
        let api = AgentApi::open(dir, None).await?;
        let document = api.get("/api/providers").await;
        api.close().await;
        document
    };
    match asked.await {
        Ok(document) => entries(&document, "providers")
            .filter(|provider| provider["enabled"] == true)
            .map(|one| format!("{} (provider {})", word(one, "base_url"), word(one, "name")))
            .collect(),
        Err(_) => vec!["model providers, which the agent did not tell".to_owned()],
    }
}

fn text(findings: &[Finding], sockets: &[String], contacts: &[String], output: Output) -> String {
    let mut lines = Vec::new();
    if findings.is_empty() {
        lines.push("Nothing is wrong.".to_owned());
    }
    for finding in findings {
        lines.push(format!(
            "{}: {}",
            output.bold(finding.level),
            finding.message
        ));
        lines.push(format!("  next: {}", finding.next));
    }
    lines.push(String::new());
    lines.push("Listening:".to_owned());
    lines.extend(sockets.iter().map(|socket| format!("  {socket}")));
    lines.push("Contacted beside this network's own members:".to_owned());
    if contacts.is_empty() {
        lines.push("  nobody".to_owned());
    }
    lines.extend(contacts.iter().map(|host| format!("  {host}")));
    lines.join("\n")
}
