//! What a model sees of a session's earlier turns, and of which turn each message is.

use homing_certs::UserId;

use super::Attachment;
use crate::attachments::{Attachments, Sight, with_markers};
use crate::store::{PastMessage, Store, StoreError};
use crate::turn::{MAX_SAID, Said};

/// Messages that are read: those that may be told shorter and as many that came while nothing was.
const READ: usize = 2 * MAX_SAID;
/// What stands in place of messages that are too many to be read.
const OLDER: &str = "Older messages of this conversation are not shown.";

/// What was said before a turn: the newest summary and the messages after it, and of which turn each
/// is.
pub(super) async fn before(
    store: &Store,
    attachments: &Attachments,
    user: UserId,
    session: String,
    turn: i64,
    sight: &mut Sight,
) -> Result<(Vec<Said>, Vec<i64>), StoreError> {
    let past = store.past(user, session, turn, READ).await?;
    let mut messages: Vec<(Said, i64)> = Vec::with_capacity(past.messages.len());
    // The message that comes now is the newest one of a person, and the newest are seen first.
    let mut age = 0;
    for message in past.messages.into_iter().rev() {
        let turn = message.turn_id;
        age += usize::from(!message.by_assistant);
        messages.push((again(attachments, user, message, age, sight).await, turn));
    }
    let mut told: Vec<(Said, i64)> = Vec::with_capacity(messages.len() + 2);
    if let Some(summary) = past.summary {
        told.push((Said::Summary(summary.text), summary.turn_id));
    }
    if past.more {
        told.push((Said::Summary(OLDER.to_owned()), 0));
    }
    told.extend(messages.into_iter().rev());
    Ok(told.into_iter().unzip())
}

/// The files of a message. What cannot be read is none: the message itself must not be lost for it.
pub(super) fn files(json: &str) -> Vec<Attachment> {
    let files = serde_json::from_str(json);
    files.unwrap_or_else(|error| {
        tracing::error!(%error, "the attachments of a stored message cannot be read");
        vec![]
    })
}

async fn again(
    attachments: &Attachments,
    user: UserId,
    message: PastMessage,
    age: usize,
    sight: &mut Sight,
) -> Said {
    let files = files(&message.attachments);
    match message.by_assistant {
        true => Said::Assistant {
            text: with_markers(&message.text, &files),
            calls: vec![],
        },
        false => {
            attachments
                .told_again(user, &message.text, &files, age, sight)
                .await
        }
    }
}
