//! The ways in which a connection ends, and carrying them out. The one rule: a response that was
//! cut never ends cleanly.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::local_reply::LocalReply;
use crate::refusal::Refusal;
use crate::upstream::{Upstream, reset_code};

use super::Connection;

/// For writing an answer of our own, a few hundred bytes, to a client that may not read.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// After our end of the connection: time for the client to see the answer and stop sending. Closing
/// at once while it sends would reset the connection under the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is read and thrown away in that time; a client that sends on has not looked.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// For finishing the stream to the agent, which only waits for its own queue.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum End {
    /// Everything asked for was answered.
    Complete,
    /// The answer is whole, but the client may still be sending the rest of its request.
    Unread,
    /// No byte of the response was sent: say why.
    Refused {
        refusal: Refusal,
        head_only: bool,
    },
    Answered {
        reply: LocalReply,
        head_only: bool,
    },
    /// Both sides are reset.
    Broken {
        code: u32,
    },
}

impl End {
    /// The client is gone, so its request is of no use to anybody.
    pub(crate) const fn broken() -> Self {
        Self::Broken {
            code: reset_code::CANCELLED,
        }
    }
}

impl<U: Upstream> Connection<U> {
    pub(super) async fn end(&mut self, end: End) {
        match end {
            End::Complete => {
                self.client.complete();
                if let Some(mut stream) = self.upstream.take() {
                    // One that cannot be finished is reset by being dropped.
                    let _ = timeout(FINISH_TIMEOUT, stream.shutdown()).await;
                }
            }
            End::Unread => {
                self.reset_upstream(reset_code::CANCELLED);
                self.linger().await;
            }
            End::Refused { refusal, head_only } => {
                self.reset_upstream(reset_code::MESSAGE_ERROR);
                self.service.counters.count_refusal(refusal.reason());
                self.answer(refusal.reply(), head_only).await;
            }
            End::Answered { reply, head_only } => {
                self.reset_upstream(reset_code::CANCELLED);
                self.answer(reply, head_only).await;
            }
            End::Broken { code } => {
                self.reset_upstream(code);
                self.client.begin();
            }
        }
    }

    async fn answer(&mut self, reply: LocalReply, head_only: bool) {
        self.client.begin();
        let bytes = reply.render(head_only);
        if matches!(
            timeout(REPLY_TIMEOUT, self.client.write_all(&bytes)).await,
            Ok(Ok(()))
        ) {
            self.linger().await;
        }
    }

    async fn linger(&mut self) {
        self.client.complete();
        if self.client_ended || self.client.shutdown().await.is_err() {
            return;
        }
        let client = &mut self.client;
        let mut room = [0; 4096];
        let mut left = LINGER_BYTES;
        // Whatever ends this, the connection is dropped next.
        let _ = timeout(LINGER_TIMEOUT, async {
            while let Ok(count @ 1..) = client.read(&mut room).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
        })
        .await;
    }
}
