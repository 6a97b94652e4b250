//! Framed messages on a QUIC stream: reading and writing what `homing_protocol::frame` describes.

use std::time::Duration;

use homing_protocol::frame::{self, FrameError, MAX_FRAME, PREFIX_LEN};
use iroh::endpoint::{ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a message could not be moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameIoError {
    /// The message does not fit, or is not what was expected.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer ended the stream inside a message.
    #[error("the stream ended inside a message")]
    Truncated,
    /// No message came in time.
    #[error("no message came within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The peer finished where a message was expected.
    #[error("the stream ended where a message was expected")]
    Ended,
    /// The stream or its connection failed while reading.
    #[error("the stream failed while reading")]
    Read(#[source] ReadExactError),
    /// The stream or its connection failed while writing.
    #[error("the stream failed while writing")]
    Write(#[source] WriteError),
}

/// Sending half.
#[derive(Debug)]
pub struct FrameSender {
    send: SendStream,
    limit: usize,
}

/// Receiving half.
#[derive(Debug)]
pub struct FrameReceiver {
    recv: RecvStream,
    limit: usize,
}

/// Both halves.
#[derive(Debug)]
pub struct FrameStream {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl FrameStream {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            sender: FrameSender {
                send,
                limit: MAX_FRAME,
            },
            receiver: FrameReceiver {
                recv,
                limit: MAX_FRAME,
            },
        }
    }

    /// Sets the largest frame, in bytes, both ways.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.sender.limit = limit;
        self.receiver.limit = limit;
        self
    }

    /// Writes one message.
    ///
    /// # Errors
    /// [`FrameIoError`].
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), FrameIoError> {
        self.sender.send(message).await
    }

    /// Reads one message; `None` when the peer has finished.
    ///
    /// # Errors
    /// [`FrameIoError`].
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameIoError> {
        self.receiver.recv().await
    }

    /// Reads one message that must come within `limit`.
    ///
    /// # Errors
    /// [`FrameIoError`], [`FrameIoError::Ended`] when the peer has finished.
    pub async fn recv_within<T: DeserializeOwned>(
        &mut self,
        limit: Duration,
    ) -> Result<T, FrameIoError> {
        match tokio::time::timeout(limit, self.recv()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(FrameIoError::Ended),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(FrameIoError::Timeout(limit)),
        }
    }

    /// Ends the sending half cleanly.
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// The two halves.
    #[must_use]
    pub fn split(self) -> (FrameSender, FrameReceiver) {
        (self.sender, self.receiver)
    }
}

impl FrameSender {
    /// Writes one message.
    ///
    /// # Errors
    /// [`FrameIoError`].
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), FrameIoError> {
        let bytes = frame::encode(message, self.limit)?;
        self.send_encoded(&bytes).await
    }

    /// Writes a frame that was encoded before, so that one encoding serves many peers.
    ///
    /// # Errors
    /// [`FrameIoError::Write`].
    pub async fn send_encoded(&mut self, bytes: &[u8]) -> Result<(), FrameIoError> {
        self.send
            .write_all(bytes)
            .await
            .map_err(FrameIoError::Write)
    }

    /// Raises this stream above the others of its connection.
    pub fn prioritise(&self) {
        // Fails only on a stream that has ended already.
        let _ = self.send.set_priority(1);
    }

    /// Ends the stream cleanly.
    pub fn finish(&mut self) {
        // Fails only on a stream that has ended already.
        let _ = self.send.finish();
    }

    /// Ends the stream as failed.
    pub fn reset(&mut self, code: u32) {
        // Fails only on a stream that has ended already.
        let _ = self.send.reset(VarInt::from_u32(code));
    }
}

impl FrameReceiver {
    /// Reads one message; `None` when the peer has finished. Not cancel safe: a message of which a
    /// part was read is lost.
    ///
    /// # Errors
    /// [`FrameIoError`].
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameIoError> {
        let mut prefix = [0; PREFIX_LEN];
        match self.recv.read_exact(&mut prefix).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
            Err(ReadExactError::FinishedEarly(_)) => return Err(FrameIoError::Truncated),
            Err(error) => return Err(FrameIoError::Read(error)),
        }
        let length = frame::payload_len(prefix, self.limit)?;
        let mut payload = vec![0; length];
        match self.recv.read_exact(&mut payload).await {
            Ok(()) => Ok(Some(frame::decode(&payload)?)),
            Err(ReadExactError::FinishedEarly(_)) => Err(FrameIoError::Truncated),
            Err(error) => Err(FrameIoError::Read(error)),
        }
    }
}
