//! `homing audit verify`: the hash chains of the audit logs in this directory.

use homing_coordinator::{Authority, Moment};
use serde_json::json;

use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn verify(dir: &DataDir, output: Output) -> anyhow::Result<()> {
    let mut documents = Vec::new();
    let mut lines = Vec::new();
    if dir.has_agent() {
        let report = homing_agent::audit::verify(&dir.agent(), None)
            .map_err(|error| broken("agent", &error))?;
        lines.push(format!(
            "agent: {} lines in {} files hold together",
            report.lines, report.files
        ));
        documents.push(json!({ "log": "agent", "report": report }));
    }
    if dir.has_coordinator() {
        let authority = Authority::open(&dir.coordinator(), Moment::system())?;
        let count = authority
            .verify_audit()
            .map_err(|error| broken("coordinator", &error))?;
        lines.push(format!("coordinator: {count} lines hold together"));
        documents.push(json!({ "log": "coordinator", "report": { "lines": count } }));
    }
    if documents.is_empty() {
        return Err(Failure::new(
            "no_audit_log",
            "this directory holds no agent and no coordinator, so it keeps no audit log",
            "run it on the host",
        )
        .into());
    }
    output.result(&json!({ "logs": documents }), || lines.join("\n"));
    Ok(())
}

fn broken(log: &str, error: &dyn std::error::Error) -> Failure {
    let cause = error
        .source()
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    Failure::new(
        "audit_broken",
        format!("the {log}'s audit log does not hold together: {error}{cause}"),
        "somebody changed it, or the disk did; compare it with a backup",
    )
}
