//! Which frames belong to the answer of one message, pure. Several devices may talk in a session at once,
//! and a turn may wait behind another one.

use super::frames::{Frame, What};

/// Whose a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of the turn that is waited for.
    Ours,
    /// Of another one.
    Other,
    /// Of none.
    Nobodys,
}

/// Waits for the end of one turn.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// Of the message; empty for a turn that ran before we came.
    client_msg_id: String,
    turn_id: Option<i64>,
}

impl Turn {
    /// The turn of this message.
    pub(super) fn of(client_msg_id: &str) -> Self {
        Self {
            client_msg_id: client_msg_id.to_owned(),
            turn_id: None,
        }
    }

    /// The turn that runs when we come: the first one that is heard of.
    pub(super) fn running() -> Self {
        Self::of("")
    }

    /// Whose this frame is. The message itself is what makes the turn known.
    pub(super) fn whose(&mut self, frame: &Frame) -> Whose {
        let ours = match &frame.what {
            What::Message { client_msg_id, .. } => {
                self.client_msg_id.is_empty()
                    || client_msg_id.as_deref() == Some(&self.client_msg_id)
            }
            What::Error { client_msg_id, .. } if frame.seq.is_none() => {
                let named = client_msg_id.as_deref() == Some(&self.client_msg_id);
                return if named { Whose::Ours } else { Whose::Nobodys };
            }
            _ => self.client_msg_id.is_empty(),
        };
        let Some(turn) = frame.turn_id else {
            return Whose::Nobodys;
        };
        if ours && self.turn_id.is_none() {
            self.turn_id = Some(turn);
        }
        if self.turn_id == Some(turn) {
            Whose::Ours
        } else {
            Whose::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whose(turn: &mut Turn, kind: &str, id: Option<i64>, message: Option<&str>) -> Whose {
        turn.whose(&Frame::of(&json!({
            "type": kind, "turn_id": id, "client_msg_id": message, "text": "", "reason": "done",
            "session_id": "s", "seq": id.map(|_| 1)
        })))
    }

    #[test]
    fn a_turn_is_told_from_the_one_before_it_and_the_one_after() {
        let mut turn = Turn::of("mine");
        assert_eq!(whose(&mut turn, "delta", Some(1), None), Whose::Other);
        assert_eq!(
            whose(&mut turn, "message", Some(2), Some("mine")),
            Whose::Ours
        );
        assert_eq!(
            whose(&mut turn, "message", Some(3), Some("theirs")),
            Whose::Other
        );
        assert_eq!(
            whose(&mut turn, "turn_complete", Some(1), None),
            Whose::Other
        );
        assert_eq!(whose(&mut turn, "delta", Some(2), None), Whose::Ours);
        assert_eq!(
            whose(&mut turn, "turn_complete", Some(2), None),
            Whose::Ours
        );
        assert_eq!(
            whose(&mut turn, "command_result", None, None),
            Whose::Nobodys
        );
        // A refusal of the message names it.
        assert_eq!(whose(&mut turn, "error", None, Some("mine")), Whose::Ours);
        assert_eq!(whose(&mut turn, "error", None, None), Whose::Nobodys);
    }

    #[test]
    fn a_turn_that_runs_already_is_the_first_that_is_heard_of() {
        let mut turn = Turn::running();
        assert_eq!(
            whose(&mut turn, "message", Some(5), Some("theirs")),
            Whose::Ours
        );
        assert_eq!(
            whose(&mut turn, "message", Some(6), Some("theirs")),
            Whose::Other
        );
        assert_eq!(whose(&mut turn, "delta", Some(5), None), Whose::Ours);
    }
}
