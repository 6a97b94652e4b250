//! Invitations: issue. Their redemption has its own module.

use homing_certs::{InviteId, NodeId, Role, Scopes, Ticket, TicketSecret};
use homing_protocol::control::{InvitationInfo, InviteRequest};
use homing_protocol::gateway::Reach;
use rusqlite::params;

use super::Authority;
use super::change::Change;
use super::database::int;
use super::devices::{is_name, shown};
use super::keys::random;
use super::refusal::{AuthorityError, Refusal};
use super::rights::{Actor, Caller, Grant, default_scopes};
use crate::moment::Moment;

/// Life of a ticket when none is asked for: long enough to pick up the phone.
pub const DEFAULT_TICKET_SECS: u64 = 600;
/// Longest life of a ticket for a person's device.
pub const MAX_TICKET_SECS: u64 = 86_400;
/// Longest life of a ticket for an agent or node, which somebody may have to install first.
pub const MAX_MACHINE_TICKET_SECS: u64 = 7 * 86_400;
/// Most open invitations of one inviter: more than a family adds in a day.
pub const MAX_OPEN_INVITATIONS: usize = 64;

impl Authority {
    /// Makes an invitation. `reach` says where the coordinator is, for the ticket.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn invite(
        &mut self,
        caller: Caller,
        request: &InviteRequest,
        reach: &Reach,
        now: Moment,
    ) -> Result<InvitationInfo, AuthorityError> {
        let invite_id = InviteId::from(random::<8>()?);
        let secret = TicketSecret::from(random::<16>()?);
        let target = invite_id.to_string();
        self.decide(caller, "invite", &target, now, |change, actor| {
            // What cannot be redeemed is not handed out.
            change.signing_time()?;
            let role = request.role.unwrap_or(Role::Client);
            let handle = request.user.as_deref().unwrap_or(&actor.handle);
            let own_user = handle == actor.handle;
            let user_id = if own_user {
                actor.user_id
            } else {
                change.user_for(handle)?
            };
            let scopes = wanted_scopes(request, role, own_user, actor)?;
            actor.may_grant(&Grant {
                user_id,
                role,
                scopes: &scopes,
            })?;
            let name = request.name.as_deref();
            if let Some(name) = name.filter(|name| !is_name(name)) {
                return Err(Refusal::BadName { name: shown(name) }.into());
            }
            let life = ticket_life(request, role)?;
            let approval = approval(request, role, life, actor)?;
            check_open(change, actor)?;
            let expires_at = change.time().saturating_add(life);
            change
                .tx
                .prepare_cached(
                    "INSERT INTO invitations (id, secret_hash, name, role, scopes, user_id,
                        inviter, created_at, expires_at, approval)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    invite_id.as_bytes(),
                    secret.digest(),
                    name,
                    role.as_str(),
                    scopes.to_string(),
                    user_id.as_bytes(),
                    actor.node_id.as_ref().map(|id| *id.as_bytes()),
                    int(change.time().0),
                    int(expires_at.0),
                    approval,
                ])?;
            let ticket = Ticket {
                coordinator: reach.node_id,
                network_id: change.state().network_id(),
                invite_id,
                secret: secret.clone(),
                relay: reach.relay.clone(),
                addresses: reach.addresses.clone(),
            };
            Ok(InvitationInfo {
                ticket: ticket.encode(),
                invite_id: invite_id.to_string(),
                name: name.map(str::to_owned),
                role,
                scopes: scopes.iter().map(str::to_owned).collect(),
                user: handle.to_owned(),
                expires_at: expires_at.0,
                approval,
            })
        })
    }
}

impl Change<'_> {
    /// Withdraws what a device has invited and nobody has redeemed.
    pub(crate) fn void_invitations_of(&self, inviter: &NodeId) -> Result<usize, rusqlite::Error> {
        self.tx
            .prepare_cached(
                "UPDATE invitations SET voided_at = ?2
                 WHERE inviter = ?1 AND used_at IS NULL AND voided_at IS NULL",
            )?
            .execute(params![inviter.as_bytes(), int(self.time().0)])
    }

    /// Withdraws all that nobody has redeemed.
    pub(crate) fn void_all_invitations(&self) -> Result<usize, rusqlite::Error> {
        self.tx
            .prepare_cached(
                "UPDATE invitations SET voided_at = ?1 WHERE used_at IS NULL AND voided_at IS NULL",
            )?
            .execute(params![int(self.time().0)])
    }
}

fn wanted_scopes(
    request: &InviteRequest,
    role: Role,
    own_user: bool,
    actor: &Actor,
) -> Result<Scopes, Refusal> {
    let Some(wanted) = &request.scopes else {
        let defaults = default_scopes(role, own_user);
        // A default is no wish: what the inviter lacks is left out without a complaint.
        let passes = |scope: &&str| actor.is_local() || actor.rights.contains(scope);
        return Ok(Scopes::new(defaults.iter().filter(passes)).unwrap_or_default());
    };
    Scopes::new(wanted.iter().cloned()).map_err(|error| match error {
        homing_certs::ScopeError::Invalid { scope } => Refusal::BadScope {
            scope: shown(&scope),
        },
        homing_certs::ScopeError::TooMany { count } => Refusal::BadScope {
            scope: format!("{count} scopes"),
        },
    })
}

fn ticket_life(request: &InviteRequest, role: Role) -> Result<u64, Refusal> {
    let max = match role {
        Role::Agent | Role::Node => MAX_MACHINE_TICKET_SECS,
        Role::Client | Role::Bridge | Role::Admin => MAX_TICKET_SECS,
    };
    let life = request.ttl_seconds.unwrap_or(DEFAULT_TICKET_SECS);
    if (1..=max).contains(&life) {
        Ok(life)
    } else {
        Err(Refusal::BadLife { role, max })
    }
}

// Only a client's short ticket, handed over in person, goes without a second look.
fn approval(
    request: &InviteRequest,
    role: Role,
    life: u64,
    actor: &Actor,
) -> Result<bool, Refusal> {
    let by_rule = role != Role::Client || life > DEFAULT_TICKET_SECS;
    match request.approve {
        Some(false) if by_rule => actor.may_skip_approval().map(|()| false),
        Some(wanted) => Ok(wanted),
        None => Ok(by_rule),
    }
}

fn check_open(change: &Change<'_>, actor: &Actor) -> Result<(), AuthorityError> {
    let open: i64 = change
        .tx
        .prepare_cached(
            "SELECT count(*) FROM invitations WHERE inviter IS ?1 AND used_at IS NULL
             AND burned_at IS NULL AND voided_at IS NULL AND expires_at > ?2",
        )?
        .query_row(
            params![
                actor.node_id.as_ref().map(|id| *id.as_bytes()),
                int(change.time().0)
            ],
            |row| row.get(0),
        )?;
    if usize::try_from(open).unwrap_or(usize::MAX) >= MAX_OPEN_INVITATIONS {
        return Err(Refusal::TooManyInvitations {
            limit: MAX_OPEN_INVITATIONS,
        }
        .into());
    }
    Ok(())
}
