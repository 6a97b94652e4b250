//! Redemption of a ticket: one transaction that checks, spends and enrols, or changes nothing.
//!
//! Unknown, used, expired and withdrawn invitations and wrong secrets have one text, and cost the
//! same: a hash, a look-up and a comparison in constant time.

use homing_certs::{InviteId, NodeId, Role, Scopes, TicketSecret, UserId, check_code};
use homing_protocol::control::{DeviceInfo, DeviceStatus};
use rusqlite::{OptionalExtension, params};
use subtle::ConstantTimeEq;

use super::certificates::check_key;
use super::change::Change;
use super::database::{int, uint};
use super::devices::{self, NewDevice, active, actor, by_key, free_name};
use super::refusal::{AuthorityError, Refusal};
use super::rights::{Caller, Grant};
use super::{Authority, approvals};
use crate::moment::Moment;

/// Wrong secrets that an invitation bears; the secret has 128 bits, so this is about noise.
pub const MAX_WRONG_SECRETS: u32 = 5;

/// What a device sends along with its ticket.
#[derive(Debug, Clone, Default)]
pub struct Applicant<'a> {
    /// Name that it would like.
    pub name: Option<&'a str>,
    /// Its operating system.
    pub platform: Option<&'a str>,
    /// Where it connects from, as the coordinator sees it.
    pub from: Option<&'a str>,
}

/// A device that is in.
#[derive(Debug, Clone)]
pub struct EnrolledDevice {
    /// As it is now.
    pub device: DeviceInfo,
    /// Its certificate.
    pub certificate: Vec<u8>,
}

/// What a redemption came to.
#[derive(Debug, Clone)]
pub enum RedeemOutcome {
    /// The device is enrolled.
    Enrolled(Box<EnrolledDevice>),
    /// Somebody must approve.
    Pending {
        /// To be typed there.
        check_code: String,
    },
    /// Not enrolled.
    Refused(Refusal),
}

pub(crate) struct Invitation {
    pub(crate) id: InviteId,
    secret_hash: [u8; 32],
    name: Option<String>,
    pub(crate) role: Role,
    pub(crate) scopes: Scopes,
    pub(crate) user_id: UserId,
    pub(crate) inviter: Option<NodeId>,
    expires_at: u64,
    approval: bool,
    used_by: Option<NodeId>,
    wrong_tries: u32,
    withdrawn: bool,
    denied: bool,
}

impl Authority {
    /// Redeems a ticket for the key that TLS has proved. The same key asking again gets the same
    /// answer, after a fresh look at its revocation.
    ///
    /// # Errors
    /// [`AuthorityError`], but never a refusal: that is an outcome.
    pub fn redeem(
        &mut self,
        invite_id: InviteId,
        secret: &TicketSecret,
        node_id: NodeId,
        applicant: &Applicant<'_>,
        now: Moment,
    ) -> Result<RedeemOutcome, AuthorityError> {
        let offered = secret.digest();
        let mut change = self.change(now)?;
        let invitation = change.invitation(&invite_id)?;
        let stored = invitation
            .as_ref()
            .map_or([0; 32], |found| found.secret_hash);
        let fits = bool::from(stored.ct_eq(&offered));
        let Some(invitation) = invitation else {
            return Ok(RedeemOutcome::Refused(Refusal::TicketNotGood));
        };
        if !fits {
            change.count_wrong_secret(&invitation)?;
            change.commit()?;
            return Ok(RedeemOutcome::Refused(Refusal::TicketNotGood));
        }
        match change.admit(&invitation, node_id, applicant) {
            Ok(outcome) => {
                change.commit()?;
                Ok(outcome)
            }
            // Dropped without a commit, so nothing was spent.
            Err(AuthorityError::Refused(refusal)) => Ok(RedeemOutcome::Refused(refusal)),
            Err(error) => Err(error),
        }
    }

    /// The answer of this moment for a key that redeemed this invitation before. It has shown the
    /// secret on the stream that asks.
    ///
    /// # Errors
    /// [`AuthorityError`], but never a refusal: that is an outcome.
    pub fn redeem_again(
        &mut self,
        invite_id: InviteId,
        node_id: NodeId,
        now: Moment,
    ) -> Result<RedeemOutcome, AuthorityError> {
        let mut change = self.change(now)?;
        let invitation = change.invitation(&invite_id)?;
        let Some(invitation) = invitation.filter(|found| found.used_by == Some(node_id)) else {
            return Ok(RedeemOutcome::Refused(Refusal::TicketNotGood));
        };
        match change.repeat(&invitation, &node_id) {
            Ok(outcome) => {
                change.commit()?;
                Ok(outcome)
            }
            Err(AuthorityError::Refused(refusal)) => Ok(RedeemOutcome::Refused(refusal)),
            Err(error) => Err(error),
        }
    }
}

impl Change<'_> {
    pub(crate) fn invitation(&self, id: &InviteId) -> Result<Option<Invitation>, rusqlite::Error> {
        self.tx
            .prepare_cached(
                "SELECT secret_hash, name, role, scopes, user_id, inviter, expires_at, approval,
                    used_by, wrong_tries, burned_at IS NOT NULL OR voided_at IS NOT NULL,
                    denied_at IS NOT NULL
                 FROM invitations WHERE id = ?1",
            )?
            .query_row(params![id.as_bytes()], |row| {
                Ok(Invitation {
                    id: *id,
                    secret_hash: row.get(0)?,
                    name: row.get(1)?,
                    role: devices::parse_role(&row.get::<_, String>(2)?)?,
                    scopes: devices::parse_scopes(&row.get::<_, String>(3)?)?,
                    user_id: row.get::<_, [u8; 16]>(4)?.into(),
                    inviter: row.get::<_, Option<[u8; 32]>>(5)?.map(NodeId::from),
                    expires_at: uint(row.get(6)?),
                    approval: row.get(7)?,
                    used_by: row.get::<_, Option<[u8; 32]>>(8)?.map(NodeId::from),
                    wrong_tries: row.get(9)?,
                    withdrawn: row.get(10)?,
                    denied: row.get(11)?,
                })
            })
            .optional()
    }

    fn admit(
        &mut self,
        invitation: &Invitation,
        node_id: NodeId,
        applicant: &Applicant<'_>,
    ) -> Result<RedeemOutcome, AuthorityError> {
        if invitation.used_by == Some(node_id) {
            return self.repeat(invitation, &node_id);
        }
        if !invitation.is_open(self.time().0) {
            return Err(Refusal::TicketNotGood.into());
        }
        self.signing_time()?;
        self.check_conflicts(invitation, &node_id)?;
        self.spend(invitation, &node_id)?;
        let name = free_name(&self.tx, invitation.name.as_deref().or(applicant.name))?;
        let waits = invitation.approval;
        self.insert_device(&NewDevice {
            node_id,
            name: &name,
            user_id: invitation.user_id,
            role: invitation.role,
            scopes: &invitation.scopes,
            status: if waits {
                DeviceStatus::Pending
            } else {
                DeviceStatus::Active
            },
            invited_by: invitation.inviter,
            platform: applicant.platform,
        })?;
        let handle = devices::handle_of(&self.tx, &invitation.user_id)?;
        if waits {
            self.wait_for_approval(invitation, &node_id, applicant.from)?;
            self.notice(
                Some(invitation.user_id),
                "device_pending",
                &format!(
                    "{name} wants to join as a device of {handle}, role {}",
                    invitation.role
                ),
            )?;
            self.audit_as(
                &node_id.to_string(),
                &handle,
                "redeem",
                &invitation.id.to_string(),
                "pending",
            )?;
            return Ok(RedeemOutcome::Pending {
                check_code: self.code_for(invitation.id, node_id),
            });
        }
        self.notice_enrolled(&name, &handle, invitation, applicant.from)?;
        self.audit_as(
            &node_id.to_string(),
            &handle,
            "redeem",
            &invitation.id.to_string(),
            "allowed",
        )?;
        self.enrolled(&node_id)
    }

    /// The same answer again. A device that is in gets a fresh certificate.
    fn repeat(
        &mut self,
        invitation: &Invitation,
        node_id: &NodeId,
    ) -> Result<RedeemOutcome, AuthorityError> {
        if invitation.denied {
            return Err(Refusal::Denied.into());
        }
        match active(&self.tx, node_id) {
            Ok(_) => self.enrolled(node_id),
            Err(AuthorityError::Refused(Refusal::NotApproved)) => {
                let check_code = self.code_for(invitation.id, *node_id);
                Ok(RedeemOutcome::Pending { check_code })
            }
            Err(error) => Err(error),
        }
    }

    fn enrolled(&mut self, node_id: &NodeId) -> Result<RedeemOutcome, AuthorityError> {
        let certificate = self.issue(node_id)?;
        let device = devices::info(&self.tx, node_id)?;
        Ok(RedeemOutcome::Enrolled(Box::new(EnrolledDevice {
            device,
            certificate,
        })))
    }

    // All of this before the use is spent, so that a mistake does not cost the ticket.
    fn check_conflicts(
        &mut self,
        invitation: &Invitation,
        node_id: &NodeId,
    ) -> Result<(), AuthorityError> {
        check_key(self, node_id)?;
        if let Some(row) = by_key(&self.tx, node_id)? {
            return Err(Refusal::KeyInUse { device: row.name }.into());
        }
        // The inviter may have lost since what it passes on here.
        let caller = invitation.inviter.map_or(Caller::Local, Caller::Device);
        let grant = Grant {
            user_id: invitation.user_id,
            role: invitation.role,
            scopes: &invitation.scopes,
        };
        let still = actor(&self.tx, caller).and_then(|actor| Ok(actor.may_grant(&grant)?));
        match still {
            Ok(()) => {}
            Err(AuthorityError::Refused(_)) => return Err(Refusal::TicketNotGood.into()),
            Err(error) => return Err(error),
        }
        approvals::check_room(self)
    }

    fn spend(&self, invitation: &Invitation, node_id: &NodeId) -> Result<(), AuthorityError> {
        let now = int(self.time().0);
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE invitations SET used_at = ?2, used_by = ?3 WHERE id = ?1 AND used_at IS NULL
                 AND burned_at IS NULL AND voided_at IS NULL AND expires_at > ?2",
            )?
            .execute(params![invitation.id.as_bytes(), now, node_id.as_bytes()])?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Refusal::TicketNotGood.into())
        }
    }

    fn count_wrong_secret(&mut self, invitation: &Invitation) -> Result<(), AuthorityError> {
        if !invitation.is_open(self.time().0) {
            return Ok(());
        }
        let tries = invitation.wrong_tries + 1;
        let burned_at = (tries >= MAX_WRONG_SECRETS).then_some(int(self.time().0));
        self.tx
            .prepare_cached(
                "UPDATE invitations SET wrong_tries = ?2, burned_at = ?3 WHERE id = ?1",
            )?
            .execute(params![invitation.id.as_bytes(), tries, burned_at])?;
        if burned_at.is_some() {
            let handle = devices::handle_of(&self.tx, &invitation.user_id)?;
            self.notice(
                Some(invitation.user_id),
                "invitation_burned",
                &format!(
                    "The invitation {} was tried with {tries} wrong secrets and is void",
                    invitation.id
                ),
            )?;
            self.audit_as(
                "unknown",
                &handle,
                "redeem",
                &invitation.id.to_string(),
                "burned",
            )?;
        }
        Ok(())
    }

    fn notice_enrolled(
        &mut self,
        name: &str,
        handle: &str,
        invitation: &Invitation,
        from: Option<&str>,
    ) -> Result<(), AuthorityError> {
        let inviter = match invitation.inviter {
            None => "the coordinator's host".to_owned(),
            Some(id) => by_key(&self.tx, &id)?.map_or_else(|| id.short(), |row| row.name),
        };
        let from = from
            .map(|from| format!(", from {from}"))
            .unwrap_or_default();
        let role = invitation.role;
        let text =
            format!("New device: {name} of {handle}, role {role}, invited by {inviter}{from}");
        self.notice(audience(role, invitation.user_id), "device_enrolled", &text)
    }

    pub(crate) fn code_for(&self, invite_id: InviteId, node_id: NodeId) -> String {
        let coordinator = NodeId::from(&self.keys.coordinator);
        check_code(self.state().network_id(), invite_id, node_id, coordinator)
    }
}

/// Who hears of a new device. An admin, agent or node concerns everybody; another user's phone only
/// that user and those who see all devices.
pub(crate) fn audience(role: Role, user_id: UserId) -> Option<UserId> {
    (role == Role::Client).then_some(user_id)
}

impl Invitation {
    fn is_open(&self, now: u64) -> bool {
        self.used_by.is_none() && !self.withdrawn && !self.denied && self.expires_at > now
    }
}
