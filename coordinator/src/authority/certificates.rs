//! Issue and renewal of certificates. A certificate is made from the device's row, never from what
//! the device claims.

use homing_certs::{
    BACKDATE_SECS, CERTIFICATE_LIFE_SECS, DeviceCertificate, Handle, NodeId, Role, Scopes, Serial,
    UnixTime, next_generation,
};
use homing_protocol::Document;
use homing_protocol::control::{DeviceInfo, DeviceStatus};
use rusqlite::params;

use super::change::Change;
use super::database::int;
use super::devices::{NewDevice, active, by_key, free_name, info, owner};
use super::keys::random;
use super::refusal::{AuthorityError, Refusal};
use super::rights::{Caller, Grant};
use super::{Authority, revocation};
use crate::moment::Moment;

/// Days after expiry in which the device key alone still renews.
pub const RENEWAL_GRACE_DAYS: u64 = 90;
/// Days before expiry at which a device that did not renew is spoken of.
const WARN_DAYS: [u64; 3] = [1, 3, 10];
const DAY: u64 = 86_400;

/// A device that was enrolled without a ticket, on the coordinator's host.
#[derive(Debug, Clone)]
pub struct LocalEnrollment {
    /// The device as it is now.
    pub device: DeviceInfo,
    /// Its certificate.
    pub certificate: Vec<u8>,
}

/// A new certificate.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Root documents after the epoch that the device named.
    pub root_chain: Vec<Document>,
}

impl Authority {
    /// Enrols a key of this host: the owner's first device, or the agent that `up` makes. For the
    /// same key and role again it is a renewal. `user` is the owner's handle when absent.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn enrol_local(
        &mut self,
        node_id: NodeId,
        name: &str,
        role: Role,
        scopes: &Scopes,
        user: Option<&str>,
        now: Moment,
    ) -> Result<LocalEnrollment, AuthorityError> {
        let target = node_id.to_string();
        self.decide(
            Caller::Local,
            "enrol_local",
            &target,
            now,
            |change, actor| {
                let user_id = match user {
                    Some(handle) => change.user_for(handle)?,
                    None => owner(&change.tx)?,
                };
                actor.may_grant(&Grant {
                    user_id,
                    role,
                    scopes,
                })?;
                check_key(change, &node_id)?;
                match by_key(&change.tx, &node_id)? {
                    None => {
                        let name = free_name(&change.tx, Some(name))?;
                        change.insert_device(&NewDevice {
                            node_id,
                            name: &name,
                            user_id,
                            role,
                            scopes,
                            status: DeviceStatus::Active,
                            invited_by: None,
                            platform: Some(std::env::consts::OS),
                        })?;
                        change.notice(
                            Some(user_id),
                            "device_enrolled",
                            &format!("New device: {name}, role {role}, on the coordinator's host"),
                        )?;
                    }
                    Some(row) if row.role == role && row.user_id == user_id => {
                        active(&change.tx, &node_id)?;
                    }
                    Some(row) => return Err(Refusal::KeyInUse { device: row.name }.into()),
                }
                let certificate = change.issue(&node_id)?;
                Ok(LocalEnrollment {
                    device: info(&change.tx, &node_id)?,
                    certificate,
                })
            },
        )
    }

    /// A new certificate for the asking key, from its row. `root_epoch` is the newest root document
    /// that it holds.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn renew(
        &mut self,
        node_id: NodeId,
        root_epoch: u32,
        now: Moment,
    ) -> Result<Renewal, AuthorityError> {
        let target = node_id.to_string();
        let certificate = self.decide(
            Caller::Device(node_id),
            "renew",
            &target,
            now,
            |change, _| {
                let row = active(&change.tx, &node_id)?;
                let grace = RENEWAL_GRACE_DAYS * DAY;
                let late = row
                    .not_after
                    .is_some_and(|end| change.time().seconds_since(end) > grace);
                if late {
                    return Err(Refusal::RenewalTooLate {
                        days: RENEWAL_GRACE_DAYS,
                    }
                    .into());
                }
                change.issue(&node_id)
            },
        )?;
        Ok(Renewal {
            certificate,
            root_chain: self.root_chain_after(root_epoch),
        })
    }

    /// Speaks of certificates that end soon, once for each of 10, 3 and 1 days. Returns how many.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn warn_of_expiry(&mut self, now: Moment) -> Result<usize, AuthorityError> {
        let mut change = self.change(now)?;
        let horizon = change.time().saturating_add(10 * DAY);
        let soon: Vec<(NodeId, i64, Option<u64>)> = change
            .tx
            .prepare_cached(
                "SELECT node_id, not_after, warned FROM devices
                 WHERE status = 'active' AND not_after BETWEEN ?1 AND ?2",
            )?
            .query_map(params![int(change.time().0), int(horizon.0)], |row| {
                let warned: Option<i64> = row.get(2)?;
                let node_id: [u8; 32] = row.get(0)?;
                Ok((
                    node_id.into(),
                    row.get(1)?,
                    warned.and_then(|days| u64::try_from(days).ok()),
                ))
            })?
            .collect::<Result<_, _>>()?;
        let mut spoken = 0;
        for (node_id, not_after, warned) in soon {
            let left = UnixTime(super::database::uint(not_after)).seconds_since(change.time());
            let Some(days) = WARN_DAYS.into_iter().find(|days| left <= days * DAY) else {
                continue;
            };
            if warned.is_some_and(|warned| warned <= days) {
                continue;
            }
            let Some(row) = by_key(&change.tx, &node_id)? else {
                continue;
            };
            let ends = if days == 1 {
                "a day".to_owned()
            } else {
                format!("{days} days")
            };
            change.notice(
                Some(row.user_id),
                "certificate_expiring",
                &format!(
                    "The certificate of {} ends in less than {ends} and was not renewed",
                    row.name
                ),
            )?;
            change
                .tx
                .prepare_cached("UPDATE devices SET warned = ?2 WHERE node_id = ?1")?
                .execute(params![node_id.as_bytes(), int(days)])?;
            spoken += 1;
        }
        if spoken > 0 {
            change.commit()?;
        }
        Ok(spoken)
    }

    /// Root documents after an epoch, oldest first; all of them after epoch 0.
    #[must_use]
    pub fn root_chain_after(&self, epoch: u32) -> Vec<Document> {
        let known = usize::try_from(epoch).unwrap_or(usize::MAX);
        self.chain()
            .wires()
            .iter()
            .skip(known)
            .map(|wire| Document(wire.clone()))
            .collect()
    }
}

impl Change<'_> {
    /// Signs a certificate for an active row and notes it there.
    pub(crate) fn issue(&mut self, node_id: &NodeId) -> Result<Vec<u8>, AuthorityError> {
        // Also a device that passed every other check gets nothing once its key is revoked.
        let row = active(&self.tx, node_id)?;
        let issued_at = self.signing_time()?;
        let serial = Serial::from(random::<16>()?);
        let generation =
            next_generation(row.generation, issued_at).max(self.state().min_generation(node_id));
        let certificate = DeviceCertificate {
            network_id: self.state().network_id(),
            serial,
            device: *node_id,
            user_id: row.user_id,
            handle: Handle::new(row.handle)
                .map_err(|_| AuthorityError::Corrupt { what: "handle" })?,
            role: row.role,
            scopes: row.scopes,
            issued_at,
            not_before: issued_at.saturating_sub(BACKDATE_SECS),
            not_after: issued_at.saturating_add(CERTIFICATE_LIFE_SECS),
            generation,
            root_epoch: self.state().chain().epoch(),
        };
        let wire = certificate.sign(&self.keys.signer)?;
        self.tx
            .prepare_cached(
                "UPDATE devices SET generation = ?2, serial = ?3, not_after = ?4, warned = NULL
                 WHERE node_id = ?1",
            )?
            .execute(params![
                node_id.as_bytes(),
                generation,
                serial.as_bytes(),
                int(certificate.not_after.0)
            ])?;
        Ok(wire)
    }
}

/// Whether a key may be enrolled at all: well-formed, never revoked, none of our own.
pub(crate) fn check_key(change: &Change<'_>, node_id: &NodeId) -> Result<(), AuthorityError> {
    node_id.check_enrollable().map_err(|_| Refusal::WeakKey)?;
    if let Some(proof) = revocation::revoked(&change.tx, node_id)? {
        return Err(Refusal::Revoked { proof }.into());
    }
    let document = change.state().chain().current();
    let ours = document.coordinators.contains(node_id)
        || document.roots.contains(node_id)
        || document.signers.iter().any(|signer| signer.key == *node_id);
    if ours {
        return Err(Refusal::KeyInUse {
            device: "coordinator".to_owned(),
        }
        .into());
    }
    Ok(())
}
