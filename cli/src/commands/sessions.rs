//! `homing sessions`: the user's conversations.

use http::Method;
use serde_json::{Value, json};

use super::chat::{sessions as stored, transcript};
use crate::agent_api::AgentApi;
use crate::args::SessionsCommand;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::Output;
use crate::terminal_text::{clean_line, escape_json};

pub(super) async fn run(
    dir: &DataDir,
    agent: Option<&str>,
    command: SessionsCommand,
    output: Output,
) -> anyhow::Result<()> {
    let api = std::sync::Arc::new(AgentApi::open(dir, agent).await?);
    let done = match command {
        SessionsCommand::List => list(&api, output).await,
        SessionsCommand::Show { id } => transcript::show(api.clone(), &id, output).await,
        SessionsCommand::Clear { id } => clear(&api, &id, output).await,
    };
    if let Ok(api) = std::sync::Arc::try_unwrap(api).map_err(drop) {
        api.close().await;
    }
    done
}

async fn list(api: &AgentApi, output: Output) -> anyhow::Result<()> {
    let sessions = stored::list(api).await?;
    let document = json!({ "sessions": sessions });
    if output.is_json() {
        output.line(&escape_json(&document.to_string()));
    } else {
        output.line(&stored::table(&sessions));
    }
    Ok(())
}

async fn clear(api: &AgentApi, id: &str, output: Output) -> anyhow::Result<()> {
    let path = format!("/api/sessions/{}/clear", stored::percent(id));
    let cleared: Value = match api.send(Method::POST, &path, None).await {
        Ok(cleared) => cleared,
        Err(error) if is_not_found(&error) => return Err(unknown(id).into()),
        Err(error) => return Err(error),
    };
    output.result(&cleared, || {
        format!("The history of {} is forgotten.", clean_line(id))
    });
    Ok(())
}

/// No such session of this user.
pub(super) fn unknown(id: &str) -> Failure {
    Failure::new(
        "unknown_session",
        format!("you have no session {id}"),
        "homing sessions lists them",
    )
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|Failure(body)| body.code == "not_found")
}
