//! Everything between a signed certificate and a byte of HTTP: the iroh endpoint, admission of
//! devices, framed messages, byte streams, and the pool that keeps one connection to an agent.
//!
//! Owns connections and their life. It does not own files, SQLite or HTTP routes; whoever needs a
//! document kept on disk is told through [`Trust`] and the reports of the client half. The client
//! half ([`dial`], [`pool`], [`enrolling`], [`controlling`]) opens no socket of its own.

#![warn(missing_docs)]

pub mod admission;
pub mod backoff;
pub mod clock;
pub mod connection;
pub mod controlling;
pub mod crash;
pub mod credentials;
pub mod dial;
pub mod endpoint;
pub mod enrolling;
pub mod frames;
pub mod http;
pub mod pool;
pub mod registry;
pub mod renewing;
pub mod server;
pub mod stream;
pub mod trust;

pub use connection::{Closed, Connection, PathKind, PathReport, WeakConnection};
pub use endpoint::{BindError, Endpoint, EndpointConfig, Relay};
pub use frames::{FrameIoError, FrameReceiver, FrameSender, FrameStream};
pub use registry::Registry;
pub use server::{Protocol, Server, ServerLimits};
pub use stream::ByteStream;
pub use trust::{Trust, TrustError};
