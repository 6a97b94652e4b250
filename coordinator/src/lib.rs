//! The coordinator of one network: invitations, certificates, the device list, the revocation log.
//!
//! [`Authority`] decides and stores; [`Coordinator`] lets devices and agents ask it over QUIC and
//! pushes the log. Formats and their verification are `homing-certs`, messages `homing-protocol`,
//! connections `homing-transport`.

pub mod authority;
pub mod coordinator;
mod files;
mod limits;
mod moment;
pub mod writer;

pub use authority::Authority;
pub use coordinator::{ALPNS, Coordinator, CoordinatorConfig, CoordinatorHandle};
pub use moment::Moment;
pub use writer::AuthorityHandle;
