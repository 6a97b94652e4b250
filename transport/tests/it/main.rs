//! Real iroh endpoints on loopback: admission, revocation, streams, the pool.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod admission;
mod kit;
mod pool;
mod relay;
mod streams;
mod trust;
