//! Services of systemd on the agent's machine: which there are, the failed ones first, and how one of
//! them is. Command lines and environments are not told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bounds::{ROOM, clip, fit};
use super::program::{PATIENCE, Program, ProgramError};
use super::{Tool, ToolError, arguments};
use crate::providers::ToolSpec;
use crate::sessions::Speaker;

/// Bytes of a list; a thousand units take a quarter of it.
const MAX_LIST: usize = 1 << 20;
/// Bytes of what is said of one unit.
const MAX_SHOWN: usize = 64 << 10;
/// Bytes of one value.
const MAX_VALUE: usize = 300;
/// Letters of a unit's name; systemd's own limit.
const MAX_UNIT: usize = 255;
/// What is asked about one unit: nothing that a person would write a secret into.
const PROPERTIES: &str = "Id,Description,LoadState,ActiveState,SubState,UnitFileState,Type,Restart,\
    Result,ExecMainCode,ExecMainStatus,MainPID,NRestarts,TasksCurrent,MemoryCurrent,CPUUsageNSec,\
    ActiveEnterTimestamp,InactiveEnterTimestamp,StateChangeTimestamp,TriggeredBy";
/// How systemd writes a number that it does not have.
const NO_NUMBER: &str = "18446744073709551615";

/// Tells services.
#[derive(Debug)]
pub struct ServicesTool {
    systemctl: Program,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Arguments {
    unit: Option<String>,
    only_failed: bool,
}

#[derive(Debug, Deserialize)]
struct Unit {
    unit: String,
    #[serde(default)]
    load: String,
    #[serde(default)]
    active: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    description: String,
}

/// A unit's name that can stand among arguments: no option, no pattern, no path.
#[derive(Debug, Clone)]
pub(super) struct UnitName(String);

impl UnitName {
    pub(super) fn parse(text: &str) -> Result<Self, ToolError> {
        let good = !text.is_empty()
            && text.len() <= MAX_UNIT
            && !text.starts_with(['-', '.'])
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c));
        if !good {
            let why = "a unit is named by letters, digits and : _ . \\ @ - such as nginx.service";
            return Err(ToolError::Failed(why.to_owned()));
        }
        Ok(Self(if text.contains('.') {
            text.to_owned()
        } else {
            format!("{text}.service")
        }))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl ServicesTool {
    /// Through this `systemctl`.
    #[must_use]
    pub fn new(systemctl: &Path) -> Self {
        Self::with_patience(systemctl, PATIENCE)
    }

    /// With another longest wait.
    #[must_use]
    pub fn with_patience(systemctl: &Path, patience: Duration) -> Self {
        Self {
            systemctl: Program::new(systemctl, patience),
        }
    }
}

impl Tool for ServicesTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "services".to_owned(),
            description: "Services of systemd on the machine that the agent runs on, failed ones \
                first. With `unit`, how that one is: state, result, restarts, memory, times."
                .to_owned(),
            parameters: arguments::schema(
                json!({
                    "unit": {"type": "string", "description": "such as nginx.service"},
                    "only_failed": {"type": "boolean", "default": false},
                }),
                &[],
            ),
        }
    }

    fn scope(&self) -> Option<&'static str> {
        Some("status.read")
    }

    fn run(&self, _: Arc<Speaker>, given: Value) -> BoxFuture<'static, Result<Value, ToolError>> {
        let systemctl = self.systemctl.clone();
        async move {
            let Arguments { unit, only_failed } = arguments::read(given)?;
            match unit {
                None => list(&systemctl, only_failed).await,
                Some(unit) => show(&systemctl, &UnitName::parse(&unit)?).await,
            }
            .map_err(ToolError::failed)
        }
        .boxed()
    }
}

async fn list(systemctl: &Program, only_failed: bool) -> Result<Value, ProgramError> {
    let arguments = [
        "--no-pager",
        "--output=json",
        "list-units",
        "--type=service",
        "--all",
    ];
    let said = systemctl
        .ask(&arguments.map(str::to_owned), MAX_LIST)
        .await?;
    let mut units: Vec<Unit> = match said.cut {
        false => serde_json::from_slice(&said.bytes).map_err(|_| systemctl.malformed())?,
        true => return Err(systemctl.malformed()),
    };
    let total = units.len();
    let count = |state: &str| units.iter().filter(|unit| unit.active == state).count();
    let (failed, active) = (count("failed"), count("active"));
    if only_failed {
        units.retain(|unit| unit.active == "failed");
    }
    units.sort_by(|a, b| (rank(a), &a.unit).cmp(&(rank(b), &b.unit)));
    let (units, truncated) = fit(units.iter().map(line).collect(), ROOM);
    let mut told = json!({
        "total": total, "failed": failed, "active": active,
        "services": units, "truncated": truncated,
    });
    if truncated {
        told["hint"] = "ask for one of them, or only_failed".into();
    }
    Ok(told)
}

async fn show(systemctl: &Program, unit: &UnitName) -> Result<Value, ProgramError> {
    let arguments = [
        "--no-pager",
        "show",
        &format!("--property={PROPERTIES}"),
        "--",
        unit.as_str(),
    ];
    let said = systemctl
        .ask(&arguments.map(str::to_owned), MAX_SHOWN)
        .await?;
    let text = String::from_utf8_lossy(&said.bytes);
    let mut told = Map::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        // What was not asked for is not told, whatever the program says.
        if value.is_empty() || value == NO_NUMBER || !PROPERTIES.split(',').any(|it| it == name) {
            continue;
        }
        told.insert(name.to_owned(), clip(value, MAX_VALUE).0.into());
    }
    if told
        .get("LoadState")
        .is_some_and(|state| state == "not-found")
    {
        let words = format!("there is no unit {}", unit.as_str());
        let program = "systemctl".to_owned();
        return Err(ProgramError::Failed { program, words });
    }
    if told.is_empty() {
        return Err(systemctl.malformed());
    }
    Ok(Value::Object(told))
}

/// Failed ones first, then those that run, then the rest.
fn rank(unit: &Unit) -> u8 {
    match unit.active.as_str() {
        "failed" => 0,
        "activating" | "deactivating" | "reloading" => 1,
        "active" => 2,
        _ => 3,
    }
}

fn line(unit: &Unit) -> Value {
    let told = |text: &str| clip(text, MAX_VALUE).0.to_owned();
    json!({
        "unit": told(&unit.unit),
        "load": told(&unit.load),
        "active": told(&unit.active),
        "sub": told(&unit.sub),
        "description": told(&unit.description),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_be_an_option_a_pattern_or_a_path() {
        for name in [
            "nginx",
            "getty@tty1.service",
            "dev-disk\\x2d1.device",
            "a:b.mount",
        ] {
            assert!(UnitName::parse(name).is_ok(), "{name}");
        }
        let long = "a".repeat(MAX_UNIT + 1);
        for name in [
            "",
            "-f",
            "--help",
            "*.service",
            "a b",
            "a/b",
            "../x",
            ".",
            "a\nb",
            "a;b",
            "$(a)",
            "ä",
            &long,
        ] {
            assert!(UnitName::parse(name).is_err(), "{name}");
        }
        assert_eq!(UnitName::parse("nginx").unwrap().as_str(), "nginx.service");
    }
}
