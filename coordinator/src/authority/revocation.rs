//! Revocation: one transaction with the rows, the signed log entry, the audit line and the open
//! invitations of the device. Pushing it to agents is the network half's work.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use homing_certs::{MAX_DELTA_ENTRIES, NodeId, REVOKED, RevocationEntry, RevokeReason, Role};
use homing_protocol::control::DeviceStatus;
use rusqlite::{Connection, OptionalExtension, params};

use super::change::Change;
use super::database::uint;
use super::devices::{DeviceRow, actor, all, select};
use super::refusal::{AuthorityError, Refusal};
use super::rights::{Actor, Caller, no_principal};
use super::{Authority, SignedDelta};
use crate::moment::Moment;

/// A revocation that is on disk.
#[derive(Debug, Clone)]
pub struct RevokeCommit {
    /// Name of the device.
    pub device: String,
    /// Its key.
    pub node_id: NodeId,
    /// Newest log position with it.
    pub seq: u64,
    /// The signed entries, in order; empty when everything was revoked before.
    pub deltas: Vec<SignedDelta>,
    /// All keys that are revoked by it, the device's own first.
    pub affected: Vec<NodeId>,
    /// Names of all devices that went with it.
    pub also: Vec<String>,
    /// Names of devices that it enrolled and that are still active.
    pub enrolled_by_it: Vec<String>,
    /// Microseconds since the Unix epoch, right after the commit.
    pub committed_at_us: u64,
}

impl Authority {
    /// Revokes a device for ever, and with `with_invited` every device that it enrolled, and those
    /// that they enrolled. Doing it again is no mistake.
    ///
    /// # Errors
    /// [`AuthorityError`]. An audit log that cannot be written does not stop a revocation.
    pub fn revoke(
        &mut self,
        caller: Caller,
        selector: &str,
        with_invited: bool,
        now: Moment,
    ) -> Result<RevokeCommit, AuthorityError> {
        self.revoke_for(caller, None, selector, with_invited, now)
    }

    /// The same by an agent for the admin's device that asked it.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn revoke_for(
        &mut self,
        caller: Caller,
        on_behalf_of: Option<NodeId>,
        selector: &str,
        with_invited: bool,
        now: Moment,
    ) -> Result<RevokeCommit, AuthorityError> {
        let mut change = self.change(now)?;
        let actor = Actor {
            on_behalf_of,
            ..actor(&change.tx, caller)?
        };
        let result = match on_behalf_of {
            Some(principal) => check_passed_on(&change.tx, &actor, principal),
            None => Ok(()),
        };
        let result = result.and_then(|()| change.revoke(&actor, selector, with_invited));
        let mut commit = match result {
            Ok(commit) => commit,
            Err(AuthorityError::Refused(refusal)) => {
                drop(change);
                self.audit_refusal(&actor, "revoke", selector, &refusal, now);
                return Err(refusal.into());
            }
            Err(error) => return Err(error),
        };
        change.commit()?;
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        commit.committed_at_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        Ok(commit)
    }

    /// The signed entry that revoked a key; `None` when it is not revoked, or when the entry came
    /// with an imported snapshot.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn proof(&self, node_id: &NodeId) -> Result<Option<Vec<u8>>, AuthorityError> {
        Ok(revoked(&self.db, node_id)?.flatten())
    }

    /// Whether a key is revoked.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn is_revoked(&self, node_id: &NodeId) -> Result<bool, AuthorityError> {
        Ok(revoked(&self.db, node_id)?.is_some())
    }
}

impl Change<'_> {
    fn revoke(
        &mut self,
        actor: &Actor,
        selector: &str,
        with_invited: bool,
    ) -> Result<RevokeCommit, AuthorityError> {
        let first = select(&self.tx, actor, selector)?;
        let rows = all(&self.tx)?;
        let descendants = descendants(&rows, &first.node_id);
        let mut chosen = vec![&first];
        if with_invited {
            chosen.extend(descendants.iter().copied());
        }
        for row in &chosen {
            actor.may_revoke(&row.target())?;
        }
        check_last_admin(actor, &rows, &chosen)?;
        let fresh: Vec<&DeviceRow> = chosen
            .iter()
            .copied()
            .filter(|row| row.status != DeviceStatus::Revoked)
            .collect();
        let deltas = self.revoke_rows(&fresh)?;
        for row in &fresh {
            self.notice(
                Some(row.user_id),
                "device_revoked",
                &format!(
                    "{} of {} was revoked by {}",
                    row.name, row.handle, actor.handle
                ),
            )?;
        }
        if let Err(error) = self.audit(actor, "revoke", &first.name, "allowed") {
            // The one change that a full disk must not stop.
            tracing::error!(%error, device = %first.name, "a revocation is missing from the audit log");
        }
        let seq = deltas
            .last()
            .map_or(self.state().head().seq, |delta| delta.head.seq);
        let names = |rows: &[&DeviceRow]| rows.iter().map(|row| row.name.clone()).collect();
        let left: Vec<&DeviceRow> = if with_invited {
            Vec::new()
        } else {
            descendants
                .iter()
                .copied()
                .filter(|row| row.status == DeviceStatus::Active)
                .collect()
        };
        Ok(RevokeCommit {
            device: first.name.clone(),
            node_id: first.node_id,
            seq,
            deltas,
            affected: chosen.iter().map(|row| row.node_id).collect(),
            also: names(&chosen[1..]),
            enrolled_by_it: names(&left),
            committed_at_us: 0,
        })
    }

    fn revoke_rows(&mut self, rows: &[&DeviceRow]) -> Result<Vec<SignedDelta>, AuthorityError> {
        let mut deltas = Vec::new();
        for part in rows.chunks(MAX_DELTA_ENTRIES) {
            let entries = part
                .iter()
                .map(|row| RevocationEntry {
                    device: row.node_id,
                    min_generation: REVOKED,
                    reason: RevokeReason::Unspecified,
                })
                .collect();
            deltas.push(self.append_log(entries)?);
        }
        for row in rows {
            self.void_invitations_of(&row.node_id)?;
            self.forget_waiting(&row.node_id)?;
        }
        if rows.iter().any(|row| row.status == DeviceStatus::Pending) {
            self.wake_waiting();
        }
        Ok(deltas)
    }
}

/// Whether a key is revoked, and the signed entry that says so when it is in the log.
pub(crate) fn revoked(
    db: &Connection,
    node_id: &NodeId,
) -> Result<Option<Option<Vec<u8>>>, rusqlite::Error> {
    db.prepare_cached(
        "SELECT l.wire FROM revocations r LEFT JOIN log l USING (seq)
         WHERE r.node_id = ?1 AND r.min_generation = ?2",
    )?
    .query_row(params![node_id.as_bytes(), REVOKED], |row| row.get(0))
    .optional()
}

/// Position of the entry that revoked a key.
pub(crate) fn revoked_at(
    db: &Connection,
    node_id: &NodeId,
) -> Result<Option<u64>, rusqlite::Error> {
    db.prepare_cached("SELECT seq FROM revocations WHERE node_id = ?1 AND min_generation = ?2")?
        .query_row(params![node_id.as_bytes(), REVOKED], |row| {
            row.get(0).map(uint)
        })
        .optional()
}

// Breadth first and each once, whatever the table says.
fn descendants<'r>(rows: &'r [DeviceRow], of: &NodeId) -> Vec<&'r DeviceRow> {
    let mut children: BTreeMap<NodeId, Vec<&DeviceRow>> = BTreeMap::new();
    for row in rows {
        if let Some(inviter) = row.invited_by {
            children.entry(inviter).or_default().push(row);
        }
    }
    let mut found = Vec::new();
    let mut queue = VecDeque::from([*of]);
    while let Some(next) = queue.pop_front() {
        for row in children.remove(&next).unwrap_or_default() {
            if row.node_id != *of {
                queue.push_back(row.node_id);
                found.push(row);
            }
        }
    }
    found
}

fn check_passed_on(
    db: &Connection,
    actor: &Actor,
    principal: NodeId,
) -> Result<(), AuthorityError> {
    let principal = match self::actor(db, Caller::Device(principal)) {
        // That it is revoked is not the agent's own end.
        Err(AuthorityError::Refused(_)) => return Err(no_principal().into()),
        other => other?,
    };
    Ok(actor.may_pass_on_revocations(&principal)?)
}

// From the host the owner may: who holds the host enrols a new admin with `up`.
fn check_last_admin(
    actor: &Actor,
    rows: &[DeviceRow],
    chosen: &[&DeviceRow],
) -> Result<(), Refusal> {
    let is_admin = |row: &DeviceRow| row.role == Role::Admin && row.status == DeviceStatus::Active;
    let Some(admin) = chosen.iter().find(|row| is_admin(row)) else {
        return Ok(());
    };
    let one_stays = rows
        .iter()
        .any(|row| is_admin(row) && !chosen.iter().any(|gone| gone.node_id == row.node_id));
    if actor.is_local() || one_stays {
        return Ok(());
    }
    Err(Refusal::LastAdmin {
        device: admin.name.clone(),
    })
}
