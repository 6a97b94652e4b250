//! Files of messages: which may be named in one, and those that a socket has attached to messages that
//! are still to come.

use std::collections::HashMap;

use crate::files::FileError;
use crate::gateway::Principal;
use crate::gateway::auth::CallerContext;
use crate::gateway::error::ApiError;
use crate::gateway::routes::Need;
use crate::sessions::{Attachment, MAX_ATTACHMENTS};
use crate::state::AgentState;

/// Sessions of one socket with files that wait for their message: as many as it may follow.
const MAX_SESSIONS: usize = 64;
/// Bytes of a file's name for people: what file systems take.
const MAX_FILENAME: usize = 255;
/// Kinds of files; empty is `file`.
const KINDS: [&str; 5] = ["", "image", "file", "voice", "video"];

/// Files that wait for the next message of their session. They go with the socket.
#[derive(Debug, Default)]
pub(super) struct Attached {
    waiting: HashMap<String, Vec<Attachment>>,
}

impl Attached {
    /// Adds a file that was checked.
    pub(super) fn add(&mut self, session: &str, attachment: Attachment) -> Result<(), ApiError> {
        let sessions = self.waiting.len();
        match self.waiting.get_mut(session) {
            Some(files) if files.len() >= MAX_ATTACHMENTS => return Err(too_many()),
            Some(files) => files.push(attachment),
            None if sessions >= MAX_SESSIONS => {
                let message =
                    format!("files wait in {MAX_SESSIONS} sessions of this socket already");
                return Err(ApiError::bad_request("too_many_sessions", message));
            }
            None => {
                self.waiting.insert(session.to_owned(), vec![attachment]);
            }
        }
        Ok(())
    }

    /// What goes with a message: what was attached before, then what it names itself.
    pub(super) fn with(&self, session: &str, named: Vec<Attachment>) -> Vec<Attachment> {
        let mut all = self.waiting.get(session).cloned().unwrap_or_default();
        all.extend(named);
        all
    }

    /// Nothing waits in a session any more. Whether something did.
    pub(super) fn forget(&mut self, session: &str) -> bool {
        self.waiting.remove(session).is_some()
    }
}

/// Whether a message may have these files: each must be the user's own, and who may not read files may
/// not have a model read them.
pub(super) async fn check(
    state: &AgentState,
    context: &CallerContext,
    principal: &Principal,
    attachments: &[Attachment],
) -> Result<(), ApiError> {
    if attachments.is_empty() {
        return Ok(());
    }
    context.check(principal, Need::Scope("files"))?;
    if attachments.len() > MAX_ATTACHMENTS {
        return Err(too_many());
    }
    for attachment in attachments {
        shape(attachment)?;
        let opened = state
            .files
            .open_file(principal.user_id, attachment.stored());
        match opened.await {
            Ok(_) => {}
            Err(FileError::NotFound) => return Err(gone()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn shape(attachment: &Attachment) -> Result<(), ApiError> {
    let bad = |message: String| Err(ApiError::bad_request("bad_attachment", message));
    if !KINDS.contains(&attachment.kind.as_str()) {
        return bad("the type of an attachment is image, file, voice or video".to_owned());
    }
    let filename = &attachment.filename;
    if filename.len() > MAX_FILENAME || filename.chars().any(char::is_control) {
        return bad(format!(
            "the filename of an attachment has at most {MAX_FILENAME} bytes and no control characters"
        ));
    }
    Ok(())
}

fn too_many() -> ApiError {
    let message = format!("a message has at most {MAX_ATTACHMENTS} attachments");
    ApiError::bad_request("too_many_attachments", message)
}

/// Says the same of what is not there and of what is another user's.
fn gone() -> ApiError {
    ApiError {
        message: "there is no such file of yours".to_owned(),
        hint: "upload it first; its path is /api/files/<name>".to_owned(),
        ..ApiError::not_found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: usize) -> Attachment {
        Attachment {
            path: format!("/api/files/{number}"),
            filename: String::new(),
            kind: "file".to_owned(),
        }
    }

    #[test]
    fn one_file_over_the_limit_is_refused_and_each_session_has_its_own() {
        let mut attached = Attached::default();
        for number in 0..MAX_ATTACHMENTS {
            attached.add("a", file(number)).unwrap();
        }
        assert_eq!(
            attached.add("a", file(99)).unwrap_err().code,
            "too_many_attachments"
        );
        attached.add("b", file(1)).unwrap();
        assert_eq!(attached.with("b", vec![file(2)]), [file(1), file(2)]);
        assert_eq!(attached.with("a", vec![]).len(), MAX_ATTACHMENTS);
        assert!(attached.forget("a") && !attached.forget("a"));
        assert!(attached.with("a", vec![]).is_empty());
    }

    #[test]
    fn files_wait_in_no_more_sessions_than_a_socket_may_follow() {
        let mut attached = Attached::default();
        for number in 0..MAX_SESSIONS {
            attached.add(&number.to_string(), file(1)).unwrap();
        }
        attached.add("0", file(2)).unwrap();
        let refused = attached.add("one more", file(1)).unwrap_err();
        assert_eq!(refused.code, "too_many_sessions");
    }
}
