//! `homing usage`: what calls of models used and cost, this month or day by day.

use serde_json::Value;

use crate::agent_api::AgentApi;
use crate::data_dir::DataDir;
use crate::output::{Output, table};

pub(super) async fn run(dir: &DataDir, days: Option<u32>, output: Output) -> anyhow::Result<()> {
    let api = AgentApi::open(dir, None).await?;
    let path = match days {
        Some(days) => format!("/api/usage/daily?days={days}"),
        None => "/api/usage".to_owned(),
    };
    let answer = api.get(&path).await;
    api.close().await;
    let report = answer?;
    output.result(&report, || match days {
        Some(_) => daily(&report),
        None => monthly(&report),
    });
    Ok(())
}

fn monthly(report: &Value) -> String {
    let mut text = format!(
        "{} in {}: ${:.2}",
        if report["of"] == "agent" {
            "The whole agent"
        } else {
            "You"
        },
        report["month"].as_str().unwrap_or_default(),
        report["monthly_spend"].as_f64().unwrap_or_default(),
    );
    if let (Some(budget), Some(left)) = (
        report["monthly_budget"].as_f64(),
        report["remaining"].as_f64(),
    ) {
        text += &format!(" of ${budget:.2}, ${left:.2} left");
    }
    let unpriced = report["unpriced_calls"].as_u64().unwrap_or(0);
    if unpriced > 0 {
        text += &format!("; {unpriced} calls of models without a known price are not in it");
    }
    text.push('\n');
    let rows = rows(&report["by_model"], false);
    if rows.is_empty() {
        text += "No calls of models yet.\n";
    } else {
        text.push('\n');
        text += &table(&["MODEL", "CALLS", "READ", "WRITTEN", "COST"], &rows);
    }
    text
}

fn daily(report: &Value) -> String {
    let rows = rows(&report["entries"], true);
    if rows.is_empty() {
        return "No calls of models in these days.".to_owned();
    }
    table(
        &["DAY (UTC)", "MODEL", "CALLS", "READ", "WRITTEN", "COST"],
        &rows,
    )
}

fn rows(lines: &Value, dated: bool) -> Vec<Vec<String>> {
    let number = |line: &Value, key: &str| line[key].as_u64().unwrap_or(0).to_string();
    let row = |line: &Value| {
        let day = dated.then(|| line["date"].as_str().unwrap_or_default().to_owned());
        let cost = line["cost"]
            .as_f64()
            .map_or_else(|| "unpriced".to_owned(), |cost| format!("${cost:.4}"));
        day.into_iter()
            .chain([
                line["model"].as_str().unwrap_or_default().to_owned(),
                number(line, "request_count"),
                number(line, "input_tokens"),
                number(line, "output_tokens"),
                cost,
            ])
            .collect()
    };
    lines.as_array().into_iter().flatten().map(row).collect()
}
