//! Loopback HTTP for unmodified clients: curl, browsers and SDKs on this device reach an agent
//! through `http://127.0.0.1:<port>`, and nobody else on the machine and no web page does.
//!
//! The crate owns the listeners, the check of who connects, the guard on every request head and
//! the HTTP/1.1 relay (one upstream stream per accepted connection). It does not own the way to
//! the agent: that is an [`Upstream`], which opens byte streams that speak HTTP/1.1.
//!
//! Every request reaches the agent with `homing-local: capped` or `homing-local: token` as its
//! first header. It is a narrowing and no identity: the identity is the device's certificate on
//! the connection that carries the stream.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test stops where it fails")
)]

mod address;
mod body;
mod buffer;
mod client;
mod counters;
mod forward;
mod guard;
mod head;
mod limits;
mod listener;
mod local_reply;
mod owner;
mod proxy;
mod rate;
mod refusal;
mod response;
mod rewrite;
mod token;
mod unix_socket;
mod upstream;

pub use address::{LoopbackAddr, NotLoopback};
pub use counters::{Counters, CountersSnapshot, RefusedSnapshot};
pub use limits::ProxyLimits;
pub use proxy::{BindError, Proxy, ProxyAuth, ProxyConfig, RunError};
pub use token::{TOKEN_PREFIX, TokenError, WEBSOCKET_TOKEN_PREFIX};
pub use unix_socket::UnixSocketError;
pub use upstream::{Upstream, UpstreamError, UpstreamStream};
