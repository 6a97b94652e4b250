//! The tests of homing-certs, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on must fail"
)]

mod certificates;
mod clocks;
mod lessons;
mod limits;
mod log_merge;
mod properties;
mod roles;
mod support;
mod tickets;
mod vectors;
mod wycheproof;
