//! `homing chat`: a conversation at the terminal, or one message and its answer.

mod approvals;
mod attach;
mod conversation;
mod frames;
mod input;
mod link;
mod markdown;
mod one_message;
mod screen;
pub(super) mod sessions;
mod slash;
pub(super) mod transcript;
mod turn;

use std::io::{IsTerminal, Read};
use std::sync::Arc;

use anyhow::Context;

use self::conversation::Conversation;
use self::frames::Outgoing;
use self::sessions::LastSession;
use crate::agent_api::AgentApi;
use crate::args::ChatArgs;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::Output;

/// Most of stdin that is one message: more than the agent takes, so that the agent says so.
const MAX_STDIN: u64 = 1 << 20;

pub(super) async fn run(dir: &DataDir, args: ChatArgs, output: Output) -> anyhow::Result<()> {
    let text = match args.text {
        Some(text) => Some(text),
        None if is_conversation(output) => None,
        None => Some(from_stdin()?),
    };
    if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(Failure::new(
            "usage",
            "there is nothing to send",
            "homing chat \"text\", or the text on stdin",
        )
        .into());
    }
    let api = Arc::new(AgentApi::open(dir, args.agent.as_deref()).await?);
    let last = LastSession::of(dir);
    let session = match (args.session, args.new) {
        (Some(session), _) => session,
        (None, true) => sessions::new_id()?,
        (None, false) => last.read(),
    };
    let done = async {
        let state = sessions::find(&api, &session).await?;
        let attachments = attach::upload_all(&api, &args.attach, output).await?;
        last.write(&session)?;
        match text {
            Some(text) => {
                let message = Outgoing::new(text, attachments)?;
                one_message::run(api.clone(), session, state.last_seq, message, output).await
            }
            None => {
                let api = api.clone();
                let begun = Conversation::begin(dir, api, session, attachments, output).await?;
                begun.talk(state).await
            }
        }
    }
    .await;
    if let Ok(api) = Arc::try_unwrap(api).map_err(drop) {
        api.close().await;
    }
    done
}

/// Whether there is a person to talk with: at both ends, and not for a program.
fn is_conversation(output: Output) -> bool {
    !output.is_json() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

fn from_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_STDIN)
        .read_to_string(&mut text)
        .context("stdin could not be read as text")?;
    Ok(text.trim_end().to_owned())
}
