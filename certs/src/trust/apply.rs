//! How the trust state takes a document of the log: all checks first, then the change.

use super::TrustState;
use super::set::RevocationSet;
use crate::error::LogError;
use crate::ids::{LogHash, NetworkId, UnixTime};
use crate::log::{
    Delta, Heartbeat, LogHead, MAX_SNAPSHOT_ENTRIES, RevocationEntry, Snapshot, delta_hash,
};
use crate::wire::{Frame, Kind, kind_of};

/// What a document of the log has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The log is one step longer.
    Delta {
        /// The step.
        seq: u64,
        /// Devices that need a higher generation than before.
        changed: Vec<RevocationEntry>,
    },
    /// The log was replaced (new epoch) or brought forward (same epoch).
    Snapshot {
        /// The last step.
        seq: u64,
        /// Devices that need a higher generation than before.
        changed: Vec<RevocationEntry>,
    },
    /// The log is known to end here at this time.
    Heartbeat {
        /// The time.
        time: UnixTime,
    },
    /// Nothing new: lower than the head, or the same. To be counted by the caller.
    Old,
}

impl TrustState {
    /// Takes a delta, a snapshot or a heartbeat. On a refusal nothing has changed.
    pub fn apply(&mut self, wire: &[u8]) -> Result<Applied, LogError> {
        match kind_of(wire) {
            Some(Kind::RevocationSnapshot) => self.apply_snapshot(wire),
            Some(Kind::Heartbeat) => self.apply_heartbeat(wire),
            Some(kind @ (Kind::Root | Kind::DeviceCertificate)) => {
                Err(LogError::NotALogDocument(kind))
            }
            // What is of no known kind is refused there with its reason.
            Some(Kind::RevocationDelta | Kind::AddressHints) | None => self.apply_delta(wire),
        }
    }

    fn apply_delta(&mut self, wire: &[u8]) -> Result<Applied, LogError> {
        let frame = self.open(wire, Kind::RevocationDelta)?;
        let delta = Delta::decode(frame.body).map_err(LogError::Malformed)?;
        self.check_log_network(delta.network_id)?;
        self.check_log_origin(&frame, delta.root_epoch, delta.time)?;
        let hash = delta_hash(wire);
        let head = LogHead {
            root_epoch: delta.root_epoch,
            seq: delta.seq,
            hash,
        };
        if !self.is_ahead(head)? {
            return Ok(Applied::Old);
        }
        let follows = LogHead {
            seq: delta.seq - 1,
            hash: delta.previous,
            ..head
        };
        if self.is_ahead(follows)? {
            return Err(LogError::Gap {
                have: self.head,
                got: head,
            });
        }
        let mut revoked = self.revoked.clone();
        let changed = raise_all(&mut revoked, &delta.entries)?;
        self.revoked = revoked;
        self.advance(head, delta.time);
        Ok(Applied::Delta {
            seq: delta.seq,
            changed,
        })
    }

    fn apply_snapshot(&mut self, wire: &[u8]) -> Result<Applied, LogError> {
        let frame = self.open(wire, Kind::RevocationSnapshot)?;
        let snapshot = Snapshot::decode(frame.body).map_err(LogError::Malformed)?;
        self.check_log_network(snapshot.network_id)?;
        self.check_log_origin(&frame, snapshot.root_epoch, snapshot.time)?;
        let Snapshot {
            root_epoch,
            seq,
            head: hash,
            time,
            entries,
            ..
        } = snapshot;
        let head = LogHead {
            root_epoch,
            seq,
            hash,
        };
        if !self.is_ahead(head)? {
            return Ok(Applied::Old);
        }
        let new_epoch = root_epoch > self.head.root_epoch;
        let (revoked, changed) = if new_epoch || self.revoked.len() == 0 {
            let is_raise =
                |entry: &RevocationEntry| self.min_generation(&entry.device) < entry.min_generation;
            let changed = entries.iter().copied().filter(is_raise).collect();
            (entries.into_iter().collect(), changed)
        } else {
            // Within an epoch a generation only rises, whatever a snapshot leaves out.
            let mut revoked = self.revoked.clone();
            let changed = raise_all(&mut revoked, &entries)?;
            (revoked, changed)
        };
        self.revoked = revoked;
        if new_epoch {
            // Times of the old signer end with it, or one from the future would stay for ever.
            self.newest_signed_time = time;
            self.last_heartbeat = None;
        }
        self.advance(head, time);
        Ok(Applied::Snapshot { seq, changed })
    }

    fn apply_heartbeat(&mut self, wire: &[u8]) -> Result<Applied, LogError> {
        let frame = self.open(wire, Kind::Heartbeat)?;
        let beat = Heartbeat::decode(frame.body).map_err(LogError::Malformed)?;
        self.check_log_network(beat.network_id)?;
        self.check_log_origin(&frame, beat.root_epoch, beat.time)?;
        let (have, got) = (
            self.head,
            LogHead {
                root_epoch: beat.root_epoch,
                seq: beat.seq,
                hash: beat.head,
            },
        );
        if self.is_ahead(got)? {
            return Err(LogError::Gap { have, got });
        }
        if (got.root_epoch, got.seq) < (have.root_epoch, have.seq) {
            // Late on the way is harmless; signed later than all we have is a log cut short.
            return if got.root_epoch == have.root_epoch && beat.time > self.newest_signed_time {
                Err(LogError::Rollback { have, got })
            } else {
                Ok(Applied::Old)
            };
        }
        match self.last_heartbeat {
            Some(last) if beat.time == last => return Ok(Applied::Old),
            Some(last) if beat.time < last => {
                return Err(LogError::NotLater {
                    have: last,
                    got: beat.time,
                });
            }
            _ => {}
        }
        self.last_heartbeat = Some(beat.time);
        self.advance(got, beat.time);
        Ok(Applied::Heartbeat { time: beat.time })
    }

    /// Takes a document apart and checks its signature, before anything in it is read.
    pub(super) fn open<'a>(&self, wire: &'a [u8], kind: Kind) -> Result<Frame<'a>, LogError> {
        let frame = Frame::parse(wire, kind).map_err(LogError::Malformed)?;
        let key_id = frame.key_id();
        let Some(signer) = self.chain.current().signer(key_id) else {
            // Refused in any case; the name of the network only makes the better answer.
            self.check_log_network(claimed_network(&frame, kind).unwrap_or(self.network_id()))?;
            return Err(LogError::UnknownSigner { key_id });
        };
        frame
            .verify(0, &signer.key)
            .map_err(|_| LogError::BadSignature)?;
        Ok(frame)
    }

    pub(super) fn check_log_network(&self, got: NetworkId) -> Result<(), LogError> {
        let expected = self.network_id();
        if got == expected {
            Ok(())
        } else {
            Err(LogError::WrongNetwork { expected, got })
        }
    }

    pub(super) fn check_log_origin(
        &self,
        frame: &Frame<'_>,
        got: u32,
        time: UnixTime,
    ) -> Result<(), LogError> {
        let have = self.chain.epoch();
        if got > have {
            return Err(LogError::RootEpochAhead { have, got });
        }
        match self.chain.current().signer(frame.key_id()) {
            Some(signer) if !signer.holds(time) => Err(LogError::OutsideSignerWindow {
                time,
                not_before: signer.not_before,
                not_after: signer.not_after,
            }),
            _ => Ok(()),
        }
    }

    /// Whether `other` lies behind the head; the same step with another hash is an alarm.
    fn is_ahead(&self, other: LogHead) -> Result<bool, LogError> {
        let (have, got) = (
            (self.head.root_epoch, self.head.seq),
            (other.root_epoch, other.seq),
        );
        if have == got && self.head.hash != other.hash {
            let (have, got): (LogHash, LogHash) = (self.head.hash, other.hash);
            return Err(LogError::Equivocation {
                seq: other.seq,
                have,
                got,
            });
        }
        Ok(got > have)
    }

    fn advance(&mut self, head: LogHead, time: UnixTime) {
        self.head = head;
        self.newest_signed_time = self.newest_signed_time.max(time);
    }
}

fn raise_all(
    revoked: &mut RevocationSet,
    entries: &[RevocationEntry],
) -> Result<Vec<RevocationEntry>, LogError> {
    let changed = entries
        .iter()
        .copied()
        .filter(|entry| revoked.raise(entry))
        .collect();
    if revoked.len() > MAX_SNAPSHOT_ENTRIES {
        return Err(LogError::Full {
            count: revoked.len(),
            max: MAX_SNAPSHOT_ENTRIES,
        });
    }
    Ok(changed)
}

fn claimed_network(frame: &Frame<'_>, kind: Kind) -> Option<NetworkId> {
    match kind {
        Kind::RevocationDelta => Delta::decode(frame.body).ok().map(|delta| delta.network_id),
        Kind::RevocationSnapshot => Snapshot::decode(frame.body).ok().map(|all| all.network_id),
        Kind::Heartbeat => Heartbeat::decode(frame.body)
            .ok()
            .map(|beat| beat.network_id),
        Kind::Root | Kind::DeviceCertificate | Kind::AddressHints => None,
    }
}
