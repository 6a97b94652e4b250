//! Who may do what. Pure: rows in, a verdict out; deny by default.
//!
//! Rights are those of the device's row at this moment: its role's ceiling and its scopes together.
//! Roles have no order, so every rule names the roles that it means.

use homing_certs::{KNOWN_SCOPES, NodeId, Role, Scopes, UserId, effective_rights};

use super::refusal::Refusal;

/// What a device of the inviter's own user gets when nothing is asked for.
pub const OWN_DEVICE_SCOPES: &[&str] = &[
    "chat",
    "status.read",
    "terminal",
    "jobs",
    "files",
    "vault",
    "tasks",
    "workflows",
    "messages",
    "push",
    "exec.approve",
];

/// What a device of another user gets when nothing is asked for.
pub const GUEST_DEVICE_SCOPES: &[&str] = &["chat", "status.read", "messages", "push"];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The owner, on the coordinator's host: control socket, or the files when nothing runs.
    Local,
    /// The device that holds this key, proved by TLS.
    Device(NodeId),
}

/// A caller with the rights of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// `None` for the owner on the host.
    pub(crate) node_id: Option<NodeId>,
    pub(crate) user_id: UserId,
    pub(crate) handle: String,
    pub(crate) role: Role,
    pub(crate) rights: Scopes,
    /// An admin's device for which this agent asks.
    pub(crate) on_behalf_of: Option<NodeId>,
}

/// What the rules need to know of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) node_id: NodeId,
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
}

/// What a new device would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant<'a> {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    pub(crate) scopes: &'a Scopes,
}

/// Everything that an owner's device may be given.
#[must_use]
pub fn owner_scopes() -> Scopes {
    // Fewer than a certificate may list, and all well-formed; a test holds that.
    Scopes::new(KNOWN_SCOPES.iter().copied()).unwrap_or_default()
}

/// What a new device gets when nothing is asked for: by role, and by whose device it is.
#[must_use]
pub fn default_scopes(role: Role, own_user: bool) -> Scopes {
    let names = match (role, own_user) {
        (Role::Admin, true) => KNOWN_SCOPES,
        (Role::Client, true) => OWN_DEVICE_SCOPES,
        (Role::Admin | Role::Client, false) => GUEST_DEVICE_SCOPES,
        (Role::Node | Role::Agent, _) => &["status.read"],
        (Role::Bridge, _) => &["chat"],
    };
    Scopes::new(names.iter().copied()).unwrap_or_default()
}

impl Actor {
    pub(crate) fn is_local(&self) -> bool {
        self.node_id.is_none()
    }

    /// Own devices, or all with `devices.read`. What may not be seen does not exist for the caller.
    pub(crate) fn may_see(&self, target: &Target) -> bool {
        self.is(target)
            || (self.is_person() && self.user_id == target.user_id)
            || self.may_see_all()
    }

    /// Who revokes devices of others must be able to name them.
    pub(crate) fn may_see_all(&self) -> bool {
        self.is_local()
            || self.rights.contains("devices.read")
            || self.rights.contains("devices.revoke")
    }

    /// Itself, the own user's clients, everything of the own user for its admins; the rest with
    /// `devices.revoke`. A stolen phone cannot lock out the owner's admin device or the agent.
    pub(crate) fn may_revoke(&self, target: &Target) -> Result<(), Refusal> {
        if self.on_behalf_of.is_some() && self.is(target) {
            return Err(forbidden(
                "an agent does not revoke itself for anybody",
                "run `homing revoke` on an admin's device or on the coordinator's host",
            ));
        }
        // An agent's own word revokes nobody else.
        let passed_on = self.role != Role::Agent || self.on_behalf_of.is_some();
        let by_scope = passed_on && self.rights.contains("devices.revoke");
        let allowed = self.is_local() || self.governs_own(target) || by_scope;
        allowed.then_some(()).ok_or_else(|| {
            forbidden(
                "revoking this device needs the scope devices.revoke",
                "run `homing revoke` on the coordinator's host",
            )
        })
    }

    /// Whether the caller may revoke what an admin's device asked it to. Only an agent passes anything
    /// on, only with `devices.revoke`, and only for a device that may do it itself: an agent that was
    /// broken into cannot act for everybody who ever spoke with it.
    pub(crate) fn may_pass_on_revocations(&self, principal: &Self) -> Result<(), Refusal> {
        let agent = self.role == Role::Agent && self.rights.contains("devices.revoke");
        if self.is_local() || !agent {
            return Err(forbidden(
                "revoking for somebody else needs an agent with the scope devices.revoke",
                "run `homing revoke` on an admin's device; the agent that `homing up` makes has the scope",
            ));
        }
        let admin = principal.role == Role::Admin && principal.rights.contains("devices.revoke");
        admin.then_some(()).ok_or_else(no_principal)
    }

    /// Itself and the own user's clients; an admin renames all. Clients pin agents by name, so a
    /// phone must not be able to swap two of them.
    pub(crate) fn may_rename(&self, target: &Target) -> Result<(), Refusal> {
        let allowed = self.is_local() || self.role == Role::Admin || self.governs_own(target);
        allowed.then_some(()).ok_or_else(|| {
            forbidden(
                "renaming this device needs the role admin",
                "ask an admin, or do it on the coordinator's host",
            )
        })
    }

    /// Whether the caller may enrol a device like this: asked at issue, at redemption and at approval.
    pub(crate) fn may_grant(&self, grant: &Grant<'_>) -> Result<(), Refusal> {
        for scope in grant.scopes.iter() {
            if !KNOWN_SCOPES.contains(&scope) {
                return Err(Refusal::BadScope {
                    scope: scope.to_owned(),
                });
            }
            if !grant.role.permits(scope) {
                return Err(Refusal::AboveCeiling {
                    role: grant.role,
                    scope: scope.to_owned(),
                });
            }
        }
        if self.is_local() {
            return Ok(());
        }
        if !self.rights.contains("invite") {
            return Err(forbidden(
                "inviting needs the scope invite",
                "invite on the coordinator's host, or from a device with that scope",
            ));
        }
        if self.role != Role::Admin && grant.role != Role::Client {
            return Err(forbidden(
                &format!(
                    "inviting a device of role {} needs the role admin",
                    grant.role
                ),
                "leave --role out, or invite from an admin device",
            ));
        }
        if self.role != Role::Admin && grant.user_id != self.user_id {
            return Err(forbidden(
                "inviting a device of another user needs the role admin",
                "leave --user out, or invite from an admin device",
            ));
        }
        let granted = effective_rights(grant.role, grant.scopes);
        if let Some(scope) = granted.iter().find(|scope| !self.rights.contains(scope)) {
            return Err(forbidden(
                &format!("this device does not have {scope} itself, so it cannot pass it on"),
                "leave the scope out, or invite from a device that has it",
            ));
        }
        Ok(())
    }

    /// Whether the caller may let people in without a second look.
    pub(crate) fn may_skip_approval(&self) -> Result<(), Refusal> {
        let allowed = self.is_local() || self.role == Role::Admin;
        allowed.then_some(()).ok_or_else(|| {
            forbidden(
                "--no-approve needs the role admin",
                "leave --no-approve out",
            )
        })
    }

    fn governs_own(&self, target: &Target) -> bool {
        let own_user = self.user_id == target.user_id;
        self.is(target)
            || (own_user && self.role == Role::Admin)
            || (own_user && self.role == Role::Client && target.role == Role::Client)
    }

    fn is(&self, target: &Target) -> bool {
        self.node_id == Some(target.node_id)
    }

    fn is_person(&self) -> bool {
        matches!(self.role, Role::Client | Role::Admin)
    }
}

/// Says the same of a device that may not, is revoked or was never here.
pub(crate) fn no_principal() -> Refusal {
    forbidden(
        "the device for which this is asked may not revoke devices",
        "ask from an admin's device with the scope devices.revoke",
    )
}

fn forbidden(what: &str, hint: &str) -> Refusal {
    Refusal::Forbidden {
        what: what.to_owned(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests;
