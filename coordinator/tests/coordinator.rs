//! The coordinator on real SQLite files and real iroh endpoints on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "coordinator/running.rs"]
mod running;
#[path = "coordinator/support.rs"]
mod support;

#[path = "coordinator/approvals.rs"]
mod approvals;
#[path = "coordinator/audit.rs"]
mod audit;
#[path = "coordinator/certificates.rs"]
mod certificates;
#[path = "coordinator/control.rs"]
mod control;
#[cfg(debug_assertions)]
#[path = "coordinator/crash.rs"]
mod crash;
#[path = "coordinator/create.rs"]
mod create;
#[path = "coordinator/devices.rs"]
mod devices;
#[path = "coordinator/enroll.rs"]
mod enroll;
#[path = "coordinator/epoch.rs"]
mod epoch;
#[path = "coordinator/invitations.rs"]
mod invitations;
#[path = "coordinator/log.rs"]
mod log;
#[path = "coordinator/recovery.rs"]
mod recovery;
#[path = "coordinator/redemption.rs"]
mod redemption;
#[path = "coordinator/revocation.rs"]
mod revocation;
#[path = "coordinator/revocations.rs"]
mod revocations;
