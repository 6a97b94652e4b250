//! The agent: gateway, sessions, engine and store.
//!
//! Inner floors, arrows point down only: `gateway` (the only place with HTTP words) → services
//! (`sessions`, `approvals`, `models`, `mcp`, `files`, `audit`, `feed`, `connections`, `system`) →
//! engine (`turn`, `turn_driver`, `prompt`, `hooks`, `providers`, `tools`) → `store` (SQLite). Connections, admission and trust come from
//! `homing-transport`; the gateway meets them through the small trait [`gateway::Caller`].

#![forbid(unsafe_code)]

mod agent;
pub mod approvals;
pub mod attachments;
pub mod audit;
pub mod budgets;
pub mod calendar;
pub mod clock;
pub mod config;
pub mod configuration;
pub mod confine;
pub mod confirmed_time;
pub mod connections;
pub mod context_report;
pub mod denied;
pub mod enrolment;
pub mod feed;
pub mod files;
pub mod gateway;
pub mod hooks;
pub mod idempotency;
pub mod limits;
pub mod mcp;
pub mod models;
pub mod policy;
pub mod prompt;
pub mod providers;
pub mod revoking;
pub mod sessions;
pub mod state;
pub mod store;
pub mod system;
pub mod tools;
pub mod turn;
pub mod turn_driver;
mod updates;

pub use agent::{Agent, AgentConfig, AgentError, AgentHandle, DenyError};
pub use config::AgentSettings;
pub use gateway::{Caller, Gateway};
pub use state::AgentState;
