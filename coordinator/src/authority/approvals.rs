//! Devices that wait for somebody: the list, approval with a check code, denial.

use homing_certs::{InviteId, NodeId, normalize_check_code};
use homing_protocol::control::{DeviceInfo, DeviceStatus, PendingInfo};
use rusqlite::{OptionalExtension, params};
use subtle::ConstantTimeEq;

use super::Authority;
use super::change::Change;
use super::database::{int, uint};
use super::devices::{DeviceRow, actor, by_key, info, select};
use super::redemption::{Invitation, audience};
use super::refusal::{AuthorityError, Refusal};
use super::rights::{Actor, Caller, Grant};
use crate::moment::Moment;

/// Wrong check codes before a waiting device is turned away; a code has 20^8 values.
pub const MAX_CODE_TRIES: u32 = 5;
/// Most devices that wait at once. Each has spent a ticket, so this is far above honest use.
pub const MAX_PENDING: usize = 1_024;
/// How long a device may wait; nobody remembers the code on the screen for longer.
pub const PENDING_SECS: u64 = 86_400;

struct Waiting {
    invite_id: InviteId,
    tries: u32,
    since: u64,
    from: Option<String>,
}

impl Authority {
    /// The waiting devices that the caller may let in, oldest first.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn pending(
        &mut self,
        caller: Caller,
        now: Moment,
    ) -> Result<Vec<PendingInfo>, AuthorityError> {
        let mut change = self.change(now)?;
        let actor = actor(&change.tx, caller)?;
        if change.turn_away_late()? > 0 {
            change.wake_waiting();
        }
        let keys: Vec<[u8; 32]> = change
            .tx
            .prepare_cached("SELECT node_id FROM pending ORDER BY since")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut list = Vec::new();
        for key in keys {
            let node_id = NodeId::from(key);
            let (Some(row), Some(waiting)) =
                (by_key(&change.tx, &node_id)?, change.waiting(&node_id)?)
            else {
                continue;
            };
            if may_admit(&actor, &row).is_ok() {
                list.push(PendingInfo {
                    device: row.name,
                    node_id,
                    role: row.role,
                    scopes: row.scopes.iter().map(str::to_owned).collect(),
                    user: row.handle,
                    platform: row.platform,
                    from: waiting.from,
                    since: waiting.since,
                });
            }
        }
        change.commit()?;
        Ok(list)
    }

    /// Lets a waiting device in.
    ///
    /// # Errors
    /// [`AuthorityError`]; [`Refusal::WrongCode`] counts a try.
    pub fn approve(
        &mut self,
        caller: Caller,
        selector: &str,
        code: &str,
        now: Moment,
    ) -> Result<DeviceInfo, AuthorityError> {
        let mut change = self.change(now)?;
        let actor = actor(&change.tx, caller)?;
        match change.approve(&actor, selector, code) {
            Ok(Ok(device)) => {
                change.audit(&actor, "approve", &device.device, "allowed")?;
                change.commit()?;
                Ok(device)
            }
            Ok(Err(wrong_code)) => {
                change.commit()?;
                Err(wrong_code.into())
            }
            Err(AuthorityError::Refused(refusal)) => {
                drop(change);
                self.audit_refusal(&actor, "approve", selector, &refusal, now);
                Err(refusal.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Turns a waiting device away. Returns its name.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn deny(
        &mut self,
        caller: Caller,
        selector: &str,
        now: Moment,
    ) -> Result<String, AuthorityError> {
        self.decide(caller, "deny", selector, now, |change, actor| {
            let (row, waiting) = change.select_waiting(actor, selector)?;
            change.turn_away(&row.node_id, &waiting.invite_id)?;
            Ok(row.name)
        })
    }
}

impl Change<'_> {
    // The inner refusal is a counted try, which must be committed.
    fn approve(
        &mut self,
        actor: &Actor,
        selector: &str,
        code: &str,
    ) -> Result<Result<DeviceInfo, Refusal>, AuthorityError> {
        let (row, waiting) = self.select_waiting(actor, selector)?;
        let expected = self.code_for(waiting.invite_id, row.node_id);
        let offered = normalize_check_code(code).unwrap_or_default();
        if !bool::from(expected.as_bytes().ct_eq(offered.as_bytes())) {
            return Ok(Err(self.count_wrong_code(actor, &row, &waiting)?));
        }
        self.signing_time()?;
        self.tx
            .prepare_cached("UPDATE devices SET status = 'active' WHERE node_id = ?1")?
            .execute(params![row.node_id.as_bytes()])?;
        self.forget_waiting(&row.node_id)?;
        self.notice(
            audience(row.role, row.user_id),
            "device_enrolled",
            &format!(
                "New device: {} of {}, role {}, approved by {}",
                row.name, row.handle, row.role, actor.handle
            ),
        )?;
        self.wake_waiting();
        Ok(Ok(info(&self.tx, &row.node_id)?))
    }

    pub(crate) fn wait_for_approval(
        &self,
        invitation: &Invitation,
        node_id: &NodeId,
        from: Option<&str>,
    ) -> Result<(), rusqlite::Error> {
        self.tx
            .prepare_cached(
                "INSERT INTO pending (node_id, invite_id, since, from_address) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                node_id.as_bytes(),
                invitation.id.as_bytes(),
                int(self.time().0),
                from
            ])?;
        Ok(())
    }

    fn waiting(&self, node_id: &NodeId) -> Result<Option<Waiting>, rusqlite::Error> {
        self.tx
            .prepare_cached(
                "SELECT invite_id, tries, since, from_address FROM pending WHERE node_id = ?1",
            )?
            .query_row(params![node_id.as_bytes()], |row| {
                Ok(Waiting {
                    invite_id: row.get::<_, [u8; 8]>(0)?.into(),
                    tries: row.get(1)?,
                    since: uint(row.get(2)?),
                    from: row.get(3)?,
                })
            })
            .optional()
    }

    fn select_waiting(
        &mut self,
        actor: &Actor,
        selector: &str,
    ) -> Result<(DeviceRow, Waiting), AuthorityError> {
        if self.turn_away_late()? > 0 {
            self.wake_waiting();
        }
        // Who may let devices in may see them wait, also those of another user.
        let sees_all = Actor {
            rights: super::rights::owner_scopes(),
            ..actor.clone()
        };
        let row = select(&self.tx, &sees_all, selector)?;
        let unknown = || Refusal::UnknownDevice {
            selector: super::devices::shown(selector),
        };
        let waiting = self.waiting(&row.node_id)?;
        let waiting = waiting
            .filter(|_| row.status == DeviceStatus::Pending)
            .ok_or_else(unknown)?;
        if let Err(refusal) = may_admit(actor, &row) {
            return Err(if actor.may_see(&row.target()) {
                refusal
            } else {
                unknown()
            }
            .into());
        }
        Ok((row, waiting))
    }

    fn count_wrong_code(
        &mut self,
        actor: &Actor,
        row: &DeviceRow,
        waiting: &Waiting,
    ) -> Result<Refusal, AuthorityError> {
        let tries = waiting.tries + 1;
        if tries >= MAX_CODE_TRIES {
            self.turn_away(&row.node_id, &waiting.invite_id)?;
            self.notice(
                Some(row.user_id),
                "device_pending",
                &format!("{} was turned away: {tries} wrong check codes", row.name),
            )?;
            self.audit(actor, "approve", &row.name, "denied")?;
            return Ok(Refusal::CodeTriesUsedUp {
                device: row.name.clone(),
                tries,
            });
        }
        self.tx
            .prepare_cached("UPDATE pending SET tries = ?2 WHERE node_id = ?1")?
            .execute(params![row.node_id.as_bytes(), tries])?;
        self.audit(actor, "approve", &row.name, "wrong_code")?;
        Ok(Refusal::WrongCode {
            left: MAX_CODE_TRIES - tries,
        })
    }

    fn turn_away(&mut self, node_id: &NodeId, invite_id: &InviteId) -> Result<(), rusqlite::Error> {
        self.tx
            .prepare_cached("UPDATE invitations SET denied_at = ?2 WHERE id = ?1")?
            .execute(params![invite_id.as_bytes(), int(self.time().0)])?;
        self.forget_waiting(node_id)?;
        self.tx
            .prepare_cached("DELETE FROM devices WHERE node_id = ?1 AND status = 'pending'")?
            .execute(params![node_id.as_bytes()])?;
        self.wake_waiting();
        Ok(())
    }

    pub(crate) fn forget_waiting(&self, node_id: &NodeId) -> Result<(), rusqlite::Error> {
        self.tx
            .prepare_cached("DELETE FROM pending WHERE node_id = ?1")?
            .execute(params![node_id.as_bytes()])?;
        Ok(())
    }

    fn turn_away_late(&mut self) -> Result<usize, rusqlite::Error> {
        let before = self.time().saturating_sub(PENDING_SECS);
        let late: Vec<([u8; 32], [u8; 8])> = self
            .tx
            .prepare_cached("SELECT node_id, invite_id FROM pending WHERE since < ?1")?
            .query_map(params![int(before.0)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (node_id, invite_id) in &late {
            self.turn_away(&NodeId::from(*node_id), &InviteId::from(*invite_id))?;
        }
        Ok(late.len())
    }
}

/// Whether one more device may wait.
pub(crate) fn check_room(change: &mut Change<'_>) -> Result<(), AuthorityError> {
    change.turn_away_late()?;
    let count: i64 = change
        .tx
        .prepare_cached("SELECT count(*) FROM pending")?
        .query_row([], |row| row.get(0))?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= MAX_PENDING {
        return Err(Refusal::TooManyPending { limit: MAX_PENDING }.into());
    }
    Ok(())
}

// Letting somebody in is the same right as inviting: the same device with the same scopes.
fn may_admit(actor: &Actor, row: &DeviceRow) -> Result<(), Refusal> {
    actor.may_grant(&Grant {
        user_id: row.user_id,
        role: row.role,
        scopes: &row.scopes,
    })
}
