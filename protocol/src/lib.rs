//! The words that homing's programs say to each other: ALPNs, close codes, framing limits and the
//! JSON types of every exchange.
//!
//! Types only. Nothing here opens a socket, reads a clock or knows a runtime; `transport` moves
//! these values and the services give them meaning. Signed documents travel inside as opaque bytes
//! ([`Document`]) and are read by `homing-certs` alone.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod alpn;
pub mod close;
pub mod control;
pub mod enroll;
pub mod error;
pub mod frame;
pub mod gateway;
pub mod local;
pub mod revocations;
pub mod text;
pub mod version;

pub use error::ErrorBody;
pub use text::Document;
