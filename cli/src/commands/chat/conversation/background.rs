//! What other devices say in the session, shown whole when it is complete, so that it does not come
//! between a person and the line that is being typed.

use super::super::frames::{Frame, What};
use super::super::screen::{self, Screen};
use crate::output::Output;
use crate::terminal_text::{clean, clean_line};

/// Digits of a NodeId that tell devices apart.
const SHORT: usize = 8;

/// Lines to show of a frame; empty for most.
pub(super) fn text(frame: &Frame, output: Output) -> String {
    let mut screen = Screen::for_answer(output);
    match &frame.what {
        What::Message {
            text,
            device,
            attachments,
            ..
        } => {
            let device = clean_line(device);
            let device = device.get(..SHORT).unwrap_or(&device);
            let said = format!("{} {}", screen.dim(&format!("[{device}]")), clean(text));
            match attachments.is_empty() {
                true => said,
                false => format!("{said}\n{}", screen.dim(&screen::files(attachments))),
            }
        }
        response @ What::Response { .. } => {
            let (mut text, files) = screen.take(response);
            text += &screen.finish();
            text + &files
        }
        What::ApprovalRequired(approval) => {
            let id = approval.id;
            format!(
                "{}\n/approve {id} lets it run, /deny {id} does not.",
                screen::approval(approval)
            )
        }
        What::ApprovalResolved { id, decision, by } => {
            screen.dim(&screen::resolved(*id, decision, by.as_ref()))
        }
        What::Error { text, hint, .. } => {
            let next = match hint.as_str() {
                "" => String::new(),
                hint => format!("\n  next: {}", clean(hint)),
            };
            format!("error: {}{next}", clean(text))
        }
        What::CommandResult { text } => clean(text),
        What::Cleared {} => screen.dim("(the session's history was cleared)"),
        What::HistoryTruncated { seq } => {
            screen.dim(&format!("(what came before event {seq} is no longer kept)"))
        }
        _ => String::new(),
    }
}
