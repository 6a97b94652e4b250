//! Answers to writes that carried a key of the client's own, so that a write that is sent again after
//! a lost answer is not done twice.

use homing_certs::NodeId;
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

/// How long an answer is kept, in milliseconds: a day, in which every client has tried again.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// Answers kept per device: with the largest answers 256 MiB, with usual ones two. Older ones go first.
const KEPT_PER_DEVICE: i64 = 4_096;

/// What a client may send again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// Who sends it.
    pub device: NodeId,
    /// Method of HTTP, or `RPC`.
    pub method: String,
    /// Path without its query, or the name of the RPC method.
    pub path: String,
    /// The client's own key.
    pub key: String,
}

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
    /// How much of its body was read and is in the fingerprint; none for all of it.
    pub prefix: Option<u64>,
    /// Status of HTTP; none while the first request runs, or when it was cut off.
    pub status: Option<u16>,
    /// Its type.
    pub content_type: String,
    /// The body; none when it was too large to keep.
    pub body: Option<Vec<u8>>,
}

impl Store {
    /// Takes a key for a request that is about to run. What is known of an earlier one if there is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_once(
        &self,
        key: IdempotencyKey,
        now_ms: i64,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        // On the disk before the write itself may be: otherwise a power cut could forget the key only.
        self.write_durably(move |transaction| {
            transaction
                .prepare_cached("DELETE FROM idempotent_answers WHERE created_ms <= ?1")?
                .execute([now_ms - KEPT_MS])?;
            let known = transaction
                .prepare_cached(
                    "SELECT fingerprint, status, content_type, body, prefix FROM idempotent_answers
                     WHERE device = ?1 AND method = ?2 AND path = ?3 AND key = ?4",
                )?
                .query_row(
                    params![key.device.as_bytes(), key.method, key.path, key.key],
                    |row| {
                        Ok(KeptAnswer {
                            fingerprint: row.get(0)?,
                            status: row.get(1)?,
                            content_type: row.get::<_, Option<_>>(2)?.unwrap_or_default(),
                            body: row.get(3)?,
                            prefix: row
                                .get::<_, Option<i64>>(4)?
                                .and_then(|prefix| u64::try_from(prefix).ok()),
                        })
                    },
                )
                .optional()?;
            if known.is_some() {
                return Ok(known);
            }
            transaction
                .prepare_cached(
                    "DELETE FROM idempotent_answers WHERE (device, method, path, key) IN
                       (SELECT device, method, path, key FROM idempotent_answers WHERE device = ?1
                        ORDER BY created_ms DESC LIMIT -1 OFFSET ?2)",
                )?
                .execute(params![key.device.as_bytes(), KEPT_PER_DEVICE - 1])?;
            transaction
                .prepare_cached(
                    "INSERT INTO idempotent_answers (device, method, path, key, fingerprint, created_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    key.device.as_bytes(),
                    key.method,
                    key.path,
                    key.key,
                    [0_u8; 32],
                    now_ms
                ])?;
            Ok(None)
        })
        .await
    }

    /// Keeps the answer of a request that has run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_once(
        &self,
        key: IdempotencyKey,
        answer: KeptAnswer,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE idempotent_answers
                     SET fingerprint = ?5, status = ?6, content_type = ?7, body = ?8, prefix = ?9
                     WHERE device = ?1 AND method = ?2 AND path = ?3 AND key = ?4",
                )?
                .execute(params![
                    key.device.as_bytes(),
                    key.method,
                    key.path,
                    key.key,
                    answer.fingerprint,
                    answer.status,
                    answer.content_type,
                    answer.body,
                    answer
                        .prefix
                        .map(|prefix| i64::try_from(prefix).unwrap_or(i64::MAX))
                ])?;
            Ok(())
        })
        .await
    }

    /// Gives a key back: the request changed nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_once(&self, key: IdempotencyKey) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "DELETE FROM idempotent_answers
                     WHERE device = ?1 AND method = ?2 AND path = ?3 AND key = ?4",
                )?
                .execute(params![
                    key.device.as_bytes(),
                    key.method,
                    key.path,
                    key.key
                ])?;
            Ok(())
        })
        .await
    }
}
