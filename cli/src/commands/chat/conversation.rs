//! The conversation at a terminal: a line, its answer, the next line. Between the lines it shows what
//! other devices say in the session.

mod background;
mod orders;

use std::sync::Arc;

use super::approvals::Questions;
use super::attach;
use super::frames::{self, Attachment, Frame, Outgoing, What};
use super::input::{Input, Typed};
use super::link::{Heard, Link, Order, Start};
use super::screen::{self, Screen};
use super::sessions::{LastSession, SessionState};
use super::slash::{self, Meant};
use super::turn::{Turn, Whose};
use crate::agent_api::AgentApi;
use crate::data_dir::DataDir;
use crate::output::Output;
use crate::runtime::{Interrupts, Terminations};
use crate::terminal_text::{clean, clean_line};

/// What the person sees in front of a line.
const PROMPT: &str = "> ";

/// A conversation.
pub(super) struct Conversation {
    api: Arc<AgentApi>,
    output: Output,
    link: Link,
    input: Input,
    interrupts: Interrupts,
    session: String,
    last: LastSession,
    /// Files that go with the next message.
    attachments: Vec<Attachment>,
    /// The model that answered last.
    model: String,
    connected: bool,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Prompt,
    Quit,
}

impl Conversation {
    pub(super) async fn begin(
        dir: &DataDir,
        api: Arc<AgentApi>,
        session: String,
        attachments: Vec<Attachment>,
        output: Output,
    ) -> anyhow::Result<Self> {
        let link = Link::open(api.clone(), None).await?;
        Ok(Self {
            api,
            output,
            link,
            input: Input::open(dir, output.is_styled())?,
            interrupts: Interrupts::listen()?,
            session,
            last: LastSession::of(dir),
            attachments,
            model: String::new(),
            connected: true,
        })
    }

    /// Talks until the person leaves or the agent ends it.
    pub(super) async fn talk(mut self, state: SessionState) -> anyhow::Result<()> {
        let mut terminations = Terminations::listen()?;
        let ended = tokio::select! {
            ended = self.talk_on(state) => ended,
            () = terminations.next() => Ok(()),
        };
        let Self { link, input, .. } = self;
        // The terminal first: nothing may wait for a line that nobody can type any more.
        drop(input);
        link.close().await;
        ended
    }

    async fn talk_on(&mut self, state: SessionState) -> anyhow::Result<()> {
        let session = self.session.clone();
        if self.enter(session, state).await? == Next::Quit {
            return Ok(());
        }
        let mut interrupted = false;
        loop {
            let line = match self.line().await? {
                Typed::Line(line) => line,
                Typed::Interrupt if !interrupted => {
                    interrupted = true;
                    self.say("once more leaves");
                    continue;
                }
                Typed::Interrupt | Typed::End => return Ok(()),
            };
            interrupted = false;
            if self.obey(slash::read(&line)).await? == Next::Quit {
                return Ok(());
            }
        }
    }

    /// A line from the person; what comes from the agent meanwhile is shown above it.
    async fn line(&mut self) -> anyhow::Result<Typed> {
        loop {
            tokio::select! {
                typed = self.input.line(PROMPT) => return Ok(typed),
                heard = self.link.next() => {
                    if let Some(frame) = self.heard(heard)? {
                        let text = background::text(&frame, self.output);
                        self.input.print_above(&text);
                    }
                }
            }
        }
    }

    /// Goes on in a session, with the answer that runs in it.
    async fn enter(&mut self, session: String, state: SessionState) -> anyhow::Result<Next> {
        self.last.write(&session)?;
        let start = if state.running {
            Start::Running(state.last_seq)
        } else {
            Start::After(state.last_seq)
        };
        let name = clean_line(&session);
        self.say(&match state.messages {
            0 => format!("session {name}, new. /help lists the commands."),
            count => format!("session {name}, {count} messages. /help lists the commands."),
        });
        self.session.clone_from(&session);
        self.link.order(Order::Open { session, start });
        if state.running {
            return self.answer(Turn::running()).await;
        }
        Ok(Next::Prompt)
    }

    async fn send(&mut self, text: String) -> anyhow::Result<Next> {
        let message = Outgoing::new(text, std::mem::take(&mut self.attachments))?;
        let turn = Turn::of(&message.client_msg_id);
        self.link.order(Order::Say(message));
        self.answer(turn).await
    }

    /// Shows an answer until its end.
    async fn answer(&mut self, mut turn: Turn) -> anyhow::Result<Next> {
        let mut screen = Screen::for_answer(self.output);
        let mut questions = Questions::default();
        let mut stopping = false;
        let hushed = self.input.hush();
        // The terminal is quiet for the whole answer, and nothing else of the input is needed.
        let next = loop {
            tokio::select! {
                heard = self.link.next() => {
                    let frame = match heard {
                        Heard::Frame(value) => Frame::of(&value),
                        other => {
                            self.output.piece(&screen.break_line());
                            connection(&mut self.connected, other, self.output, &screen)?;
                            continue;
                        }
                    };
                    match turn.whose(&frame) {
                        Whose::Ours => {
                            if show(&frame, &mut screen, &mut questions, self.output) {
                                break Next::Prompt;
                            }
                        }
                        Whose::Other | Whose::Nobodys => {
                            let text = background::text(&frame, self.output);
                            if !text.is_empty() {
                                self.output.piece(&screen.break_line());
                                self.output.line(text.trim_end());
                            }
                        }
                    }
                }
                (id, approve) = questions.answer() => {
                    self.link.order(Order::Send(frames::approval_answer(id, approve)));
                }
                () = self.interrupts.next() => {
                    if stopping {
                        break Next::Quit;
                    }
                    stopping = true;
                    self.output.piece(&screen.break_line());
                    self.output.line(&screen.dim("stopping; once more leaves"));
                    self.link.order(Order::Send(frames::interrupt(&self.session)));
                }
            }
        };
        drop(questions);
        drop(hushed);
        self.output.piece(&screen.finish());
        if !screen.model().is_empty() {
            self.model = screen.model().to_owned();
        }
        Ok(next)
    }

    /// A frame, if it is one; news of the connection are shown at the prompt.
    fn heard(&mut self, heard: Heard) -> anyhow::Result<Option<Frame>> {
        match heard {
            Heard::Frame(value) => Ok(Some(Frame::of(&value))),
            Heard::Ended(error) => Err(error),
            Heard::Lost(_) => {
                self.connected = false;
                self.input
                    .print_above("the connection broke; connecting again");
                Ok(None)
            }
            Heard::Back => {
                self.connected = true;
                self.input.print_above("connected again");
                Ok(None)
            }
        }
    }

    /// Says something to the person, between answers.
    fn say(&self, text: &str) {
        let screen = Screen::for_answer(self.output);
        self.output.line(&screen.dim(text));
    }
}

/// News of the connection during an answer.
fn connection(
    connected: &mut bool,
    heard: Heard,
    output: Output,
    screen: &Screen,
) -> anyhow::Result<()> {
    let text = match heard {
        Heard::Ended(error) => return Err(error),
        Heard::Lost(_) => "the connection broke; connecting again",
        Heard::Back | Heard::Frame(_) => "connected again",
    };
    *connected = text == "connected again";
    output.line(&screen.dim(text));
    Ok(())
}

/// Shows a frame of the answer; true at its end.
fn show(frame: &Frame, screen: &mut Screen, questions: &mut Questions, output: Output) -> bool {
    match &frame.what {
        What::ApprovalRequired(approval) => {
            output.piece(&screen.break_line());
            output.line(&screen::approval(approval));
            if !questions.ask(approval.id) {
                output.line("There is no terminal to ask; another device can answer.");
            }
        }
        What::ApprovalResolved { id, decision, by } => {
            if questions.resolved(*id) {
                output.piece("\n");
            }
            output.line(&screen.dim(&screen::resolved(*id, decision, by.as_ref())));
        }
        What::Error {
            text, hint, code, ..
        } => {
            output.piece(&screen.finish());
            output.line(&format!("error: {}", clean(text)));
            if !hint.is_empty() {
                output.line(&screen.dim(&format!("  next: {}", clean(hint))));
            }
            // A refusal of the message itself: there is no turn that could end.
            return !code.is_empty();
        }
        What::TurnComplete { reason } => {
            if !matches!(
                reason.as_str(),
                "done" | "failed" | "over_budget" | "restarted"
            ) {
                output.piece(&screen.finish());
                output.line(&screen.dim(&format!("({})", clean_line(reason))));
            }
            return true;
        }
        what => {
            let (answer, aside) = screen.take(what);
            output.piece(&answer);
            if !aside.is_empty() {
                output.line(&aside);
            }
        }
    }
    false
}
