//! The proxy as its clients see it: real sockets, real curl, a real hyper server as the agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where it fails"
)]
#![allow(clippy::print_stderr, reason = "a test that cannot run says why")]

mod agent;
mod curl;
mod harness;
mod lifecycle;
mod refusals;
mod relay;
mod slow;
mod who_connects;
