//! Commands that are typed in a conversation.

use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::super::sessions;
use super::{
    Conversation, Meant, Next, Order, What, attach, background, clean_line, frames, slash,
};
use crate::failure::describe;

/// How long the agent may take to answer a command before the prompt comes back without it.
const REPLY: Duration = Duration::from_secs(5);

impl Conversation {
    pub(super) async fn obey(&mut self, meant: Meant) -> anyhow::Result<Next> {
        match meant {
            Meant::Nothing => {}
            Meant::Quit => return Ok(Next::Quit),
            Meant::Message(text) => return self.send(text).await,
            Meant::Help => self.output.line(&slash::help()),
            Meant::Incomplete(needs) => self.output.line(&format!("that needs {needs}")),
            Meant::New => {
                let session = sessions::new_id()?;
                return self.enter(session, sessions::SessionState::default()).await;
            }
            Meant::Session(session) => match sessions::find(&self.api, &session).await {
                Ok(state) => return self.enter(session, state).await,
                Err(error) => self.complain(&error),
            },
            Meant::Sessions => match sessions::list(&self.api).await {
                Ok(list) => self.output.line(&sessions::table(&list)),
                Err(error) => self.complain(&error),
            },
            Meant::Model(wanted) => self.model(wanted).await,
            Meant::Attach(file) => {
                match attach::upload(&self.api, &PathBuf::from(file)).await {
                    Ok(attachment) => {
                        let name = clean_line(&attachment.filename);
                        self.attachments.push(attachment);
                        self.say(&format!("{name} goes with the next message"));
                    }
                    Err(error) => self.complain(&error),
                };
            }
            Meant::Answer(id, approve) => {
                let frame = frames::approval_answer(id, approve);
                self.link.order(Order::Send(frame));
                self.reply(|what| matches!(what, What::ApprovalResolved { .. }))
                    .await?;
            }
            Meant::Agents(name) => {
                if !self.connected {
                    self.output.line("there is no connection at the moment");
                    return Ok(Next::Prompt);
                }
                if name == "status" {
                    self.say(&format!("session {}", clean_line(&self.session)));
                }
                let frame = frames::command(&self.session, &name);
                self.link.order(Order::Send(frame));
                self.reply(|what| matches!(what, What::CommandResult { .. }))
                    .await?;
            }
        }
        Ok(Next::Prompt)
    }

    /// Waits for the agent's word on a command, and shows what else comes meanwhile.
    async fn reply(&mut self, is_reply: impl Fn(&What) -> bool) -> anyhow::Result<()> {
        let limit = tokio::time::sleep(REPLY);
        let mut limit = std::pin::pin!(limit);
        loop {
            let heard = tokio::select! {
                heard = self.link.next() => heard,
                () = &mut limit => return Ok(()),
                () = self.interrupts.next() => return Ok(()),
            };
            let Some(frame) = self.heard(heard)? else {
                return Ok(());
            };
            let text = background::text(&frame, self.output);
            if !text.is_empty() {
                self.output.line(text.trim_end());
            }
            let refused = matches!(frame.what, What::Error { .. }) && frame.seq.is_none();
            if refused || is_reply(&frame.what) {
                return Ok(());
            }
        }
    }

    async fn model(&mut self, wanted: Option<String>) {
        let path = format!("/api/sessions/{}/pin", sessions::percent(&self.session));
        let answered = match wanted {
            Some(model) => {
                let body = json!({ "model": model });
                let pinned = self.api.send(Method::POST, &path, Some(&body)).await;
                pinned.map(|_| format!("{} answers in this session", clean_line(&model)))
            }
            None if self.model.is_empty() => Ok("none has answered yet here".to_owned()),
            None => Ok(clean_line(&self.model)),
        };
        match answered {
            Ok(text) => self.output.line(&text),
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&self, error: &anyhow::Error) {
        let (body, _) = describe(error);
        let (message, hint) = (clean_line(&body.message), clean_line(&body.hint));
        self.output.line(&format!("error: {message}"));
        if !hint.is_empty() {
            self.say(&format!("  next: {hint}"));
        }
    }
}
