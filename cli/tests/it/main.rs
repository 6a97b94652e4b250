//! The whole program: the real binary, two data directories, real curl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where it fails"
)]
#![allow(
    clippy::print_stderr,
    reason = "a test that fails shows the logs of its processes"
)]

mod approvals;
mod bodies;
mod browser;
mod chat;
mod clocks;
mod config;
mod confined;
mod contract;
mod crash;
mod examples;
mod fault_map;
mod floors;
mod hosts;
mod kit;
mod machine;
mod mcp;
mod models;
mod pty;
mod recovery;
mod revoking;
mod sdk;
mod split;
mod story;
mod tickets;
mod users;
