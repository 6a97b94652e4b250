//! The half of a socket that listens: checks every frame like a request of its own, and acts.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::attached::{self, Attached};
use super::frames::{Answer, ClientFrame, FrameName, ServerFrame};
use super::listen::Listener;
use super::writer::Outgoing;
use super::{Ending, Socket, commands};
use crate::gateway::error::ApiError;
use crate::gateway::health::VERSION;
use crate::gateway::routes::{self, Class, Frame, Need};
use crate::gateway::{Principal, approvals};
use crate::sessions::{self, Attachment, Said, check_session_id};

/// Sessions that one socket follows; more is a client that forgets to reconnect.
const MAX_OPEN: usize = 64;
/// The topic of the machine's snapshots.
const SYSTEM: &str = "system";
/// Letters of an unknown topic that are said back.
const MAX_TOPIC: usize = 40;

/// What is done with the frames of one socket.
pub(super) struct Reader<'a> {
    socket: &'a Socket,
    replies: mpsc::Sender<Outgoing>,
    open: HashSet<String>,
    /// Files for messages that are still to come.
    attached: Attached,
    /// Whether it is subscribed to the machine.
    watches: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(socket: &'a Socket, replies: mpsc::Sender<Outgoing>) -> Self {
        Self {
            socket,
            replies,
            open: HashSet::new(),
            attached: Attached::default(),
            watches: false,
        }
    }
}

impl Listener for Reader<'_> {
    async fn take(&mut self, text: &str) -> Result<(), Ending> {
        let principal = self.socket.principal()?;
        let (frame, line) = match parse(text) {
            Ok(parsed) => parsed,
            Err(error) => return self.reply(ServerFrame::error(error, None)).await,
        };
        let client_msg_id = match &frame {
            ClientFrame::TextFinal { client_msg_id, .. } => client_msg_id.clone(),
            _ => None,
        };
        let call = ("ws", line.name);
        let gate = self.socket.gate(&principal, call, line.need, line.class);
        let outcome = match gate.await {
            Ok(()) => self.act(&principal, frame).await?,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => self.reply(ServerFrame::error(error, client_msg_id)).await,
        }
    }
}

impl Reader<'_> {
    /// The outer error ends the socket, the inner one is told to the client.
    async fn act(
        &mut self,
        principal: &Arc<Principal>,
        frame: ClientFrame,
    ) -> Result<Result<(), ApiError>, Ending> {
        let state = &self.socket.state;
        match frame {
            ClientFrame::Auth {} => {
                let agent_name = state.settings.name.clone();
                self.reply(ServerFrame::AuthOk {
                    agent_name,
                    version: VERSION,
                })
                .await?;
            }
            ClientFrame::Ping {} => self.reply(ServerFrame::Pong {}).await?,
            ClientFrame::SessionOpen {
                session_id,
                from_seq,
            } => {
                return self.follow(principal, session_id, from_seq, true).await;
            }
            ClientFrame::TextFinal {
                text,
                session_id,
                attachments,
                client_msg_id,
            } => {
                let attachments = self.attached.with(&session_id, attachments);
                if let Err(error) = self.check_files(principal, &attachments).await {
                    return Ok(Err(self.forget_attached(&session_id, error)));
                }
                // Before the message is taken, so that none of its events can be missed.
                if let Err(error) = self
                    .follow(principal, session_id.clone(), None, false)
                    .await?
                {
                    return Ok(Err(error));
                }
                let message = sessions::Message {
                    text,
                    attachments,
                    client_msg_id: client_msg_id.clone(),
                };
                let speaker = Arc::new(principal.speaker());
                match state.sessions.say(speaker, &session_id, message).await {
                    Ok(Said::Started | Said::Queued(_)) => {
                        self.attached.forget(&session_id);
                    }
                    Ok(Said::Duplicate) => {
                        self.attached.forget(&session_id);
                        self.reply(ServerFrame::Duplicate { client_msg_id }).await?;
                    }
                    Err(error) => return Ok(Err(error.into())),
                }
            }
            ClientFrame::Attachment {
                session_id,
                path,
                filename,
                kind,
            } => {
                let attachment = Attachment {
                    path,
                    filename,
                    kind,
                };
                if let Err(error) = check_session_id(&session_id) {
                    return Ok(Err(error.into()));
                }
                let files = std::slice::from_ref(&attachment);
                if let Err(error) = self.check_files(principal, files).await {
                    return Ok(Err(error));
                }
                return Ok(self.attached.add(&session_id, attachment));
            }
            ClientFrame::Subscribe { topics } => return self.subscribe(&topics, true).await,
            ClientFrame::Unsubscribe { topics } => return self.subscribe(&topics, false).await,
            ClientFrame::Interrupt { session_id } => {
                state.sessions.interrupt(principal.user_id, &session_id);
            }
            ClientFrame::ApprovalAnswer { id, decision } => {
                let approve = decision == Answer::Approve;
                if let Err(error) = approvals::answer(state, principal, id, approve).await {
                    return Ok(Err(error));
                }
            }
            ClientFrame::Command { name, session_id } => {
                if name == commands::RESTART
                    && let Err(error) = self.may_restart(principal).await
                {
                    return Ok(Err(error));
                }
                match commands::run(state, principal, &name, &session_id).await {
                    Ok(text) => {
                        self.reply(ServerFrame::CommandResult { name, text })
                            .await?
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(()))
    }

    async fn follow(
        &mut self,
        principal: &Principal,
        session: String,
        from_seq: Option<u64>,
        anew: bool,
    ) -> Result<Result<(), ApiError>, Ending> {
        let known = self.open.contains(&session);
        if known && !anew {
            return Ok(Ok(()));
        }
        if !known && self.open.len() == MAX_OPEN {
            let message = format!("this socket follows {MAX_OPEN} sessions already");
            return Ok(Err(ApiError::bad_request("too_many_sessions", message)));
        }
        let sessions = &self.socket.state.sessions;
        match sessions.follow(principal.user_id, &session, from_seq).await {
            Ok(follow) => {
                self.open.insert(session);
                self.send(Outgoing::Follow(follow)).await?;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn subscribe(
        &mut self,
        topics: &[String],
        wanted: bool,
    ) -> Result<Result<(), ApiError>, Ending> {
        if let Some(unknown) = topics.iter().find(|topic| *topic != SYSTEM) {
            let unknown: String = unknown.chars().take(MAX_TOPIC).collect();
            let message = format!("there is no topic {unknown:?}; there is {SYSTEM:?}");
            return Ok(Err(ApiError::bad_request("unknown_topic", message)));
        }
        if !topics.is_empty() && self.watches != wanted {
            self.watches = wanted;
            self.send(Outgoing::Watch(wanted)).await?;
        }
        let topics = self.watches.then_some(SYSTEM).into_iter().collect();
        self.reply(ServerFrame::Subscribed { topics }).await?;
        Ok(Ok(()))
    }

    /// Like the gate in front of `POST /api/restart`.
    async fn may_restart(&self, principal: &Principal) -> Result<(), ApiError> {
        let need = Need::Scope("config.write");
        let call = ("ws", commands::RESTART);
        self.socket.gate(principal, call, need, Class::Write).await
    }

    async fn check_files(
        &self,
        principal: &Principal,
        attachments: &[Attachment],
    ) -> Result<(), ApiError> {
        let Socket { state, context, .. } = self.socket;
        attached::check(state, context, principal, attachments).await
    }

    /// A message that is refused for its files would be refused for ever if they stayed attached.
    fn forget_attached(&mut self, session: &str, mut error: ApiError) -> ApiError {
        if self.attached.forget(session) {
            error.hint = "attach the files again; none waits for a message now".to_owned();
        }
        error
    }

    async fn reply(&self, frame: ServerFrame) -> Result<(), Ending> {
        self.send(Outgoing::Frame(frame.text())).await
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Ending> {
        self.replies.send(outgoing).await.map_err(|_| Ending::Gone)
    }
}

fn parse(text: &str) -> Result<(ClientFrame, &'static Frame), ApiError> {
    let name: FrameName = serde_json::from_str(text)
        .map_err(|_| ApiError::bad_request("bad_frame", "a frame is a JSON object with a type"))?;
    let Some(line) = routes::find_frame(&name.name) else {
        let known: Vec<&str> = routes::FRAMES.iter().map(|frame| frame.name).collect();
        let message = format!(
            "this agent does not know the frame; it knows {}",
            known.join(", ")
        );
        return Err(ApiError::bad_request("unknown_frame", message));
    };
    let frame = serde_json::from_str(text).map_err(|error| {
        let message = format!("the frame {} is not well-formed: {error}", line.name);
        ApiError::bad_request("bad_frame", message)
    })?;
    Ok((frame, line))
}
