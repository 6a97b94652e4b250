//! `homing config`: the settings file of this directory, or the one of an agent elsewhere.

use homing_agent::configuration::{Change, ConfigError, Configured};
use homing_protocol::local::{LocalCommand, LocalReply};
use http::Method;
use serde_json::{Map, Value, json};

use super::network;
use crate::agent_api::AgentApi;
use crate::args::{ConfigArgs, ConfigCommand};
use crate::config::Config;
use crate::config::store::ConfigStore;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::Output;
use crate::terminal_text::clean;

pub(super) async fn run(dir: &DataDir, args: ConfigArgs, output: Output) -> anyhow::Result<()> {
    let place = match &args.agent {
        Some(agent) => Place::Agent(AgentApi::open(dir, Some(agent)).await?),
        None => Place::Here(Box::new(ConfigStore::new(dir.config()))),
    };
    let command = args.command.unwrap_or(ConfigCommand::Show);
    let done = act(dir, &place, command, output).await;
    if let Place::Agent(api) = place {
        api.close().await;
    }
    done
}

enum Place {
    Here(Box<ConfigStore>),
    Agent(AgentApi),
}

async fn act(
    dir: &DataDir,
    place: &Place,
    command: ConfigCommand,
    output: Output,
) -> anyhow::Result<()> {
    match (command, place) {
        (ConfigCommand::Show, place) => {
            let shown = place.read().await?;
            output.result(&shown, || clean(text(&shown, "toml")).trim_end().to_owned());
        }
        (ConfigCommand::Get { key }, place) => {
            let shown = place.read().await?;
            let value = find(&shown["config"], &key).ok_or_else(|| unknown_key(&key))?;
            output.result(&json!({ "key": key, "value": value }), || match value {
                Value::String(text) => clean(text),
                other => other.to_string(),
            });
        }
        (ConfigCommand::Set { .. }, Place::Here(_)) if !dir.config().exists() => {
            return Err(Failure::new(
                "not_set_up",
                "this directory has no homing.toml yet",
                "homing up, homing join or homing agent run makes one, with a comment on every key",
            )
            .into());
        }
        (ConfigCommand::Set { key, value }, place) => {
            let (section, patch) = patch_of(&key, &value)?;
            let shown = place.change(section, patch).await?;
            told(&shown, &reloaded(dir, place).await?, output);
        }
        (ConfigCommand::Check, Place::Here(_)) => {
            Config::load(&dir.config())?;
            output.result(&json!({ "valid": true }), || {
                "The file is valid.".to_owned()
            });
        }
        (ConfigCommand::Reload, Place::Here(_)) => {
            let Some(required) = reload(dir).await? else {
                return Err(not_running().into());
            };
            told(&Value::Null, &Some(required), output);
        }
        (ConfigCommand::Restore, Place::Here(store)) => {
            let kept = store.restore()?.ok_or_else(nothing_to_restore)?;
            let required = reload(dir).await?;
            let document = json!({ "replaced": kept, "restart_required": required });
            output.result(&document, || {
                format!(
                    "The last file that worked is back; the other one is {}.",
                    kept.display()
                )
            });
        }
        (ConfigCommand::Check | ConfigCommand::Reload | ConfigCommand::Restore, _) => {
            return Err(Failure::new(
                "usage",
                "that is done on the agent's host",
                "run it there, without --agent",
            )
            .into());
        }
    }
    Ok(())
}

impl Place {
    async fn read(&self) -> anyhow::Result<Value> {
        match self {
            Self::Here(store) => {
                use homing_agent::configuration::ConfigFile;
                Ok(document(&store.read().map_err(refused)?))
            }
            Self::Agent(api) => api.get("/api/config").await,
        }
    }

    async fn change(&self, name: String, patch: Value) -> anyhow::Result<Value> {
        match self {
            Self::Here(store) => {
                let change = Change::Section { name, patch };
                Ok(document(&store.change_on_host(change).map_err(refused)?))
            }
            Self::Agent(api) => {
                let path = format!("/api/config/{name}");
                api.send(Method::PATCH, &path, Some(&patch)).await
            }
        }
    }
}

/// Has the running process read the file; what takes effect at the next start only. `None` when
/// nothing runs here that would.
async fn reload(dir: &DataDir) -> anyhow::Result<Option<Vec<String>>> {
    if !dir.has_agent() {
        return Ok(None);
    }
    match network::ask_running(dir, LocalCommand::ReloadConfig).await? {
        Some(LocalReply::Reloaded { restart_required }) => Ok(Some(restart_required)),
        Some(LocalReply::Error(error)) => Err(Failure(error).into()),
        Some(_) => Err(network::unexpected().into()),
        None => Ok(None),
    }
}

async fn reloaded(dir: &DataDir, place: &Place) -> anyhow::Result<Option<Vec<String>>> {
    match place {
        Place::Here(_) => reload(dir).await,
        Place::Agent(_) => Ok(None),
    }
}

fn told(shown: &Value, here: &Option<Vec<String>>, output: Output) {
    let listed = shown["restart_required"].as_array().into_iter().flatten();
    let listed = listed.filter_map(Value::as_str).map(str::to_owned);
    let required = here.clone().unwrap_or_else(|| listed.collect());
    let document = json!({ "restart_required": required });
    output.result(&document, || match required.is_empty() {
        true => "Done.".to_owned(),
        false => format!(
            "Done. These take effect at the next start: {}.",
            required.join(", ")
        ),
    });
}

fn document(configured: &Configured) -> Value {
    json!({
        "revision": configured.revision,
        "config": configured.sections,
        "toml": configured.text,
        "restart_required": configured.restart_required,
    })
}

fn text<'a>(document: &'a Value, key: &str) -> &'a str {
    document[key].as_str().unwrap_or_default()
}

/// `policy.tools.shell` in a document of sections.
fn find<'a>(sections: &'a Value, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.');
    let first = sections.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// A section and its merge patch: `policy.tools.shell` and `ask` are `policy` and
/// `{"tools":{"shell":"ask"}}`.
fn patch_of(key: &str, value: &str) -> anyhow::Result<(String, Value)> {
    let mut parts: Vec<&str> = key.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(unknown_key(key).into());
    }
    let section = parts.remove(0).to_owned();
    let mut patch = value_of(value);
    for part in parts.into_iter().rev() {
        patch = Value::Object(Map::from_iter([(part.to_owned(), patch)]));
    }
    Ok((section, patch))
}

/// A value as TOML writes it, or a text without quotation marks; `default` takes a key out.
fn value_of(text: &str) -> Value {
    if text == "default" {
        return Value::Null;
    }
    let read: Option<toml::Table> = format!("value = {text}").parse().ok();
    let value = read.and_then(|mut table| table.remove("value"));
    let value = value.and_then(|value| serde_json::to_value(value).ok());
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn unknown_key(key: &str) -> Failure {
    Failure::new(
        "usage",
        format!("there is no setting {key:?}"),
        "homing config show lists them; docs/cli.md says what they do",
    )
}

fn not_running() -> Failure {
    Failure::new(
        "not_running",
        "no agent runs on this directory, so nothing has to read the file again",
        "homing up reads it when it starts",
    )
}

fn nothing_to_restore() -> Failure {
    Failure::new(
        "nothing_to_restore",
        "there is no other file that worked",
        "homing config check says what is wrong with the one that is there",
    )
}

fn refused(error: ConfigError) -> anyhow::Error {
    match &error {
        ConfigError::Disk { .. } => anyhow::Error::new(error),
        ConfigError::UnknownSection(..) => {
            Failure::new("usage", error.to_string(), "docs/cli.md lists every key").into()
        }
        _ => Failure::new(
            "config_invalid",
            error.to_string(),
            "docs/cli.md lists every key",
        )
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_dots_is_a_patch_of_its_section() {
        for (key, value, section, patch) in [
            ("budgets.day", "2.5", "budgets", json!({ "day": 2.5 })),
            ("relay", "none", "relay", json!("none")),
            ("relay", "[\"https://r\"]", "relay", json!(["https://r"])),
            (
                "policy.tools.shell",
                "ask",
                "policy",
                json!({ "tools": { "shell": "ask" } }),
            ),
            ("budgets.day", "default", "budgets", json!({ "day": null })),
        ] {
            assert_eq!(patch_of(key, value).unwrap(), (section.to_owned(), patch));
        }
        assert!(patch_of("policy..x", "1").is_err());
    }
}
