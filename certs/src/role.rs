//! Roles and their ceilings. Owns what a role may have at most; what it does have, the scopes say.

use std::fmt;
use std::str::FromStr;

use crate::scopes::{Scopes, covers};

/// What kind of peer a certificate is for. Roles have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// A person's device.
    Client = 0,
    /// A headless machine lent to the network.
    Node = 1,
    /// A bridge to a messenger.
    Bridge = 2,
    /// An agent.
    Agent = 3,
    /// A device that administers the network.
    Admin = 4,
}

/// Every scope that has a meaning today.
pub const KNOWN_SCOPES: &[&str] = &[
    "audit.read",
    "chat",
    "config.read",
    "config.write",
    "devices.read",
    "devices.revoke",
    "exec.approve",
    "exec.request",
    "files",
    "invite",
    "jobs",
    "mcp",
    "messages",
    "models",
    "push",
    "status.read",
    "tasks",
    "terminal",
    "vault",
    "vault.read",
    "vault.write",
    "workflows",
];

/// All but config.write, models, mcp and devices.revoke: a device of one user must not change
/// what holds for everyone.
const CLIENT_SCOPES: &[&str] = &[
    "audit.read",
    "chat",
    "config.read",
    "devices.read",
    "exec.approve",
    "exec.request",
    "files",
    "invite",
    "jobs",
    "messages",
    "push",
    "status.read",
    "tasks",
    "terminal",
    "vault",
    "workflows",
];

/// The most that a role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// No limit.
    All,
    /// These scopes and what is below them.
    Only(&'static [&'static str]),
}

impl Ceiling {
    /// Whether the ceiling leaves `scope`.
    pub fn permits(&self, scope: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.iter().any(|grant| covers(grant, scope)),
        }
    }
}

impl Role {
    /// All roles, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Client,
        Self::Node,
        Self::Bridge,
        Self::Agent,
        Self::Admin,
    ];

    /// The most that this role may do.
    pub fn ceiling(self) -> Ceiling {
        match self {
            Self::Client => Ceiling::Only(CLIENT_SCOPES),
            Self::Node => Ceiling::Only(&["status.read"]),
            Self::Bridge => Ceiling::Only(&["chat"]),
            Self::Agent => Ceiling::Only(&["devices.revoke", "status.read"]),
            Self::Admin => Ceiling::All,
        }
    }

    /// Whether the role's ceiling leaves `scope`.
    pub fn permits(self, scope: &str) -> bool {
        self.ceiling().permits(scope)
    }

    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Node => "node",
            Self::Bridge => "bridge",
            Self::Agent => "agent",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|role| *role as u64 == number)
    }
}

/// What a peer may do: its role's ceiling and its scopes together.
pub fn effective_rights(role: Role, scopes: &Scopes) -> Scopes {
    match role.ceiling() {
        Ceiling::All => scopes.clone(),
        Ceiling::Only(list) => scopes.intersect_names(list.iter().copied()),
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: client, node, bridge, agent or admin")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
