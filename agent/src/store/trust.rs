//! The agent's replica of what its coordinator signed: root chain, revocation log, newest heartbeat.
//!
//! Opaque bytes that were verified before they came here; verified again when they are loaded. A
//! saved log entry is on the disk when the call returns, because an acknowledged revocation must
//! never be forgotten.

use homing_certs::{LogHead, NodeId, RevocationEntry, UnixTime};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Store, StoreError};

/// What was on disk, in the order in which it is applied: chain, snapshot, deltas, heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredTrust {
    /// Root documents, genesis first.
    pub chain: Vec<Vec<u8>>,
    /// The newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Log entries after the snapshot, oldest first.
    pub deltas: Vec<Vec<u8>>,
    /// The newest heartbeat.
    pub heartbeat: Option<Vec<u8>>,
    /// The newest signed time that was seen.
    pub floor: UnixTime,
}

/// A signed document with its place in the log and its time.
#[derive(Debug, Clone)]
pub struct TrustRow {
    /// As it came.
    pub wire: Vec<u8>,
    /// The log's position after it.
    pub head: LogHead,
    /// The time that it is at least, after it was taken.
    pub floor: UnixTime,
}

impl Store {
    /// Everything that was saved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_trust(&self) -> Result<StoredTrust, StoreError> {
        self.read(|connection| {
            let chain = connection
                .prepare("SELECT wire FROM root_chain ORDER BY epoch")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let document = |kind: &str| {
                connection
                    .prepare("SELECT wire, root_epoch, seq FROM trust_documents WHERE kind = ?1")?
                    .query_row([kind], |row| {
                        Ok((
                            row.get::<_, Vec<u8>>(0)?,
                            row.get::<_, i64>(1)?,
                            row.get::<_, i64>(2)?,
                        ))
                    })
                    .optional()
            };
            let snapshot = document("snapshot")?;
            let (epoch, seq) = snapshot
                .as_ref()
                .map_or((-1, -1), |(_, epoch, seq)| (*epoch, *seq));
            let deltas = connection
                .prepare(
                    "SELECT wire FROM log_entries WHERE (root_epoch, seq) > (?1, ?2)
                     ORDER BY root_epoch, seq",
                )?
                .query_map([epoch, seq], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let floor = connection
                .query_row("SELECT time FROM trust_floor", [], |row| {
                    row.get::<_, i64>(0)
                })
                .optional()?;
            Ok(StoredTrust {
                chain,
                snapshot: snapshot.map(|(wire, ..)| wire),
                deltas,
                heartbeat: document("heartbeat")?.map(|(wire, ..)| wire),
                floor: UnixTime(floor.and_then(|time| u64::try_from(time).ok()).unwrap_or(0)),
            })
        })
        .await
    }

    /// Saves a root document; the same epoch again changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_root(&self, epoch: u32, wire: Vec<u8>) -> Result<(), StoreError> {
        self.write_durably(move |transaction| {
            transaction.execute(
                "INSERT INTO root_chain (epoch, wire) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![epoch, wire],
            )?;
            Ok(())
        })
        .await
    }

    /// Saves a log entry and what it says about its devices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_delta(
        &self,
        row: TrustRow,
        entries: Vec<RevocationEntry>,
    ) -> Result<(), StoreError> {
        self.write_durably(move |transaction| {
            let seq = to_i64(row.head.seq)?;
            transaction.execute(
                "INSERT INTO log_entries (root_epoch, seq, wire) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
                params![row.head.root_epoch, seq, row.wire],
            )?;
            for entry in &entries {
                save_entry(transaction, entry, Some((row.head.root_epoch, seq)))?;
            }
            raise_floor(transaction, row.floor)
        })
        .await
    }

    /// Saves a snapshot in place of an older one. Log entries before it stay as proofs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_snapshot(
        &self,
        row: TrustRow,
        entries: Vec<RevocationEntry>,
    ) -> Result<(), StoreError> {
        self.write_durably(move |transaction| {
            if begins_epoch(transaction, row.head.root_epoch)? {
                // Also downwards: the old signer's clock may have been ahead.
                transaction.execute("DELETE FROM trust_floor", [])?;
            }
            save_document(transaction, "snapshot", &row)?;
            for entry in &entries {
                save_entry(transaction, entry, None)?;
            }
            raise_floor(transaction, row.floor)
        })
        .await
    }

    /// Saves the newest heartbeat. Meant for once a minute: what is lost with the power is only how
    /// fresh the replica was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_heartbeat(&self, row: TrustRow) -> Result<(), StoreError> {
        self.write(move |transaction| {
            save_document(transaction, "heartbeat", &row)?;
            raise_floor(transaction, row.floor)
        })
        .await
    }

    /// Signed documents that lead from a position to the newest one here, in order: log entries
    /// when they follow on it without a gap, else the newest snapshot and what came after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(&self, epoch: u32, seq: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let seq = to_i64(seq)?;
        self.read(move |connection| {
            let snapshot = connection
                .prepare(
                    "SELECT wire, root_epoch, seq FROM trust_documents WHERE kind = 'snapshot'",
                )?
                .query_row([], |row| {
                    Ok((
                        row.get::<_, Vec<u8>>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                    ))
                })
                .optional()?;
            let mut after = connection.prepare(
                "SELECT wire, root_epoch, seq FROM log_entries WHERE (root_epoch, seq) > (?1, ?2)
                 ORDER BY root_epoch, seq",
            )?;
            let mut entries_after = |epoch: i64, seq: i64| {
                after
                    .query_map([epoch, seq], |row| {
                        Ok((
                            row.get::<_, Vec<u8>>(0)?,
                            row.get::<_, i64>(1)?,
                            row.get::<_, i64>(2)?,
                        ))
                    })?
                    .collect::<Result<Vec<_>, _>>()
            };
            let epoch = i64::from(epoch);
            let entries = entries_after(epoch, seq)?;
            let follows = entries
                .iter()
                .zip(seq + 1..)
                .all(|((_, at, number), expected)| *at == epoch && *number == expected);
            let reached = entries
                .last()
                .map_or((epoch, seq), |(_, at, number)| (*at, *number));
            let newer = snapshot.filter(|(_, at, number)| !follows || (*at, *number) > reached);
            let (first, rest) = match newer {
                None => (None, entries),
                Some((wire, at, number)) => (Some(wire), entries_after(at, number)?),
            };
            Ok(first
                .into_iter()
                .chain(rest.into_iter().map(|(wire, ..)| wire))
                .collect())
        })
        .await
    }

    /// The signed entry that speaks about a device, for it to see. `None` when only a snapshot did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn proof(&self, node_id: NodeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |connection| {
            let wire = connection
                .prepare_cached(
                    "SELECT l.wire FROM revoked r JOIN log_entries l
                       ON l.root_epoch = r.wire_epoch AND l.seq = r.wire_seq WHERE r.node_id = ?1",
                )?
                .query_row([node_id.as_bytes()], |row| row.get(0))
                .optional()?;
            Ok(wire)
        })
        .await
    }
}

fn save_entry(
    transaction: &Transaction<'_>,
    entry: &RevocationEntry,
    wire: Option<(u32, i64)>,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO revoked (node_id, min_generation, wire_epoch, wire_seq)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET min_generation = excluded.min_generation,
               wire_epoch = excluded.wire_epoch, wire_seq = excluded.wire_seq
             WHERE excluded.min_generation > min_generation",
        )?
        .execute(params![
            entry.device.as_bytes(),
            entry.min_generation,
            wire.map(|(epoch, _)| epoch),
            wire.map(|(_, seq)| seq)
        ])?;
    Ok(())
}

fn save_document(
    transaction: &Transaction<'_>,
    kind: &str,
    row: &TrustRow,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO trust_documents (kind, root_epoch, seq, time, wire)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET root_epoch = excluded.root_epoch, seq = excluded.seq,
               time = excluded.time, wire = excluded.wire
             WHERE (excluded.root_epoch, excluded.seq, excluded.time) > (root_epoch, seq, time)",
        )?
        .execute(params![
            kind,
            row.head.root_epoch,
            to_i64(row.head.seq)?,
            to_i64(row.floor.0)?,
            row.wire
        ])?;
    Ok(())
}

/// Whether nothing of this root epoch, or of a later one, is here yet.
fn begins_epoch(transaction: &Transaction<'_>, epoch: u32) -> Result<bool, StoreError> {
    let newest: Option<u32> = transaction.query_row(
        "SELECT max(root_epoch) FROM
           (SELECT root_epoch FROM trust_documents UNION ALL SELECT root_epoch FROM log_entries)",
        [],
        |row| row.get(0),
    )?;
    Ok(newest.is_some_and(|newest| newest < epoch))
}

fn raise_floor(transaction: &Transaction<'_>, time: UnixTime) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO trust_floor (only, time) VALUES (1, ?1)
             ON CONFLICT DO UPDATE SET time = max(time, excluded.time)",
        )?
        .execute([to_i64(time.0)?])?;
    Ok(())
}

fn to_i64(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Value(format!("{value} is above 2^63")))
}
