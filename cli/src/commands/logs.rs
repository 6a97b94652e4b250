//! `homing logs`: the newest lines of the agent's audit log, and those that come.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent_api::AgentApi;
use crate::args::LogsArgs;
use crate::data_dir::DataDir;
use crate::failure::{Exit, describe};
use crate::output::{Output, rfc3339};
use crate::runtime::Interrupts;
use crate::terminal_text::{clean_line, escape_json};

/// The most lines that the agent gives at once.
const MOST: usize = 1_000;
/// Lines that are asked for while following: more than come between two questions, usually.
const FEW: usize = 50;
/// Between two questions while following.
const EVERY: Duration = Duration::from_secs(1);
/// Digits of a NodeId that tell devices apart.
const SHORT: usize = 8;

pub(super) async fn run(dir: &DataDir, args: LogsArgs, output: Output) -> anyhow::Result<()> {
    let api = AgentApi::open(dir, args.agent.as_deref()).await?;
    let done = async {
        let lines = ask(&api, args.lines.clamp(1, MOST)).await?;
        if args.follow {
            return follow(&api, lines, output).await;
        }
        if output.is_json() {
            let document = json!({ "lines": lines });
            output.line(&escape_json(&document.to_string()));
        } else {
            lines.iter().for_each(|line| output.line(&text(line)));
        }
        Ok(())
    }
    .await;
    api.close().await;
    done
}

/// Prints lines as they come, one document per line for a program, until ctrl-c.
async fn follow(api: &AgentApi, first: Vec<Value>, output: Output) -> anyhow::Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let mut lines = first;
    let mut last = None;
    let mut lost = false;
    loop {
        for line in &lines {
            let seq = number(line);
            if last.is_none_or(|last| seq > last) {
                last = Some(seq);
                if output.is_json() {
                    output.line(&escape_json(&line.to_string()));
                } else {
                    output.line(&text(line));
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = interrupts.next() => return Ok(()),
        }
        match newer(api, last.unwrap_or(0)).await {
            Ok(newer) => {
                lines = newer;
                lost = false;
            }
            Err(error) if describe(&error).1 == Exit::Refused => return Err(error),
            Err(error) => {
                if !lost {
                    output.progress(&format!(
                        "the agent cannot be asked at the moment: {error:#}"
                    ));
                }
                lost = true;
                lines.clear();
            }
        }
    }
}

/// The newest lines, all that came after `last` if the agent still has them.
async fn newer(api: &AgentApi, last: u64) -> anyhow::Result<Vec<Value>> {
    let few = ask(api, FEW).await?;
    if few.first().is_some_and(|line| number(line) > last + 1) {
        return ask(api, MOST).await;
    }
    Ok(few)
}

async fn ask(api: &AgentApi, lines: usize) -> anyhow::Result<Vec<Value>> {
    let mut answer = api.get(&format!("/api/logs?lines={lines}")).await?;
    match answer["lines"].take() {
        Value::Array(lines) => Ok(lines),
        _ => Ok(Vec::new()),
    }
}

fn number(line: &Value) -> u64 {
    line["entry"]["seq"].as_u64().unwrap_or(0)
}

fn text(line: &Value) -> String {
    let line = &line["entry"];
    let word = |key: &str| line[key].as_str().unwrap_or_default();
    let device = word("device");
    let mut words = vec![
        rfc3339(line["time_ms"].as_u64().unwrap_or(0) / 1000),
        word("kind").to_owned(),
    ];
    let who = [word("handle"), device.get(..SHORT).unwrap_or(device)];
    words.extend(who.map(str::to_owned));
    words.extend([word("method"), word("target"), word("decision")].map(str::to_owned));
    if let Some(detail) = line["detail"].as_object() {
        let details = detail.iter().map(|(name, value)| match value.as_str() {
            Some(value) => format!("{name}={value}"),
            None => format!("{name}={value}"),
        });
        words.extend(details);
    }
    words.retain(|word| !word.is_empty());
    clean_line(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let entry = json!({
            "seq": 3, "time_ms": 1_000, "kind": "call", "decision": "allowed", "device": "0123456789ab",
            "handle": "ann\n\u{1b}[2J", "method": "PUT", "target": "/x", "detail": {"turn": 4}
        });
        let line = json!({ "entry": entry, "hash": "00" });
        assert_eq!(
            text(&line),
            "1970-01-01T00:00:01Z call ann  01234567 PUT /x allowed turn=4"
        );
    }
}
