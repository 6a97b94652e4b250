//! What the agent tells a coordinator that was set back: the signed log after a position, in messages
//! that fit a frame. The coordinator believes its own signatures, not the agent.

use homing_certs::LogHead;
use homing_protocol::Document;
use homing_protocol::frame::MAX_FRAME;
use homing_protocol::revocations::{AgentMessage, MAX_HISTORY};

use crate::store::{Store, StoreError};

/// Bytes of documents in one message. Base64 makes a third more of them, and quotes and commas take
/// the rest of an ordinary frame.
const MESSAGE_BYTES: usize = MAX_FRAME / 2;

/// Messages that lead from `theirs` to the newest position here.
pub(super) async fn messages(
    store: &Store,
    theirs: LogHead,
) -> Result<Vec<AgentMessage>, StoreError> {
    let documents = store.history(theirs.root_epoch, theirs.seq).await?;
    Ok(in_messages(documents))
}

fn in_messages(wires: Vec<Vec<u8>>) -> Vec<AgentMessage> {
    let mut messages = Vec::new();
    let mut documents: Vec<Document> = Vec::new();
    let mut bytes = 0;
    for wire in wires {
        let full = documents.len() == MAX_HISTORY || bytes + wire.len() > MESSAGE_BYTES;
        if full && !documents.is_empty() {
            messages.push(AgentMessage::History {
                documents: std::mem::take(&mut documents),
            });
            bytes = 0;
        }
        bytes += wire.len();
        documents.push(Document(wire));
    }
    if !documents.is_empty() {
        messages.push(AgentMessage::History { documents });
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(messages: &[AgentMessage]) -> Vec<usize> {
        messages
            .iter()
            .map(|message| match message {
                AgentMessage::History { documents } => documents.len(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_long_history_goes_in_messages_that_fit_a_frame_and_nothing_is_lost() {
        assert!(in_messages(Vec::new()).is_empty());
        let small = in_messages(vec![vec![0; 10]; MAX_HISTORY + 1]);
        assert_eq!(counts(&small), [MAX_HISTORY, 1]);
        let large = in_messages(vec![vec![0; 800]; 100]);
        assert_eq!(counts(&large).iter().sum::<usize>(), 100);
        for message in &large {
            assert!(homing_protocol::frame::encode(message, MAX_FRAME).is_ok());
        }
        // A snapshot may be larger than any of them; it goes alone.
        let snapshot = in_messages(vec![vec![0; MESSAGE_BYTES * 4], vec![0; 800]]);
        assert_eq!(counts(&snapshot), [1, 1]);
    }
}
