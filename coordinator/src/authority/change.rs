//! One decision: a write transaction with everything that belongs to it. What it tells the world
//! (log entries to push, notices) leaves only after the commit.

use homing_certs::{
    Delta, LogHead, REVOKED, Replica, RevocationEntry, RootChain, SigningClock, TrustState,
    UnixTime, UserId, delta_hash,
};
use homing_transport::crash;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::audit::{Audit, AuditError, AuditEvent};
use super::database::{int, meta, set_meta, uint};
use super::keys::Keys;
use super::refusal::{AuthorityError, Refusal};
use super::rights::Actor;
use super::{META_LAST_SIGNED, META_RECOVERING, SignedDelta};
use crate::moment::Moment;

/// Notices that are kept; older ones have been heard by every device that connects once a month.
const MAX_NOTICES: i64 = 1_000;

/// What the world is told after the commit.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Deltas in the order of the log.
    pub(crate) deltas: Vec<SignedDelta>,
    /// Number of the newest notice.
    pub(crate) newest_notice: u64,
    /// Rises when a waiting device was let in or turned away.
    pub(crate) admissions: u64,
}

/// A decision in progress; dropped without [`Change::commit`], nothing has happened.
pub(crate) struct Change<'a> {
    pub(crate) tx: Transaction<'a>,
    pub(crate) now: Moment,
    pub(crate) keys: &'a Keys,
    audit: &'a Audit,
    clock: &'a mut SigningClock,
    state: &'a mut TrustState,
    effects: &'a mut Effects,
    next_state: Option<TrustState>,
    deltas: Vec<SignedDelta>,
    notice: Option<u64>,
    admitted: bool,
    signed: Option<UnixTime>,
}

/// The parts of the authority that a change works on.
pub(crate) struct Parts<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) audit: &'a Audit,
    pub(crate) clock: &'a mut SigningClock,
    pub(crate) state: &'a mut TrustState,
    pub(crate) effects: &'a mut Effects,
}

impl<'a> Change<'a> {
    pub(crate) fn begin(
        tx: Transaction<'a>,
        now: Moment,
        parts: Parts<'a>,
    ) -> Result<Self, AuthorityError> {
        // Another process may have continued the log since (a command on the files).
        if log_head(&tx)?.is_some_and(|head| head != parts.state.head()) {
            *parts.state = load_state(&tx, parts.state.chain().clone())?;
        }
        let Parts {
            keys,
            audit,
            clock,
            state,
            effects,
        } = parts;
        Ok(Self {
            tx,
            now,
            keys,
            audit,
            clock,
            state,
            effects,
            next_state: None,
            deltas: Vec::new(),
            notice: None,
            admitted: false,
            signed: None,
        })
    }

    /// Wall time of the decision.
    pub(crate) fn time(&self) -> UnixTime {
        self.now.wall
    }

    /// The trust state with what this change has added.
    pub(crate) fn state(&self) -> &TrustState {
        self.next_state.as_ref().unwrap_or(self.state)
    }

    /// The time to put into a signed document, unless nothing may be signed now.
    pub(crate) fn signing_time(&mut self) -> Result<UnixTime, AuthorityError> {
        if is_recovering(&self.tx)? {
            return Err(Refusal::Recovering.into());
        }
        let time = trusted_time(self.clock, self.now)?;
        self.signed = self.signed.max(Some(time));
        Ok(time)
    }

    /// Continues the log by one signed delta.
    pub(crate) fn append_log(
        &mut self,
        entries: Vec<RevocationEntry>,
    ) -> Result<SignedDelta, AuthorityError> {
        let time = self.signing_time()?;
        let delta = self.state().next_delta(time, entries);
        let wire = delta.sign(&self.keys.signer)?;
        let mut state = self.state().clone();
        // Our own document passes our own checks, or it is not published.
        state.apply(&wire)?;
        let signed = store_delta(&self.tx, &delta, wire)?;
        self.next_state = Some(state);
        self.deltas.push(signed.clone());
        Ok(signed)
    }

    /// Takes over a state that was built from imported documents.
    pub(crate) fn replace_state(&mut self, state: TrustState) {
        self.next_state = Some(state);
    }

    /// Tells all devices of a user, or all when `None`.
    pub(crate) fn notice(
        &mut self,
        user: Option<UserId>,
        kind: &str,
        text: &str,
    ) -> Result<(), AuthorityError> {
        self.tx
            .prepare_cached(
                "INSERT INTO notices (time, user_id, kind, text) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                int(self.time().0),
                user.as_ref().map(|id| *id.as_bytes()),
                kind,
                text
            ])?;
        let number = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("DELETE FROM notices WHERE number <= ?1")?
            .execute(params![number - MAX_NOTICES])?;
        self.notice = Some(uint(number));
        Ok(())
    }

    /// Wakes the streams of devices that wait for an approval.
    pub(crate) fn wake_waiting(&mut self) {
        self.admitted = true;
    }

    /// Writes the audit line of this change. It is on disk when this returns.
    pub(crate) fn audit(
        &self,
        actor: &Actor,
        method: &str,
        target: &str,
        decision: &str,
    ) -> Result<(), AuditError> {
        let key = actor
            .node_id
            .map_or_else(|| "local".to_owned(), |id| id.to_string());
        self.append_line(&AuditEvent {
            time: self.time(),
            actor: &key,
            handle: &actor.handle,
            on_behalf_of: actor.on_behalf_of.map(|id| id.to_string()),
            method,
            target,
            decision,
        })
    }

    /// Like [`Change::audit`] for a key without a row.
    pub(crate) fn audit_as(
        &self,
        actor: &str,
        handle: &str,
        method: &str,
        target: &str,
        decision: &str,
    ) -> Result<(), AuditError> {
        self.append_line(&AuditEvent {
            time: self.time(),
            actor,
            handle,
            on_behalf_of: None,
            method,
            target,
            decision,
        })
    }

    fn append_line(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        self.audit.append(&self.tx, event)
    }

    /// Makes it true, then lets its effects out.
    pub(crate) fn commit(self) -> Result<(), AuthorityError> {
        if let Some(time) = self.signed {
            set_meta(&self.tx, META_LAST_SIGNED, int(time.0))?;
        }
        let revokes = !self.deltas.is_empty();
        if revokes {
            crash::point("before_commit");
        }
        self.tx.commit()?;
        if revokes {
            crash::point("after_commit");
        }
        if let Some(time) = self.signed {
            self.clock.signed(time);
        }
        if let Some(state) = self.next_state {
            *self.state = state;
        }
        self.effects.deltas.extend(self.deltas);
        if let Some(number) = self.notice {
            self.effects.newest_notice = number;
        }
        self.effects.admissions += u64::from(self.admitted);
        Ok(())
    }
}

/// The time to sign with, unless the wall clock has jumped.
pub(crate) fn trusted_time(clock: &SigningClock, now: Moment) -> Result<UnixTime, AuthorityError> {
    clock.time(now.wall, now.monotonic).map_err(|error| {
        tracing::error!(%error, "nothing is signed until the clock is confirmed");
        Refusal::ClockDeparted.into()
    })
}

/// Whether nothing may be signed because the database is older than what others have seen.
pub(crate) fn is_recovering(db: &Connection) -> Result<bool, rusqlite::Error> {
    Ok(meta::<i64>(db, META_RECOVERING)?.unwrap_or_default() != 0)
}

/// Writes a delta and what it changes.
pub(crate) fn store_delta(
    db: &Connection,
    delta: &Delta,
    wire: Vec<u8>,
) -> Result<SignedDelta, rusqlite::Error> {
    let hash = delta_hash(&wire);
    db.prepare_cached(
        "INSERT INTO log (seq, epoch, wire, hash, time) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        int(delta.seq),
        delta.root_epoch,
        wire,
        hash.as_bytes(),
        int(delta.time.0)
    ])?;
    store_entries(db, delta.seq, &delta.entries)?;
    let head = LogHead {
        root_epoch: delta.root_epoch,
        seq: delta.seq,
        hash,
    };
    Ok(SignedDelta {
        head,
        wire: wire.into(),
    })
}

/// Raises generations; within an epoch they never fall. Devices that are revoked by it get the
/// status that blocks their key for ever.
pub(crate) fn store_entries(
    db: &Connection,
    seq: u64,
    entries: &[RevocationEntry],
) -> Result<(), rusqlite::Error> {
    let mut raise = db.prepare_cached(
        "INSERT INTO revocations (node_id, min_generation, reason, seq) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (node_id) DO UPDATE SET min_generation = excluded.min_generation,
            reason = excluded.reason, seq = excluded.seq
         WHERE excluded.min_generation > min_generation",
    )?;
    let mut block =
        db.prepare_cached("UPDATE devices SET status = 'revoked' WHERE node_id = ?1")?;
    for entry in entries {
        let node_id = entry.device.as_bytes();
        raise.execute(params![
            node_id,
            entry.min_generation,
            entry.reason as u8,
            int(seq)
        ])?;
        if entry.min_generation == REVOKED {
            block.execute(params![node_id])?;
        }
    }
    Ok(())
}

/// The end of the log in the database; `None` when it is empty.
pub(crate) fn log_head(db: &Connection) -> Result<Option<LogHead>, rusqlite::Error> {
    db.prepare_cached(
        "SELECT seq, epoch, hash FROM
            (SELECT seq, epoch, hash FROM log UNION ALL SELECT seq, epoch, hash FROM imported)
         ORDER BY epoch DESC, seq DESC LIMIT 1",
    )?
    .query_row([], |row| {
        Ok(LogHead {
            seq: uint(row.get(0)?),
            root_epoch: row.get(1)?,
            hash: row.get::<_, [u8; 32]>(2)?.into(),
        })
    })
    .optional()
}

/// The trust state that the database describes.
pub(crate) fn load_state(db: &Connection, chain: RootChain) -> Result<TrustState, AuthorityError> {
    let Some(head) = log_head(db)? else {
        return Ok(TrustState::new(chain));
    };
    let last_signed: i64 = meta(db, META_LAST_SIGNED)?.unwrap_or_default();
    let mut rows = db.prepare("SELECT node_id, min_generation, reason FROM revocations")?;
    let entries = rows
        .query_map([], |row| {
            Ok(RevocationEntry {
                device: row.get::<_, [u8; 32]>(0)?.into(),
                min_generation: row.get(1)?,
                reason: homing_certs::RevokeReason::from_number(row.get::<_, u32>(2)?.into())
                    .unwrap_or_default(),
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let newest_signed_time = UnixTime(uint(last_signed));
    Ok(TrustState::from_replica(
        chain,
        Replica {
            head,
            newest_signed_time,
            last_heartbeat: None,
            entries,
        },
    ))
}
