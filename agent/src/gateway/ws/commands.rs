//! Commands of `/ws`: what people type with a slash.

use std::sync::Arc;
use std::time::Duration;

use super::super::Principal;
use crate::context_report::ContextReport;
use crate::gateway::config;
use crate::gateway::error::ApiError;
use crate::state::AgentState;
use crate::store::UsageRow;

/// What there is, with what it does.
const COMMANDS: &[(&str, &str)] = &[
    ("stop", "stops the running answer and removes what waits"),
    ("clear", "forgets this session's history"),
    ("new", "the same as clear"),
    ("reset", "stops and clears"),
    (
        "status",
        "says what this session is doing, which model answers and how full its context is",
    ),
    ("queue", "says what runs and what waits"),
    ("usage", "says what this session has used"),
    (
        "context",
        "says what a model is told before the conversation; context detail names every tool",
    ),
    (
        "restart",
        "starts the agent's process anew; needs the scope config.write",
    ),
    ("help", "lists these commands"),
];

/// How long a turn that was stopped may take to end.
const ENDING: Duration = Duration::from_secs(2);
/// The one command that needs more than a chat; whoever runs it has checked that.
pub(super) const RESTART: &str = "restart";

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
            ended(state, principal, session).await?;
            clear(state, principal, session).await
        }
        "status" => {
            let report = context(state, principal, session).await?;
            let doing = doing(state, principal, session).await?;
            Ok(format!("{doing}\n{}", report.line()))
        }
        "queue" => doing(state, principal, session).await,
        "usage" => usage(state, principal, session).await,
        "context" | "context list" => Ok(context(state, principal, session).await?.list()),
        "context detail" => Ok(context(state, principal, session).await?.detail()),
        RESTART => {
            config::begin_restart(state)?;
            Ok("the agent restarts".to_owned())
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

/// Waits until nothing runs in a session any more, or is slow to end: what a turn says at its end is to
/// be forgotten too.
async fn ended(state: &AgentState, principal: &Principal, session: &str) -> Result<(), ApiError> {
    let user = principal.user_id;
    let mut moved = state.feeds.of(user).subscribe();
    let until = tokio::time::Instant::now() + ENDING;
    while state.sessions.activity(user, session).await?.running {
        let next = tokio::time::timeout_at(until, moved.changed()).await;
        if !matches!(next, Ok(Ok(()))) {
            break;
        }
    }
    Ok(())
}

async fn doing(
    state: &AgentState,
    principal: &Principal,
    session: &str,
) -> Result<String, ApiError> {
    let activity = state.sessions.activity(principal.user_id, session).await?;
    let running = if activity.running { "running" } else { "idle" };
    Ok(format!("{running}, {} waiting", activity.waiting))
}

async fn context(
    state: &AgentState,
    principal: &Principal,
    session: &str,
) -> Result<ContextReport, ApiError> {
    let speaker = Arc::new(principal.speaker());
    Ok(ContextReport::of(&state.sessions, speaker, session).await?)
}

async fn usage(
    state: &AgentState,
    principal: &Principal,
    session: &str,
) -> Result<String, ApiError> {
    let rows = state
        .store
        .session_usage(principal.user_id, session.to_owned())
        .await?;
    if rows.is_empty() {
        return Ok("no model was paid for in this session".to_owned());
    }
    let line = |row: &UsageRow| {
        let unpriced = match row.unpriced_calls {
            0 => String::new(),
            calls => format!(", {calls} calls without a known price"),
        };
        format!(
            "{}: {} calls, {} tokens read ({} from a cache), {} written, {:.4} USD{unpriced}",
            row.model,
            row.calls,
            row.tokens.input,
            row.tokens.cached,
            row.tokens.output,
            row.cost_micro_usd as f64 / 1e6,
        )
    };
    Ok(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}
