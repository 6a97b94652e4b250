//! `GET /api/events`: what changes for the caller's user, as server-sent events.
//!
//! `id` is the event's number in this process; `Last-Event-ID` goes on from there. A follower that
//! missed events is told with `resync` and then sees those that are still known.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Principal;
use super::auth::CallerContext;
use crate::feed::{Feed, Others};
use crate::state::AgentState;

/// Between two comments when nothing happens: below the idle limits of proxies and browsers.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

struct Follower {
    feed: Arc<Feed>,
    moved: watch::Receiver<u64>,
    cursor: u64,
    first: bool,
    capped: bool,
    context: Arc<CallerContext>,
    stop: CancellationToken,
    revoked: CancellationToken,
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Extension(context): Extension<Arc<CallerContext>>,
    headers: HeaderMap,
) -> Response<Body> {
    let feed = state.feeds.of(principal.user_id);
    let last = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    let cursor = last
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| feed.last());
    let follower = Follower {
        moved: feed.subscribe(),
        feed,
        cursor,
        first: true,
        capped: principal.capped,
        revoked: context.caller.revoked(),
        context,
        stop: state.leaving.clone(),
    };
    let body = stream::unfold(follower, |mut follower| async move {
        let text = follower.next().await?;
        Some((
            Ok::<_, std::convert::Infallible>(Bytes::from(text)),
            follower,
        ))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Follower {
    /// Whether the device hears of a change, by the rights that it has now; `None` when it has none.
    fn hears(&self, only: Option<Others>) -> Option<bool> {
        let Some(others) = only else {
            return Some(true);
        };
        let principal = self.context.principal(self.capped).ok()?;
        Some(others.include(principal.role, &principal.scopes))
    }

    /// The next piece; `None` when the device is cut off or the agent goes.
    async fn next(&mut self) -> Option<String> {
        if std::mem::take(&mut self.first) {
            // Lets the client know at once that the stream stands.
            return Some(": following\n\n".to_owned());
        }
        loop {
            self.moved.mark_unchanged();
            let (events, missed) = self.feed.after(self.cursor);
            if let Some(last) = events.last() {
                self.cursor = last.number;
                let mut text = String::new();
                if missed {
                    text.push_str("event: resync\ndata: {}\n\n");
                }
                for event in events {
                    if !self.hears(event.only)? {
                        continue;
                    }
                    let data = serde_json::to_string(event.as_ref()).unwrap_or_default();
                    text.push_str(&format!(
                        "id: {}\nevent: resource_event\ndata: {data}\n\n",
                        event.number
                    ));
                }
                if text.is_empty() {
                    continue;
                }
                return Some(text);
            }
            if missed {
                self.cursor = self.feed.last();
                return Some("event: resync\ndata: {}\n\n".to_owned());
            }
            tokio::select! {
                biased;
                () = self.revoked.cancelled() => return None,
                () = self.stop.cancelled() => return None,
                moved = self.moved.changed() => moved.ok()?,
                () = tokio::time::sleep(HEARTBEAT) => {
                    // A certificate may run out while nothing happens.
                    self.context.caller.authorize().ok()?;
                    return Some(": heartbeat\n\n".to_owned());
                }
            }
        }
    }
}
