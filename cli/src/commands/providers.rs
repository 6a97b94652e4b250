//! `homing providers`: the model APIs that the agent may ask.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use homing_agent::providers::Profile;
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::agent_api::AgentApi;
use crate::args::{AddProviderArgs, ProvidersArgs, ProvidersCommand};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::passphrase;

/// Longest key with its line break; an agent takes 4 KiB.
const MAX_KEY: u64 = 8 * 1024;

pub(super) async fn run(dir: &DataDir, args: ProvidersArgs, output: Output) -> anyhow::Result<()> {
    // Asked for before the connection, which a person would let wait.
    let key = match &args.command {
        Some(ProvidersCommand::Add(add)) => key_to_add(add)?,
        Some(ProvidersCommand::Key(args)) => {
            Some(read_key(args.key_file.as_deref(), &args.provider)?)
        }
        _ => None,
    };
    let api = AgentApi::open(dir, args.agent.as_deref()).await?;
    let done = match args.command {
        None => list(&api, output).await,
        Some(ProvidersCommand::Add(args)) => add(&api, args, key, output).await,
        Some(ProvidersCommand::Key(args)) => change_key(&api, &args.provider, key, output).await,
        Some(ProvidersCommand::Remove { provider }) => remove(&api, &provider, output).await,
        Some(ProvidersCommand::Test { provider }) => test(&api, &provider, output).await,
        Some(ProvidersCommand::Detect) => detect(&api, output).await,
    };
    api.close().await;
    done
}

async fn list(api: &AgentApi, output: Output) -> anyhow::Result<()> {
    let document = api.get("/api/providers").await?;
    output.result(&document, || {
        let rows: Vec<Vec<String>> = entries(&document, "providers").map(row).collect();
        if rows.is_empty() {
            return "No provider is configured; the built-in assistant answers.\n\n  \
                homing providers detect\n  homing providers add openai --key-file FILE"
                .to_owned();
        }
        table(&["PROVIDER", "PROFILE", "ADDRESS", "KEY", "STATUS"], &rows)
    });
    Ok(())
}

fn row(provider: &Value) -> Vec<String> {
    let status = match (&provider["usable"], &provider["enabled"]) {
        (Value::Bool(false), _) => "key lost",
        (_, Value::Bool(false)) => "disabled",
        _ => "enabled",
    };
    let key = match word(provider, "api_key_display") {
        "" => "-",
        key => key,
    };
    ["name", "profile", "base_url"]
        .map(|field| word(provider, field))
        .into_iter()
        .chain([key, status])
        .map(str::to_owned)
        .collect()
}

async fn add(
    api: &AgentApi,
    args: AddProviderArgs,
    key: Option<Zeroizing<String>>,
    output: Output,
) -> anyhow::Result<()> {
    let mut body = json!({ "profile": args.profile });
    let given = [("name", args.name), ("base_url", args.base_url)];
    for (field, value) in given {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    if let Some(key) = key {
        body["api_key"] = json!(*key);
    }
    let added = api
        .send(Method::POST, "/api/providers", Some(&body))
        .await?;
    output.result(&added, || {
        let name = word(&added, "name");
        format!(
            "{} is added.\n\n  homing providers test {name}\n  homing models available\n  homing models add {name} <model>",
            output.bold(name)
        )
    });
    Ok(())
}

async fn change_key(
    api: &AgentApi,
    provider: &str,
    key: Option<Zeroizing<String>>,
    output: Output,
) -> anyhow::Result<()> {
    let id = find(api, provider).await?;
    let body = json!({ "api_key": key.as_deref() });
    let path = format!("/api/providers/{id}");
    let changed = api.send(Method::PUT, &path, Some(&body)).await?;
    output.result(&changed, || {
        format!("{provider} has another key.\n\n  homing providers test {provider}")
    });
    Ok(())
}

async fn remove(api: &AgentApi, provider: &str, output: Output) -> anyhow::Result<()> {
    let id = find(api, provider).await?;
    let path = format!("/api/providers/{id}");
    let removed = api.send(Method::DELETE, &path, None).await?;
    output.result(&removed, || {
        format!("{provider} is removed, and its models with it.")
    });
    Ok(())
}

async fn test(api: &AgentApi, provider: &str, output: Output) -> anyhow::Result<()> {
    let id = find(api, provider).await?;
    let path = format!("/api/providers/{id}/test");
    let report = api.send(Method::POST, &path, None).await?;
    if report["ok"] != true {
        let error = &report["error"];
        let [code, message, hint] = ["code", "message", "hint"].map(|field| word(error, field));
        return Err(Failure::new(code, message, hint).into());
    }
    output.result(&report, || match report["models"].as_u64() {
        Some(models) => format!("{provider} answers and has {models} models."),
        None => format!("{provider} answers."),
    });
    Ok(())
}

async fn detect(api: &AgentApi, output: Output) -> anyhow::Result<()> {
    let document = api
        .send(Method::POST, "/api/providers/detect", None)
        .await?;
    output.result(&document, || {
        let found: Vec<String> = entries(&document, "found")
            .map(|one| {
                let models: Vec<&str> = one["models"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                format!(
                    "{} may be {}: {}\n  homing providers add {} --base-url {}",
                    word(one, "base_url"),
                    word(one, "profile"),
                    models.join(", "),
                    word(one, "profile"),
                    word(one, "base_url"),
                )
            })
            .collect();
        match found.is_empty() {
            true => "No model server answers on the agent's host.".to_owned(),
            false => found.join("\n"),
        }
    });
    Ok(())
}

/// The id of a provider by name or id.
async fn find(api: &AgentApi, provider: &str) -> anyhow::Result<String> {
    let document = api.get("/api/providers").await?;
    let found = entries(&document, "providers")
        .find(|one| word(one, "name") == provider || word(one, "id") == provider)
        .map(|one| word(one, "id").to_owned());
    found.ok_or_else(|| {
        Failure::new(
            "unknown_provider",
            format!("there is no provider called {provider}"),
            "homing providers lists them",
        )
        .into()
    })
}

pub(super) fn entries<'v>(document: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    document[key].as_array().into_iter().flatten()
}

pub(super) fn word<'v>(document: &'v Value, key: &str) -> &'v str {
    document[key].as_str().unwrap_or_default()
}

fn key_to_add(args: &AddProviderArgs) -> anyhow::Result<Option<Zeroizing<String>>> {
    let needed = Profile::find(&args.profile).is_some_and(Profile::needs_key);
    let file = args.key_file.as_deref();
    if file.is_none() && !needed {
        return Ok(None);
    }
    read_key(file, &args.profile).map(Some)
}

/// The key of a file, of stdin, or of a person at a terminal.
fn read_key(file: Option<&Path>, of: &str) -> anyhow::Result<Zeroizing<String>> {
    match file {
        Some(file) if file != Path::new("-") => from_file(file),
        None if std::io::stdin().is_terminal() => passphrase::ask(&format!("API key of {of}: ")),
        _ => read(std::io::stdin().lock()),
    }
}

fn from_file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let file = File::open(path).map_err(|error| {
        Failure::new(
            "not_read",
            format!("{} could not be opened: {error}", path.display()),
            "check the path of --key-file",
        )
    })?;
    let meta = file.metadata().context("the key file")?;
    // A pipe from a password store has no mode that means anything.
    if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
        return Err(Failure::new(
            "key_exposed",
            format!("{} can be read by other users", path.display()),
            format!(
                "chmod 600 {}; if others had access, make a new key",
                path.display()
            ),
        )
        .into());
    }
    read(file)
}

fn read(reader: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    reader
        .take(MAX_KEY)
        .read_to_string(&mut text)
        .context("the key could not be read")?;
    Ok(text)
}
