//! After a restore: the database is older than what agents have seen, and signing with it would
//! bring revoked devices back. Owns the flag, the import of the newest log, and the way out.
//!
//! A log document is imported only when our own signer signed it, so nobody can invent one.

use homing_certs::{
    Applied, Delta, FormError, Kind, LogError, LogHash, LogHead, RevocationEntry, Snapshot,
    TrustState, kind_of,
};
use rusqlite::{Connection, params};

use super::change::{Change, is_recovering, store_delta, store_entries};
use super::database::{int, meta, set_meta, uint};
use super::refusal::{AuthorityError, Refusal};
use super::rights::Caller;
use super::{
    Authority, META_CLAIMS_NEED_PROOF, META_LAST_SIGNED, META_RECOVERING, META_SEEN_EPOCH,
    META_SEEN_SEQ,
};
use crate::moment::Moment;

/// A claim further ahead than this is a lie: no network revokes a million devices between backups.
pub const MAX_PLAUSIBLE_LEAD: u64 = 1_000_000;

/// Why a log document was not imported. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It has no valid form.
    #[error("the log document is malformed")]
    Malformed(#[source] FormError),
    /// It does not continue our log, or our signer did not sign it.
    #[error("the log document does not continue this log")]
    Refused(#[source] LogError),
    /// Only deltas and snapshots continue a log.
    #[error("only deltas and snapshots can be imported")]
    Kind,
}

impl Authority {
    /// Whether nothing is signed until [`Authority::resume`].
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn is_recovering(&self) -> Result<bool, AuthorityError> {
        Ok(is_recovering(&self.db)?)
    }

    /// Marks the database as restored from a backup. `homing restore` calls it before anything else.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn mark_restored(&mut self, now: Moment) -> Result<(), AuthorityError> {
        let change = self.change(now)?;
        set_meta(&change.tx, META_RECOVERING, 1)?;
        change.commit()
    }

    /// Hears the log position of an agent, which nobody has signed. One that is higher than ours, or that has
    /// another hash at our own position, means that this database was set back. Returns whether
    /// the coordinator is recovering now. After the owner has gone on without the newest log once,
    /// only signed documents ([`Authority::import`]) can say so: an agent that lies must not be able
    /// to keep the coordinator from revoking it.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn observe_head(&mut self, theirs: LogHead, now: Moment) -> Result<bool, AuthorityError> {
        let ours = self.head();
        let (have, got) = ((ours.root_epoch, ours.seq), (theirs.root_epoch, theirs.seq));
        if got < have || theirs == ours {
            return self.is_recovering();
        }
        // The state in memory may be behind another process's commit; the database decides.
        let change = self.change(now)?;
        let ours = change.state().head();
        if got < (ours.root_epoch, ours.seq) || theirs == ours {
            return Ok(is_recovering(&change.tx)?);
        }
        let needs_proof = meta::<i64>(&change.tx, META_CLAIMS_NEED_PROOF)?.unwrap_or_default() != 0;
        if needs_proof || theirs.seq.saturating_sub(ours.seq) > MAX_PLAUSIBLE_LEAD {
            tracing::warn!(
                have = ours.seq,
                shown = theirs.seq,
                "a claim of a newer log is not believed"
            );
            return Ok(is_recovering(&change.tx)?);
        }
        if !is_recovering(&change.tx)? {
            tracing::error!(
                have = ours.seq,
                shown = theirs.seq,
                "a newer revocation log exists: this coordinator was set back and signs nothing"
            );
            change.audit_as(
                "local",
                "",
                "recover",
                &theirs.seq.to_string(),
                "recovering",
            )?;
        }
        set_meta(&change.tx, META_RECOVERING, 1)?;
        let seen = (
            meta::<u32>(&change.tx, META_SEEN_EPOCH)?.unwrap_or_default(),
            seen_seq(&change.tx)?,
        );
        if got > seen {
            set_meta(&change.tx, META_SEEN_EPOCH, theirs.root_epoch)?;
            set_meta(&change.tx, META_SEEN_SEQ, int(theirs.seq))?;
        }
        change.commit()?;
        Ok(true)
    }

    /// Takes over a newer delta or snapshot that our own signer signed; that it exists shows that
    /// this database was set back, so the coordinator is recovering then. Returns the new end of the
    /// log; what is here already changes nothing.
    ///
    /// # Errors
    /// [`AuthorityError::Import`] when it does not fit.
    pub fn import(&mut self, wire: &[u8], now: Moment) -> Result<LogHead, AuthorityError> {
        let mut change = self.change(now)?;
        let mut state = change.state().clone();
        let applied = state.apply(wire).map_err(ImportError::Refused)?;
        let changed = match applied {
            Applied::Old | Applied::Heartbeat { .. } => return Ok(state.head()),
            Applied::Delta { changed, .. } | Applied::Snapshot { changed, .. } => changed,
        };
        set_meta(&change.tx, META_RECOVERING, 1)?;
        change.store_imported(wire, &changed)?;
        change.void_invitations(&changed)?;
        change.audit_as(
            "local",
            "",
            "import",
            &state.head().seq.to_string(),
            "allowed",
        )?;
        let head = state.head();
        change.replace_state(state);
        change.commit()?;
        Ok(head)
    }

    /// Ends the recovery: the owner has looked at the device list. Open invitations are void, and
    /// the log continues above every position that anybody has shown, after [`Authority::restore`] in
    /// a new root epoch. Also confirms the clock.
    ///
    /// # Errors
    /// [`Refusal::LogIncomplete`] while a newer log is known to exist and is not here, unless
    /// `without_newest_log`; [`Refusal::NotRecovering`] when there is nothing to end.
    pub fn resume(&mut self, without_newest_log: bool, now: Moment) -> Result<(), AuthorityError> {
        let doubted = self.clock.clone();
        let clock_in_doubt = doubted.time(now.wall, now.monotonic).is_err();
        // First, because the end of a recovery signs.
        self.clock.confirm(now.wall, now.monotonic);
        let confirmed = self.clock.last_signed();
        let resumed = self.decide(Caller::Local, "resume", "coordinator", now, |change, _| {
            if clock_in_doubt {
                set_meta(&change.tx, META_LAST_SIGNED, int(confirmed.0))?;
            }
            if !is_recovering(&change.tx)? {
                return if clock_in_doubt {
                    Ok(())
                } else {
                    Err(Refusal::NotRecovering.into())
                };
            }
            let (seen, have) = (seen_seq(&change.tx)?, change.state().head());
            if seen > have.seq {
                if !without_newest_log {
                    return Err(Refusal::LogIncomplete {
                        seen,
                        have: have.seq,
                    }
                    .into());
                }
                // A new epoch lies above every position of this one.
                if !change.has_next_epoch()? {
                    change.skip_to(seen)?;
                }
            }
            // The owner has looked: whoever claims a newer log from now on shows it. Otherwise one agent
            // that lies about its position could stop the coordinator again and again.
            if !change.has_next_epoch()? {
                set_meta(&change.tx, META_CLAIMS_NEED_PROOF, 1)?;
            }
            change.begin_next_epoch()?;
            change.void_all_invitations()?;
            Ok(set_meta(&change.tx, META_RECOVERING, 0)?)
        });
        match resumed {
            Ok(()) => self.snapshot = None,
            Err(_) => self.clock = doubted,
        }
        resumed
    }
}

impl Change<'_> {
    fn store_imported(
        &self,
        wire: &[u8],
        changed: &[RevocationEntry],
    ) -> Result<(), AuthorityError> {
        match kind_of(wire) {
            Some(Kind::RevocationDelta) => {
                let delta = Delta::decode_unverified(wire).map_err(ImportError::Malformed)?;
                store_delta(&self.tx, &delta, wire.to_vec())?;
            }
            Some(Kind::RevocationSnapshot) => {
                let all = Snapshot::decode_unverified(wire).map_err(ImportError::Malformed)?;
                let head = LogHead {
                    root_epoch: all.root_epoch,
                    seq: all.seq,
                    hash: all.head,
                };
                store_imported_head(&self.tx, head, all.time.0, wire)?;
                store_entries(&self.tx, all.seq, changed)?;
            }
            _ => return Err(ImportError::Kind.into()),
        }
        Ok(())
    }

    fn void_invitations(&self, changed: &[RevocationEntry]) -> Result<(), rusqlite::Error> {
        for entry in changed {
            self.void_invitations_of(&entry.device)?;
        }
        Ok(())
    }

    // Nobody has the entries up to `seen`. Agents at that position accept what follows only as a
    // snapshot from above it; its hash stands for a history that is lost.
    fn skip_to(&mut self, seen: u64) -> Result<(), AuthorityError> {
        let mut replica = self.state().to_replica();
        let lost = LogHash::from(super::keys::random::<32>()?);
        replica.head = LogHead {
            seq: seen + 1,
            hash: lost,
            ..replica.head
        };
        let state = TrustState::from_replica(self.state().chain().clone(), replica);
        store_imported_head(&self.tx, state.head(), self.time().0, &[])?;
        self.replace_state(state);
        Ok(())
    }
}

pub(crate) fn store_imported_head(
    db: &Connection,
    head: LogHead,
    time: u64,
    wire: &[u8],
) -> Result<(), rusqlite::Error> {
    db.prepare_cached("INSERT OR REPLACE INTO imported (seq, epoch, wire, hash, time) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![int(head.seq), head.root_epoch, wire, head.hash.as_bytes(), int(time)])?;
    Ok(())
}

fn seen_seq(db: &Connection) -> Result<u64, rusqlite::Error> {
    Ok(uint(meta(db, META_SEEN_SEQ)?.unwrap_or_default()))
}
