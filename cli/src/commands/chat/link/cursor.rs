//! The place in a session's log, pure: what was shown is not shown again, and what was not is asked for.

use serde_json::Value;

use super::super::frames;

/// Where to begin in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Start {
    /// After this event.
    After(u64),
    /// With the running turn; should it have ended meanwhile, after this event.
    Running(u64),
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Show,
    Skip,
}

/// A place in one session's log.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    session: String,
    /// Number of the last event that was shown.
    last: Option<u64>,
    /// What stands for it until one is.
    before: u64,
    running: bool,
}

impl Cursor {
    pub(super) fn new(session: String, start: Start) -> Self {
        let (last, before, running) = match start {
            Start::After(seq) => (Some(seq), seq, false),
            Start::Running(seq) => (None, seq, true),
        };
        Self {
            session,
            last,
            before,
            running,
        }
    }

    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// The frame that continues here, on a new socket; `None` before a session was chosen.
    pub(super) fn open_frame(&mut self) -> Option<Value> {
        if self.session.is_empty() {
            return None;
        }
        let from = match self.last {
            Some(last) => Some(last + 1),
            // The first time only: later the turn may be over, and with it what shows its beginning.
            None if std::mem::take(&mut self.running) => None,
            None => Some(self.before + 1),
        };
        Some(frames::session_open(&self.session, from))
    }

    pub(super) fn take(&mut self, frame: &Value) -> Taken {
        let of_other = frame["session_id"]
            .as_str()
            .is_some_and(|session| session != self.session);
        if of_other {
            return Taken::Skip;
        }
        match frame["seq"].as_u64() {
            None => Taken::Show,
            Some(seq) if self.last.is_some_and(|last| seq <= last) => Taken::Skip,
            Some(seq) => {
                self.last = Some(seq);
                Taken::Show
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(session: &str, seq: u64) -> Value {
        json!({"type": "delta", "text": "", "session_id": session, "seq": seq})
    }

    #[test]
    fn what_was_shown_is_not_shown_again_and_the_rest_is_asked_for() {
        let mut cursor = Cursor::new("a".into(), Start::After(4));
        assert_eq!(cursor.open_frame().unwrap()["from_seq"], 5);
        assert_eq!(cursor.take(&event("a", 4)), Taken::Skip);
        assert_eq!(cursor.take(&event("a", 5)), Taken::Show);
        assert_eq!(cursor.take(&event("a", 5)), Taken::Skip);
        assert_eq!(cursor.take(&event("b", 6)), Taken::Skip);
        assert_eq!(cursor.take(&json!({"type": "pong"})), Taken::Show);
        assert_eq!(cursor.open_frame().unwrap()["from_seq"], 6);
        // What is no longer kept is not asked for again.
        let truncated = json!({"type": "history_truncated", "session_id": "a", "seq": 9});
        assert_eq!(cursor.take(&truncated), Taken::Show);
        assert_eq!(cursor.open_frame().unwrap()["from_seq"], 10);
    }

    #[test]
    fn a_running_turn_is_asked_for_once() {
        let mut cursor = Cursor::new("a".into(), Start::Running(7));
        assert_eq!(cursor.open_frame().unwrap()["from_seq"], Value::Null);
        assert_eq!(cursor.open_frame().unwrap()["from_seq"], 8);
        assert_eq!(cursor.take(&event("a", 3)), Taken::Show);
        assert_eq!(cursor.open_frame().unwrap()["from_seq"], 4);
        assert!(Cursor::default().open_frame().is_none());
    }
}
