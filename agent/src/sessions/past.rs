//! What a model sees of a session's earlier turns, and of which turn each message is.

use homing_certs::UserId;

use crate::store::{Store, StoreError};
use crate::turn::{MAX_SAID, Said};

/// Messages that are read: those that may be told shorter and as many that came while nothing was.
const READ: usize = 2 * MAX_SAID;
/// What stands in place of messages that are too many to be read.
const OLDER: &str = "Older messages of this conversation are not shown.";

/// What was said before a turn: the newest summary and the messages after it, and of which turn each
/// is.
pub(super) async fn before(
    store: &Store,
    user: UserId,
    session: String,
    turn: i64,
) -> Result<(Vec<Said>, Vec<i64>), StoreError> {
    let past = store.past(user, session, turn, READ).await?;
    let mut told: Vec<(Said, i64)> = Vec::with_capacity(past.messages.len() + 2);
    if let Some(summary) = past.summary {
        told.push((Said::Summary(summary.text), summary.turn_id));
    }
    if past.more {
        told.push((Said::Summary(OLDER.to_owned()), 0));
    }
    for message in past.messages {
        let said = match message.by_assistant {
            true => Said::Assistant {
                text: message.text,
                calls: vec![],
            },
            false => Said::User(message.text),
        };
        told.push((said, message.turn_id));
    }
    Ok(told.into_iter().unzip())
}
