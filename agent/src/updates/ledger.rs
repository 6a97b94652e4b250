//! Log documents that are in force here and may not be on disk yet.
//!
//! An acknowledgement says "enforced and on disk, and everything before it". A write that fails (a full
//! disk) therefore stops all acknowledgements until it has been made up for, in order.

use std::collections::VecDeque;

use homing_certs::{LogHead, RevocationEntry};

use crate::store::{Store, StoreError, TrustRow};

/// Documents that wait for a disk that takes them again. Beyond it nothing more is kept here: the
/// coordinator sends them anew, because they were never acknowledged.
const MAX_WAITING: usize = 1_024;

/// What is on disk, and what waits to be.
#[derive(Debug)]
pub(super) struct Ledger {
    kept: LogHead,
    waiting: VecDeque<Waiting>,
    overflowed: bool,
}

#[derive(Debug)]
struct Waiting {
    row: TrustRow,
    entries: Vec<RevocationEntry>,
    is_snapshot: bool,
}

impl Ledger {
    /// `kept` is the position that was loaded from disk.
    pub(super) fn new(kept: LogHead) -> Self {
        Self {
            kept,
            waiting: VecDeque::new(),
            overflowed: false,
        }
    }

    /// The newest position that is on disk with everything before it: what the coordinator may be told.
    pub(super) fn kept(&self) -> LogHead {
        self.kept
    }

    pub(super) fn add_delta(&mut self, row: TrustRow, entries: Vec<RevocationEntry>) {
        self.add(Waiting {
            row,
            entries,
            is_snapshot: false,
        });
    }

    /// A snapshot stands for everything before it, so what waits is not needed any more.
    pub(super) fn add_snapshot(&mut self, row: TrustRow, entries: Vec<RevocationEntry>) {
        let mut all: Vec<RevocationEntry> = self
            .waiting
            .drain(..)
            .flat_map(|waiting| waiting.entries)
            .collect();
        all.extend(entries);
        self.overflowed = false;
        self.add(Waiting {
            row,
            entries: all,
            is_snapshot: true,
        });
    }

    /// Writes what waits, oldest first. `Ok(true)` when the disk holds everything that is in force.
    ///
    /// # Errors
    /// Of the first write that fails; what was written before it counts.
    pub(super) async fn write(&mut self, store: &Store) -> Result<bool, StoreError> {
        while let Some(next) = self.waiting.front() {
            let (row, entries) = (next.row.clone(), next.entries.clone());
            let head = row.head;
            match next.is_snapshot {
                true => store.save_snapshot(row, entries).await?,
                false => store.save_delta(row, entries).await?,
            }
            self.kept = head;
            self.waiting.pop_front();
        }
        Ok(!self.overflowed)
    }

    fn add(&mut self, waiting: Waiting) {
        if self.waiting.len() >= MAX_WAITING {
            self.overflowed = true;
        } else if !self.overflowed {
            self.waiting.push_back(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use homing_certs::{LogHash, NodeId, REVOKED, RevokeReason, UnixTime};

    use super::*;

    fn head(seq: u64) -> LogHead {
        LogHead {
            root_epoch: 1,
            seq,
            hash: LogHash::from([seq as u8; 32]),
        }
    }

    fn row(seq: u64) -> TrustRow {
        TrustRow {
            wire: vec![seq as u8],
            head: head(seq),
            floor: UnixTime(seq),
        }
    }

    fn entry(device: u8) -> RevocationEntry {
        let device = NodeId::from([device; 32]);
        RevocationEntry {
            device,
            min_generation: REVOKED,
            reason: RevokeReason::default(),
        }
    }

    #[tokio::test]
    async fn nothing_is_on_disk_by_word_before_everything_before_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let broken = Store::open(&folder.path().join("broken.db")).unwrap();
        broken.shutdown().await;
        let good = Store::open(&folder.path().join("good.db")).unwrap();
        let mut ledger = Ledger::new(head(0));
        ledger.add_delta(row(1), vec![entry(1)]);
        assert!(ledger.write(&broken).await.is_err());
        assert_eq!(ledger.kept(), head(0));
        // The next entry comes while the first is not on disk: both are written, in order.
        ledger.add_delta(row(2), vec![entry(2)]);
        assert!(ledger.write(&broken).await.is_err());
        assert_eq!(ledger.kept(), head(0));
        assert!(ledger.write(&good).await.unwrap());
        assert_eq!(ledger.kept(), head(2));
        assert_eq!(good.load_trust().await.unwrap().deltas, [vec![1], vec![2]]);
        good.shutdown().await;
    }

    #[tokio::test]
    async fn a_disk_that_stays_full_ends_acknowledgements_until_a_snapshot_makes_up_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent.db")).unwrap();
        let mut ledger = Ledger::new(head(0));
        for seq in 1..=(MAX_WAITING as u64 + 2) {
            ledger.add_delta(row(seq), vec![entry(1)]);
        }
        assert_eq!(ledger.waiting.len(), MAX_WAITING);
        assert!(!ledger.write(&store).await.unwrap());
        ledger.add_snapshot(row(5_000), vec![entry(2)]);
        assert!(ledger.write(&store).await.unwrap());
        assert_eq!(ledger.kept(), head(5_000));
        store.shutdown().await;
    }
}
