//! Commands of `/ws`: what people type with a slash.

use super::super::Principal;
use crate::gateway::error::ApiError;
use crate::state::AgentState;

/// What there is, with what it does.
const COMMANDS: &[(&str, &str)] = &[
    ("stop", "stops the running answer and removes what waits"),
    ("clear", "forgets this session's history"),
    ("new", "the same as clear"),
    ("reset", "stops and clears"),
    ("status", "says what this session is doing"),
    ("queue", "the same as status"),
    ("help", "lists these commands"),
];

/// Runs a command and gives the text of its result.
pub(super) async fn run(
    state: &AgentState,
    principal: &Principal,
    name: &str,
    session: &str,
) -> Result<String, ApiError> {
    let user = principal.user_id;
    match name {
        "stop" => {
            let stopped = state.sessions.stop(user, session).await?;
            Ok(format!("{stopped} stopped"))
        }
        "clear" | "new" => clear(state, principal, session).await,
        "reset" => {
            state.sessions.stop(user, session).await?;
            clear(state, principal, session).await
        }
        "status" | "queue" => {
            let activity = state.sessions.activity(user, session).await?;
            let running = if activity.running { "running" } else { "idle" };
            Ok(format!("{running}, {} waiting", activity.waiting))
        }
        "help" => {
            let lines = COMMANDS
                .iter()
                .map(|(name, what)| format!("{name}: {what}"));
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        _ => {
            let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no such command; there are {}", names.join(", "));
            Err(ApiError::bad_request("unknown_command", message))
        }
    }
}

async fn clear(
    state: &AgentState,
    principal: &Principal,
    session: &str,
) -> Result<String, ApiError> {
    let cleared = state.sessions.clear(principal.user_id, session).await?;
    Ok(if cleared {
        "cleared"
    } else {
        "nothing to clear"
    }
    .to_owned())
}
