//! `homing approvals`: what the agent wants to do and may not before a person has said yes.

use http::Method;
use serde_json::Value;

use crate::agent_api::AgentApi;
use crate::args::ApprovalsCommand;
use crate::data_dir::DataDir;
use crate::output::{Output, rfc3339, table};

/// Of a summary in the table, in characters.
const SUMMARY: usize = 60;

pub(super) async fn run(
    dir: &DataDir,
    command: Option<ApprovalsCommand>,
    output: Output,
) -> anyhow::Result<()> {
    let command = command.unwrap_or(ApprovalsCommand::List { all: false });
    let api = AgentApi::open(dir, None).await?;
    let done = act(&api, command, output).await;
    api.close().await;
    done
}

async fn act(api: &AgentApi, command: ApprovalsCommand, output: Output) -> anyhow::Result<()> {
    match command {
        ApprovalsCommand::List { all } => {
            let state = if all { "" } else { "?state=pending" };
            let document = api.get(&format!("/api/approvals{state}")).await?;
            output.result(&document, || list(&document, all));
        }
        ApprovalsCommand::Show { id } => {
            let document = api.get(&format!("/api/approvals/{id}")).await?;
            output.result(&document, || show(&document));
        }
        ApprovalsCommand::Approve { id } => {
            let path = format!("/api/approvals/{id}/approve");
            let document = api.send(Method::POST, &path, None).await?;
            output.result(&document, || {
                let what = output.bold(&text(&document["summary"]));
                format!("Approved, once: {what}")
            });
        }
        ApprovalsCommand::Deny { id } => {
            let path = format!("/api/approvals/{id}/deny");
            let document = api.send(Method::POST, &path, None).await?;
            output.result(&document, || {
                format!("Denied: {}", text(&document["summary"]))
            });
        }
    }
    Ok(())
}

fn list(document: &Value, all: bool) -> String {
    let approvals = document["approvals"].as_array();
    let rows: Vec<Vec<String>> = approvals.into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "Nothing waits for approval.".to_owned();
    }
    let table = table(&["ID", "STATE", "USER", "SESSION", "UNTIL", "WHAT"], &rows);
    let next = if all {
        ""
    } else {
        "\n\nhoming approvals show <id>, then homing approvals approve <id> or deny <id>"
    };
    format!("{table}{next}")
}

fn row(approval: &Value) -> Vec<String> {
    vec![
        approval["id"].to_string(),
        text(&approval["state"]),
        text(&approval["user"]),
        text(&approval["session_id"]),
        time(&approval["expires_at"]),
        text(&approval["summary"]).chars().take(SUMMARY).collect(),
    ]
}

fn show(approval: &Value) -> String {
    let mut lines = vec![
        format!("{}  {}", approval["id"], text(&approval["summary"])),
        format!("  state      {}", text(&approval["state"])),
        format!(
            "  for        {} in {}",
            text(&approval["user"]),
            text(&approval["session_id"])
        ),
        format!("  device     {}", text(&approval["device"])),
        format!("  tool       {}", text(&approval["tool"])),
        format!("  arguments  {}", plain(&approval["arguments"].to_string())),
        format!("  bound to   {}", plain(&approval["bound"].to_string())),
        format!("  sha256     {}", text(&approval["sha256"])),
        format!("  until      {}", time(&approval["expires_at"])),
    ];
    if let Some(answered) = approval.get("answered") {
        let (user, device) = (text(&answered["user"]), text(&answered["device"]));
        lines.push(format!(
            "  answered   by {user}, {device}, {}",
            time(&answered["at"])
        ));
    }
    if let Some(reason) = approval["reason"].as_str() {
        lines.push(format!("  because    {}", plain(reason)));
    }
    lines.join("\n")
}

fn time(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), rfc3339)
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or("-"))
}

/// What a model wrote must not move the cursor, nor reorder what is read.
fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_model_wrote_is_shown_as_it_is_and_does_nothing_to_the_terminal() {
        let approval = json!({
            "id": 7, "state": "pending", "summary": "run \u{1b}[2Jls \u{202e}x", "user": "ann",
            "arguments": {"argv": ["\u{202e}", "\u{9b}2J"]}, "expires_at": 0,
        });
        for shown in [
            show(&approval),
            list(&json!({"approvals": [approval]}), false),
        ] {
            assert!(
                !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
                "{shown:?}"
            );
            assert!(!shown.contains('\u{9b}'), "{shown:?}");
            assert!(shown.contains("ls"), "{shown:?}");
        }
        assert_eq!(
            list(&json!({"approvals": []}), false),
            "Nothing waits for approval."
        );
    }
}
