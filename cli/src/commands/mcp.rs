//! `homing mcp`: the servers whose tools the agent's models may use.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use http::Method;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::providers::{entries, word};
use crate::agent_api::AgentApi;
use crate::args::{AddMcpArgs, McpArgs, McpCommand};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{Output, rfc3339, table};

/// Longest file of secrets: more than an agent takes.
const MAX_SECRETS: u64 = 1 << 20;
/// Of an error in the table, in characters.
const SUMMARY: usize = 60;

pub(super) async fn run(dir: &DataDir, args: McpArgs, output: Output) -> anyhow::Result<()> {
    let command = args.command.unwrap_or(McpCommand::List);
    // Read before the connection, which a person would let wait.
    let body = match &command {
        McpCommand::Add(add) => Some(body(add)?),
        _ => None,
    };
    let api = AgentApi::open(dir, args.agent.as_deref()).await?;
    let done = act(&api, command, body, output).await;
    api.close().await;
    done
}

async fn act(
    api: &AgentApi,
    command: McpCommand,
    body: Option<Value>,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        McpCommand::List => {
            let document = api.get("/api/mcps").await?;
            output.result(&document, || list(&document));
        }
        McpCommand::Add(add) => {
            let added = api.send(Method::POST, "/api/mcps", body.as_ref()).await?;
            output.result(&added, || {
                format!(
                    "{} is added and starts.\n\n  homing mcp show {}",
                    output.bold(&add.name),
                    add.name
                )
            });
        }
        McpCommand::Show { name } => {
            let document = api.get(&path(&name, "")?).await?;
            output.result(&document, || show(&document));
        }
        McpCommand::Remove { name } => {
            let document = api.send(Method::DELETE, &path(&name, "")?, None).await?;
            output.result(&document, || format!("{name} is removed."));
        }
        McpCommand::Enable { name } => {
            let path = path(&name, "/enable")?;
            let document = api.send(Method::POST, &path, None).await?;
            output.result(&document, || format!("{name} is enabled and starts."));
        }
        McpCommand::Disable { name } => {
            let path = path(&name, "/disable")?;
            let document = api.send(Method::POST, &path, None).await?;
            output.result(&document, || format!("{name} is disabled."));
        }
        McpCommand::Logs { name, lines } => {
            let path = path(&name, &format!("/logs?lines={lines}"))?;
            let document = api.get(&path).await?;
            output.result(&document, || logs(&document));
        }
    }
    Ok(())
}

/// A name goes into a path only when it is one.
fn path(name: &str, rest: &str) -> anyhow::Result<String> {
    if !homing_agent::mcp::is_server_name(name) {
        return Err(Failure::new(
            "bad_mcp",
            "that is no name of an MCP server",
            "homing mcp lists them",
        )
        .into());
    }
    Ok(format!("/api/mcps/{name}{rest}"))
}

fn body(args: &AddMcpArgs) -> anyhow::Result<Value> {
    let mut body = json!({ "name": args.name });
    if args.command.is_empty() {
        body["url"] = json!(args.url);
    } else {
        body["command"] = json!(args.command);
    }
    if let Some(cwd) = &args.cwd {
        body["cwd"] = json!(cwd);
    }
    if let Some(policy) = &args.policy {
        body["policy"] = json!(policy);
    }
    if let Some(timeout) = args.timeout {
        body["timeout_s"] = json!(timeout);
    }
    if let Some(file) = &args.env_file {
        body["env"] = secrets(file)?;
    }
    if let Some(file) = &args.header_file {
        body["headers"] = secrets(file)?;
    }
    Ok(body)
}

/// Lines `NAME=value`; empty ones and those that begin with `#` are skipped.
fn secrets(file: &Path) -> anyhow::Result<Value> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        let read = std::io::stdin().lock().take(MAX_SECRETS);
        { read }.read_to_string(&mut text)
    } else {
        let opened = std::fs::File::open(file);
        opened.and_then(|file| file.take(MAX_SECRETS).read_to_string(&mut text))
    }
    .with_context(|| format!("{} cannot be read", file.display()))?;
    let mut values = Map::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            // The line itself may hold a secret.
            return Err(Failure::new(
                "bad_secrets",
                format!(
                    "line {} of {} is not NAME=value",
                    number + 1,
                    file.display()
                ),
                "write one variable or header on each line",
            )
            .into());
        };
        values.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok(Value::Object(values))
}

fn list(document: &Value) -> String {
    let rows: Vec<Vec<String>> = entries(document, "mcps").map(row).collect();
    if rows.is_empty() {
        return "No MCP server is configured.\n\n  homing mcp add NAME -- PROGRAM ARGUMENTS\n  \
            homing mcp add NAME --url https://…"
            .to_owned();
    }
    table(
        &["NAME", "STATE", "TOOLS", "POLICY", "WHERE", "ERROR"],
        &rows,
    )
}

fn row(server: &Value) -> Vec<String> {
    let error = plain(word(server, "last_error"));
    vec![
        word(server, "name").to_owned(),
        word(server, "state").to_owned(),
        server["tool_count"].to_string(),
        word(server, "policy").to_owned(),
        place(server).chars().take(SUMMARY).collect(),
        error.chars().take(SUMMARY).collect(),
    ]
}

fn place(server: &Value) -> String {
    match server["url"].as_str() {
        Some(url) => plain(url),
        None => {
            let words = entries(server, "command").chain(entries(server, "args"));
            let words: Vec<&str> = words.filter_map(Value::as_str).collect();
            plain(&words.join(" "))
        }
    }
}

fn show(server: &Value) -> String {
    let status = &server["status"];
    let mut lines = vec![
        format!("{}  {}", word(server, "name"), place(server)),
        format!("  state     {}", word(status, "state")),
        format!("  calls     itself {}", plain(word(status, "title"))),
        format!("  protocol  {}", plain(word(status, "protocol"))),
        format!("  restarts  {}", status["restarts"]),
    ];
    if let Some(error) = status["last_error"].as_str() {
        lines.push(format!("  error     {}", plain(error)));
    }
    let rows: Vec<Vec<String>> = entries(status, "tools")
        .map(|tool| {
            let description = plain(word(tool, "description"));
            vec![
                plain(word(tool, "name")),
                word(tool, "policy").to_owned(),
                description.chars().take(SUMMARY).collect(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        lines.push(String::new());
        lines.push(table(&["TOOL", "POLICY", "SAYS"], &rows));
    }
    lines.join("\n")
}

fn logs(document: &Value) -> String {
    let lines: Vec<String> = entries(document, "lines")
        .map(|line| {
            let at = line["at_ms"].as_u64().unwrap_or_default() / 1_000;
            let (from, text) = (word(line, "from"), plain(word(line, "text")));
            format!("{} {from:<6} {text}", rfc3339(at))
        })
        .collect();
    if lines.is_empty() {
        return "Nothing was written.".to_owned();
    }
    lines.join("\n")
}

/// What a server wrote must not move the cursor, nor reorder what is read.
fn plain(text: &str) -> String {
    let hides = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .map(|letter| if hides(letter) { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_lines_and_a_line_that_is_none_is_named_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        std::fs::write(&file, "# keys\nA=1=2\n\n B = x \n").unwrap();
        assert_eq!(secrets(&file).unwrap(), json!({"A": "1=2", "B": "x"}));
        std::fs::write(&file, "A=1\nhunter22\n").unwrap();
        let error = secrets(&file).unwrap_err().to_string();
        assert!(!error.contains("hunter22"), "{error}");
    }

    #[test]
    fn only_a_name_goes_into_a_path() {
        assert_eq!(path("git-hub", "/logs").unwrap(), "/api/mcps/git-hub/logs");
        for name in ["", "../models", "a/b", "A", "a?b"] {
            path(name, "").unwrap_err();
        }
    }
}
