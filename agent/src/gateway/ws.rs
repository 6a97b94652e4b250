//! `/ws`: conversations over a WebSocket, JSON in text frames.
//!
//! One task per socket with two halves side by side: the reader takes frames and acts, the writer sends
//! replies and follows the logs of the open sessions. Between them is one bounded channel. Nothing is
//! queued for a slow client: the writer keeps a cursor per session and reads on when the client does.

mod attached;
mod commands;
mod frames;
mod listen;
mod reader;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio::sync::mpsc;

use super::auth::{CallerContext, is_capped};
use super::error::ApiError;
use super::routes::{Class, Need};
use super::{Principal, rpc};
use crate::audit::{Decision, Kind};
use crate::state::AgentState;

pub(super) use frames::{ServerFrame, event_frame};
pub(super) use listen::Listener;
pub(super) use writer::Outgoing;

/// Largest message from a client, in bytes.
const MAX_FRAME: usize = 1 << 20;
/// Where the WebSocket layer itself gives up. Above [`MAX_FRAME`], so that a message that is a little
/// too large is read to its end and answered with a proper close.
const HARD_LIMIT: usize = 2 * MAX_FRAME;
/// Bytes read at once. Frames of people are short, and every open socket holds this much.
const READ_BUFFER: usize = 8 << 10;
/// Bytes collected before they are written; a burst of deltas becomes one write.
const WRITE_BUFFER: usize = 16 << 10;
/// Bytes that may wait in the socket's buffer: the largest frame that we send, twice.
const MAX_WRITE_BUFFER: usize = 4 << 20;
/// Replies that may wait for the writer; the reader stops reading beyond that.
const REPLIES: usize = 64;
/// How long the last frame may take to leave.
const FLUSH: Duration = Duration::from_millis(100);
/// How long the client may take to answer a close that is not a revocation.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a client may offer as `Sec-WebSocket-Protocol`. A browser that carries the local proxy's token
/// there has to: it takes no connection on which none of its offers was selected.
pub const SUBPROTOCOL: &str = "homing.v1";

/// Close codes of `/ws`.
pub mod close_code {
    /// The agent is going away (RFC 6455).
    pub const GOING_AWAY: u16 = 1001;
    /// The device was revoked.
    pub const REVOKED: u16 = 4003;
    /// The certificate or its scopes do not allow the socket any more, or the client broke the rules.
    pub const POLICY: u16 = 4008;
    /// A message was above the limit.
    pub const TOO_LARGE: u16 = 4013;
}

/// What is spoken on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Frames of conversations: `/ws`.
    Conversations,
    /// Calls and their answers: `/rpc`.
    Calls,
}

/// One socket.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    pub(super) state: Arc<AgentState>,
    pub(super) context: Arc<CallerContext>,
    protocol: Protocol,
    capped: bool,
}

/// Why a socket ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client has gone.
    Gone,
    /// Nothing was heard for too long.
    Dead,
    /// Closed with a code and a reason.
    Close(u16, String),
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(context): Extension<Arc<CallerContext>>,
    Extension(principal): Extension<Arc<Principal>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let capped = principal.capped || is_capped(&headers);
    open(Protocol::Conversations, state, context, capped, upgrade)
}

/// Answers with a socket on which `protocol` is spoken.
pub(super) fn open(
    protocol: Protocol,
    state: Arc<AgentState>,
    context: Arc<CallerContext>,
    capped: bool,
    upgrade: WebSocketUpgrade,
) -> Response {
    let socket = Socket {
        state: state.clone(),
        context,
        protocol,
        capped,
    };
    let token = state.tasks.token();
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(HARD_LIMIT)
        .max_frame_size(HARD_LIMIT)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .on_upgrade(move |websocket| async move {
            socket.run(websocket).await;
            drop(token);
        })
}

impl Socket {
    /// Why the device was cut: only the coordinator's signed word is `revoked`.
    fn cut(&self) -> Ending {
        if self.state.denied.contains(&self.context.caller.node_id()) {
            return Ending::Close(close_code::POLICY, "forbidden".to_owned());
        }
        Ending::Close(close_code::REVOKED, "revoked".to_owned())
    }

    async fn run(self, websocket: WebSocket) {
        let revoked = self.context.caller.revoked();
        let leaving = self.state.leaving.clone();
        let (mut sink, mut stream) = websocket.split();
        let (replies, waiting) = mpsc::channel(REPLIES);
        let ending = tokio::select! {
            biased;
            () = revoked.cancelled() => self.cut(),
            () = leaving.cancelled() => Ending::Close(close_code::GOING_AWAY, "draining".to_owned()),
            ending = self.listen(&mut stream, replies) => ending,
            ending = writer::write(&self, &mut sink, waiting) => ending,
        };
        let (code, reason) = match ending {
            Ending::Gone => return,
            Ending::Dead => (close_code::POLICY, "silent".to_owned()),
            Ending::Close(code, reason) => (code, reason),
        };
        let frame = Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }));
        let sent = tokio::time::timeout(FLUSH, sink.send(frame)).await;
        if !matches!(sent, Ok(Ok(()))) || code == close_code::REVOKED {
            // A revoked device gets no more than the flush; its connection is being cut anyway.
            let rest = async { while let Some(Ok(_)) = stream.next().await {} };
            let _ = tokio::time::timeout(FLUSH, rest).await;
            return;
        }
        // Dropping the stream at once could overtake the close frame; the client's answer shows that
        // it arrived.
        let answer = async {
            while let Some(Ok(_)) = stream.next().await {}
            if code == close_code::TOO_LARGE {
                // The layer reads no more after a message above its limit, so there is no answer to
                // wait for, only time for the frame to arrive.
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, answer).await;
    }

    async fn listen(
        &self,
        stream: &mut SplitStream<WebSocket>,
        replies: mpsc::Sender<Outgoing>,
    ) -> Ending {
        match self.protocol {
            Protocol::Conversations => {
                listen::listen(self, stream, reader::Reader::new(self, replies)).await
            }
            Protocol::Calls => listen::listen(self, stream, rpc::Caller::new(self, replies)).await,
        }
    }

    /// What the gate in front of the routes does for a request, for one frame or call. A line of the
    /// audit log names `surface` and `name`.
    pub(super) async fn gate(
        &self,
        principal: &Principal,
        (surface, name): (&'static str, &'static str),
        need: Need,
        class: Class,
    ) -> Result<(), ApiError> {
        let state = &self.state;
        let scope = match need {
            Need::Scope(scope) => scope,
            Need::Admitted => "",
        };
        let entry = |kind| principal.entry(kind).call(surface, name).capability(scope);
        let now = Instant::now();
        match class {
            Class::Read => state.limits.read(principal.node_id, now)?,
            Class::Write => state.limits.write(principal.node_id, now)?,
            Class::Run => state
                .limits
                .run(principal.node_id, principal.user_id, now)?,
            Class::Stop => {}
        }
        if let Err(error) = self.context.check(principal, need) {
            let refused = entry(Kind::Refused).decision(Decision::Refused);
            state
                .audit
                .note(refused.detail("code", error.code.as_ref()));
            return Err(error);
        }
        let allowed = entry(Kind::Call).decision(Decision::Allowed);
        match class {
            Class::Read => {}
            Class::Stop => state.audit.note(allowed),
            Class::Write | Class::Run => state.audit.record(allowed).await.map_err(|error| {
                tracing::error!(%error, "a frame was refused because it could not be audited");
                ApiError::audit_unavailable()
            })?,
        }
        Ok(())
    }

    /// The principal at this moment, or how the socket ends.
    pub(super) fn principal(&self) -> Result<Arc<Principal>, Ending> {
        self.context.principal(self.capped).map_err(|error| {
            let code = error.code().as_str();
            let close = if code == "revoked" {
                close_code::REVOKED
            } else {
                close_code::POLICY
            };
            Ending::Close(close, code.to_owned())
        })
    }
}
