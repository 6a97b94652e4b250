//! What was said in a session, read from its log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::frames::{Frame, What};
use super::link::{Heard, Link, Order, Start};
use super::screen::Screen;
use super::sessions;
use crate::agent_api::AgentApi;
use crate::commands::sessions::unknown;
use crate::output::Output;
use crate::terminal_text::{clean, clean_line, escape_json};

/// How long a connection that broke may take to come back.
const PATIENCE: Duration = Duration::from_secs(20);
/// Digits of a NodeId that tell devices apart.
const SHORT: usize = 8;

/// Shows a session from the first event that is kept to the last one that is there now.
pub(in crate::commands) async fn show(
    api: Arc<AgentApi>,
    session: &str,
    output: Output,
) -> anyhow::Result<()> {
    let state = sessions::find(&api, session).await?;
    if state.last_seq == 0 {
        return Err(unknown(session).into());
    }
    let mut link = Link::open(api, Some(PATIENCE)).await?;
    link.order(Order::Open {
        session: session.to_owned(),
        start: Start::After(0),
    });
    let read = read(&mut link, state.last_seq, output).await;
    link.close().await;
    let events = read?;
    if output.is_json() {
        let document = json!({ "session_id": session, "events": events });
        output.line(&escape_json(&document.to_string()));
    }
    Ok(())
}

/// Prints what was said; gives the events for a program, without the pieces of answers.
async fn read(link: &mut Link, last_seq: u64, output: Output) -> anyhow::Result<Vec<Value>> {
    let mut events = Vec::new();
    loop {
        let value = match link.next().await {
            Heard::Frame(value) => value,
            Heard::Ended(error) => return Err(error),
            Heard::Lost(_) | Heard::Back => continue,
        };
        let frame = Frame::of(&value);
        let Some(seq) = value["seq"].as_u64() else {
            continue;
        };
        if !output.is_json() {
            output.piece(&text(&frame, output));
        } else if !matches!(frame.what, What::Delta { .. } | What::Status { .. }) {
            events.push(value);
        }
        if seq >= last_seq {
            return Ok(events);
        }
    }
}

fn text(frame: &Frame, output: Output) -> String {
    let mut screen = Screen::for_answer(output);
    let aside = |screen: &Screen, text: &str| screen.dim(text) + "\n";
    match &frame.what {
        What::Message {
            text,
            attachments,
            device,
            ..
        } => {
            let device = clean_line(device);
            let device = device.get(..SHORT).unwrap_or(&device);
            let files = attachments
                .iter()
                .map(|file| aside(&screen, &format!("· file: {}", clean_line(&file.filename))));
            let files: String = files.collect();
            format!(
                "{} {}\n{files}",
                screen.dim(&format!("[{device}]")),
                clean(text)
            )
        }
        What::Error { text, .. } => format!("error: {}\n", clean(text)),
        What::TurnComplete { reason } if reason != "done" => {
            aside(&screen, &format!("({})", clean_line(reason)))
        }
        What::HistoryTruncated { .. } => aside(&screen, "(what came before is no longer kept)"),
        what @ (What::Response { .. } | What::ToolCall { .. } | What::ToolResult { .. }) => {
            let (mut answer, beside) = screen.take(what);
            answer += &screen.finish();
            if !beside.is_empty() {
                answer += &beside;
                answer.push('\n');
            }
            answer
        }
        _ => String::new(),
    }
}
