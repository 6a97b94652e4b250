//! The agent's services behind its gateway, without a network: each test has its own directory,
//! database and trust state, and calls through the same service that a QUIC stream would.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]
#![allow(
    missing_debug_implementations,
    reason = "test fixtures are never printed"
)]

mod approvals;
mod attachments;
mod audit;
mod clients;
mod config;
mod confine;
mod context;
mod contract;
mod coverage;
mod engine;
mod fakes;
mod files;
mod hooks;
mod idempotency;
mod injected;
mod liveness;
mod mcp;
mod mcp_server;
mod models;
mod network;
mod obedient;
mod provider_faults;
mod providers;
mod refusals;
mod resources;
mod rig;
mod rpc;
mod scripted;
mod sessions;
mod snapshots;
mod store;
mod tools;
mod usage;
mod v1;
mod websocket;
