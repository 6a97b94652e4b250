//! One message and its answer: for `homing chat "text"`, pipes and scripts.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::approvals::Questions;
use super::frames::{self, Frame, Outgoing, What};
use super::link::{Heard, Link, Order, Start};
use super::screen::{self, Screen};
use super::turn::{Turn, Whose};
use crate::agent_api::AgentApi;
use crate::failure::Failure;
use crate::output::Output;
use crate::runtime::Interrupts;
use crate::terminal_text::escape_json;

/// How long a connection that broke may take to come back before a script is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends the message and prints what comes: the answer on stdout, the rest on stderr.
pub(super) async fn run(
    api: Arc<AgentApi>,
    session: String,
    last_seq: u64,
    message: Outgoing,
    output: Output,
) -> anyhow::Result<()> {
    let link = Link::open(api, Some(PATIENCE)).await?;
    let start = Start::After(last_seq);
    link.order(Order::Open {
        session: session.clone(),
        start,
    });
    let mut wait = Wait {
        session,
        turn: Turn::of(&message.client_msg_id),
        screen: Screen::for_answer(output),
        output,
        failure: None,
        questions: Questions::default(),
        link,
    };
    wait.link.order(Order::Say(message));
    let ended = wait.until_the_end().await;
    wait.link.close().await;
    ended
}

struct Wait {
    session: String,
    turn: Turn,
    screen: Screen,
    output: Output,
    /// What the agent said of a turn that failed.
    failure: Option<String>,
    questions: Questions,
    link: Link,
}

impl Wait {
    async fn until_the_end(&mut self) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::listen()?;
        let mut stopping = false;
        loop {
            tokio::select! {
                heard = self.link.next() => {
                    if let Some(reason) = self.take(heard)? {
                        return self.outcome(&reason);
                    }
                }
                (id, approve) = self.questions.answer() => {
                    self.link.order(Order::Send(frames::approval_answer(id, approve)));
                }
                () = interrupts.next() => {
                    if stopping {
                        return Err(interrupted().into());
                    }
                    stopping = true;
                    self.output.progress("stopping; once more leaves at once");
                    self.link.order(Order::Send(frames::interrupt(&self.session)));
                }
            }
        }
    }

    /// The reason of the end, when it has come.
    fn take(&mut self, heard: Heard) -> anyhow::Result<Option<String>> {
        let value = match heard {
            Heard::Frame(value) => value,
            Heard::Lost(why) => {
                self.output
                    .progress(&format!("the connection broke ({why}); connecting again"));
                return Ok(None);
            }
            Heard::Back => {
                self.output.progress("connected again");
                return Ok(None);
            }
            Heard::Ended(error) => return Err(error),
        };
        let frame = Frame::of(&value);
        let whose = self.turn.whose(&frame);
        if self.output.is_json() {
            if whose != Whose::Other && is_for_scripts(&value) {
                self.output.line(&escape_json(&value.to_string()));
            }
        } else if whose == Whose::Ours {
            self.show(&frame);
        }
        match frame.what {
            What::Error {
                code, text, hint, ..
            } if whose == Whose::Ours && !code.is_empty() => {
                Err(Failure::new(&code, text, hint).into())
            }
            What::Error { text, .. } if whose == Whose::Ours => {
                self.failure = Some(text);
                Ok(None)
            }
            What::TurnComplete { reason } if whose == Whose::Ours => Ok(Some(reason)),
            _ => Ok(None),
        }
    }

    fn show(&mut self, frame: &Frame) {
        match &frame.what {
            What::ApprovalRequired(approval) => {
                let break_line = self.screen.break_line();
                self.output.piece(&break_line);
                self.output.progress(&screen::approval(approval));
                if !std::io::stderr().is_terminal() || !self.questions.ask(approval.id) {
                    self.output.progress(
                        "There is no terminal here to ask; any device that may can answer.",
                    );
                }
            }
            What::ApprovalResolved { id, decision, by } => {
                if self.questions.resolved(*id) {
                    self.output.progress("");
                }
                self.output
                    .progress(&screen::resolved(*id, decision, by.as_ref()));
            }
            what => {
                let (answer, aside) = self.screen.take(what);
                self.output.piece(&answer);
                if !aside.is_empty() {
                    self.output.progress(&aside);
                }
            }
        }
    }

    fn outcome(&mut self, reason: &str) -> anyhow::Result<()> {
        self.questions = Questions::default();
        if !self.output.is_json() {
            let rest = self.screen.finish();
            self.output.piece(&rest);
        }
        let failed = |text: &str, hint: &str| Err(Failure::new(reason, text, hint).into());
        let why = self.failure.take();
        match (reason, why) {
            ("done" | "no_reply", _) => Ok(()),
            ("interrupted", _) => Err(interrupted().into()),
            ("over_budget", why) => failed(
                &why.unwrap_or_else(|| "the budget is used up".to_owned()),
                "homing usage shows what was spent",
            ),
            (_, Some(why)) => failed(&why, "ask again"),
            (reason, None) => failed(&format!("the answer ended early: {reason}"), "ask again"),
        }
    }
}

/// Replies to what this program did by itself say nothing to a script.
fn is_for_scripts(frame: &Value) -> bool {
    frame["type"] != "resource_event"
}

fn interrupted() -> Failure {
    Failure::new("interrupted", "the answer was stopped", "ask again")
}
