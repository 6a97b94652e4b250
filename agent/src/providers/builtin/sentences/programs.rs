//! What runs on the machine: containers, services, and what they wrote.

use serde_json::Value;

use super::{MAX_NAMED, list, number, text};

/// Letters of a line of the journal.
const MAX_LINE: usize = 160;

pub(super) fn containers(containers: &Value) -> String {
    let named: Vec<String> = list(containers, "containers")
        .iter()
        .take(MAX_NAMED)
        .map(|one| format!("{} ({})", text(one, "name"), text(one, "status")))
        .collect();
    let (running, total) = (number(containers, "running"), number(containers, "total"));
    match named.is_empty() {
        true => "Containers: there is none.".to_owned(),
        false => format!(
            "Containers: {running:.0} of {total:.0} are running: {}{}.",
            named.join(", "),
            rest(total, named.len())
        ),
    }
}

pub(super) fn services(services: &Value) -> String {
    let failed: Vec<String> = list(services, "services")
        .iter()
        .filter(|one| one["active"] == "failed")
        .take(MAX_NAMED)
        .map(|one| text(one, "unit"))
        .collect();
    let (total, active) = (number(services, "total"), number(services, "active"));
    match failed.is_empty() {
        true => format!("Services: {active:.0} of {total:.0} are active, none has failed."),
        false => format!(
            "Services: {active:.0} of {total:.0} are active, {:.0} failed: {}{}.",
            number(services, "failed"),
            failed.join(", "),
            rest(number(services, "failed"), failed.len())
        ),
    }
}

pub(super) fn logs(journal: &Value) -> String {
    let lines: Vec<String> = list(journal, "lines")
        .iter()
        .map(|line| {
            let message: String = text(line, "message").chars().take(MAX_LINE).collect();
            let program = line["program"].as_str().unwrap_or("?");
            format!("{} {program}: {message}", text(line, "time"))
        })
        .collect();
    match lines.is_empty() {
        true => "Logs: no warning and no error.".to_owned(),
        false => format!("Logs, warnings and worse:\n{}", lines.join("\n")),
    }
}

/// How many more there are than were named.
fn rest(total: f64, named: usize) -> String {
    let more = total - named as f64;
    if more < 1.0 {
        return String::new();
    }
    format!(" and {more:.0} more")
}
