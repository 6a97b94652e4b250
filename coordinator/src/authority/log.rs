//! The revocation log as others read it: head, deltas, snapshot, heartbeat.

use std::sync::Arc;

use homing_certs::{LogHash, LogHead, NodeId, UnixTime};
use rusqlite::params;

use super::change::{load_state, log_head, trusted_time};
use super::database::{int, meta, set_meta, uint};
use super::refusal::{AuthorityError, Refusal};
use super::{Authority, META_LAST_SIGNED};
use crate::moment::Moment;

/// Deltas that are sent one by one; whoever lacks more gets a snapshot, which is smaller.
pub const MAX_DELTAS_BEHIND: u64 = 256;
/// Seconds for which a signed snapshot of an unmoved log serves all who ask.
const SNAPSHOT_REUSE_SECS: u64 = 60;
/// Seconds between two writes of the newest signed time by documents that change nothing else.
const KEEP_TIME_EVERY_SECS: u64 = 60;

/// A signed log entry and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDelta {
    /// The position that it leads to.
    pub head: LogHead,
    /// The document.
    pub wire: Arc<[u8]>,
}

/// What a replica lacks.
#[derive(Debug, Clone)]
pub enum CatchUp {
    /// These, in order; none when it is at the head.
    Deltas(Vec<SignedDelta>),
    /// Everything.
    Snapshot(Arc<[u8]>),
}

/// The snapshot that was signed last.
#[derive(Debug)]
pub(crate) struct SnapshotCache {
    head: LogHead,
    signed_at: u64,
    wire: Arc<[u8]>,
}

impl Authority {
    /// The end of the log.
    #[must_use]
    pub fn head(&self) -> LogHead {
        self.state.head()
    }

    /// At most `limit` deltas after a position, in order. `None` when they are not all here: the
    /// log continues behind an imported snapshot.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn deltas_after(
        &self,
        seq: u64,
        limit: u64,
    ) -> Result<Option<Vec<SignedDelta>>, AuthorityError> {
        let deltas: Vec<SignedDelta> = self
            .db
            .prepare_cached(
                "SELECT seq, epoch, hash, wire FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?
            .query_map(params![int(seq), int(limit)], |row| {
                Ok(SignedDelta {
                    head: LogHead {
                        seq: uint(row.get(0)?),
                        root_epoch: row.get(1)?,
                        hash: row.get::<_, [u8; 32]>(2)?.into(),
                    },
                    wire: row.get::<_, Vec<u8>>(3)?.into(),
                })
            })?
            .collect::<Result<_, _>>()?;
        let contiguous = deltas
            .iter()
            .zip(seq + 1..)
            .all(|(delta, seq)| delta.head.seq == seq);
        let reaches = deltas.last().map_or(seq, |delta| delta.head.seq);
        let whole = reaches >= self.head().seq || deltas.len() as u64 == limit;
        Ok((contiguous && whole).then_some(deltas))
    }

    /// What a replica at `theirs` lacks: deltas when they are few and follow on it, else a snapshot.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn catch_up(&mut self, theirs: LogHead, now: Moment) -> Result<CatchUp, AuthorityError> {
        let ours = self.head();
        if theirs == ours {
            return Ok(CatchUp::Deltas(Vec::new()));
        }
        let behind = ours.seq.checked_sub(theirs.seq);
        let few = behind.is_some_and(|behind| behind <= MAX_DELTAS_BEHIND);
        if few
            && theirs.root_epoch == ours.root_epoch
            && self.knows(&theirs)?
            && let Some(deltas) = self.deltas_after(theirs.seq, MAX_DELTAS_BEHIND)?
        {
            return Ok(CatchUp::Deltas(deltas));
        }
        Ok(CatchUp::Snapshot(self.snapshot(now)?))
    }

    /// The whole log, signed.
    ///
    /// # Errors
    /// [`AuthorityError`]; refused while recovering or while the clock is in doubt.
    pub fn snapshot(&mut self, now: Moment) -> Result<Arc<[u8]>, AuthorityError> {
        let time = self.signing_time(now)?;
        let head = self.state.head();
        if let Some(cached) = &self.snapshot
            && cached.head == head
            && time.0.abs_diff(cached.signed_at) < SNAPSHOT_REUSE_SECS
        {
            return Ok(cached.wire.clone());
        }
        let wire: Arc<[u8]> = self.state.snapshot(time).sign(&self.keys.signer)?.into();
        self.note_signed(time)?;
        self.snapshot = Some(SnapshotCache {
            head,
            signed_at: time.0,
            wire: wire.clone(),
        });
        Ok(wire)
    }

    /// "The log ends here, at this time", signed.
    ///
    /// # Errors
    /// [`AuthorityError`]; refused while recovering or while the clock is in doubt.
    pub fn heartbeat(&mut self, now: Moment) -> Result<SignedDelta, AuthorityError> {
        let time = self.signing_time(now)?;
        let head = self.state.head();
        let wire = self.state.heartbeat(time).sign(&self.keys.signer)?.into();
        self.note_signed(time)?;
        Ok(SignedDelta { head, wire })
    }

    // Like that of a change, without its lock: what is signed here changes no row.
    fn signing_time(&mut self, now: Moment) -> Result<UnixTime, AuthorityError> {
        if log_head(&self.db)?.is_some_and(|head| head != self.state.head()) {
            self.state = load_state(&self.db, self.state.chain().clone())?;
        }
        if self.is_recovering()? {
            return Err(Refusal::Recovering.into());
        }
        trusted_time(&self.clock, now)
    }

    // A heartbeat every 15 seconds is not worth a write to disk each: the guard against a clock that
    // was set back over a restart works in steps of five minutes.
    fn note_signed(&mut self, time: UnixTime) -> Result<(), AuthorityError> {
        self.clock.signed(time);
        let kept: i64 = meta(&self.db, META_LAST_SIGNED)?.unwrap_or_default();
        if time.seconds_since(UnixTime(uint(kept))) >= KEEP_TIME_EVERY_SECS {
            set_meta(&self.db, META_LAST_SIGNED, int(time.0))?;
        }
        Ok(())
    }

    // An agent that shows another hash for a position that we know has another log: only a snapshot
    // lets it see that, and raise its alarm.
    fn knows(&self, theirs: &LogHead) -> Result<bool, AuthorityError> {
        if theirs.seq == 0 {
            return Ok(theirs.hash == LogHash::ZERO);
        }
        let mut rows = self
            .db
            .prepare_cached("SELECT 1 FROM log WHERE seq = ?1 AND epoch = ?2 AND hash = ?3")?;
        Ok(rows.exists(params![
            int(theirs.seq),
            theirs.root_epoch,
            theirs.hash.as_bytes()
        ])?)
    }

    /// Whether the revocation of a key stands at or before a position.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn revoked_at(&self, node_id: &NodeId) -> Result<Option<u64>, AuthorityError> {
        Ok(super::revocation::revoked_at(&self.db, node_id)?)
    }
}
