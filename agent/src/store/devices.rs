//! Devices that this agent has admitted, and what the revocation log says about them.

use homing_certs::{NodeId, UserId};
use rusqlite::params;

use super::{Store, StoreError};
use crate::clock;

/// What an admission tells about a device.
#[derive(Debug, Clone)]
pub struct SeenDevice {
    /// Its key.
    pub node_id: NodeId,
    /// Whose it is.
    pub user_id: UserId,
    /// That user's handle.
    pub handle: String,
    /// Role of its certificate.
    pub role: String,
    /// Scopes of its certificate, joined by commas.
    pub scopes: String,
    /// Generation of its certificate.
    pub generation: u32,
    /// End of its certificate, Unix seconds.
    pub expires_at: i64,
    /// `direct` or `relay`.
    pub path: String,
}

/// A device in a list.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// What its newest admission told.
    pub seen: SeenDevice,
    /// First admission here, Unix seconds.
    pub first_seen: i64,
    /// Last admission here, Unix seconds.
    pub last_seen: i64,
    /// Whether the log revokes it, or its newest certificate is below the log's generation.
    pub revoked: bool,
}

impl Store {
    /// Remembers an admission.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device_seen(&self, seen: SeenDevice) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO devices (node_id, user_id, handle, role, scopes, generation,
                                          expires_at, path, first_seen, last_seen)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
                     ON CONFLICT DO UPDATE SET user_id = excluded.user_id, handle = excluded.handle,
                       role = excluded.role, scopes = excluded.scopes, generation = excluded.generation,
                       expires_at = excluded.expires_at, path = excluded.path,
                       last_seen = excluded.last_seen",
                )?
                .execute(params![
                    seen.node_id.as_bytes(),
                    seen.user_id.as_bytes(),
                    seen.handle,
                    seen.role,
                    seen.scopes,
                    seen.generation,
                    seen.expires_at,
                    seen.path,
                    clock::unix_secs()
                ])?;
            Ok(())
        })
        .await
    }

    /// A page of devices in the order of their keys; only those of `owner` when given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(
        &self,
        owner: Option<UserId>,
        after: Option<NodeId>,
        limit: usize,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT d.node_id, user_id, handle, role, scopes, generation, expires_at, path,
                        first_seen, last_seen, coalesce(r.min_generation > d.generation, 0)
                 FROM devices d LEFT JOIN revoked r ON r.node_id = d.node_id
                 WHERE (?1 IS NULL OR user_id = ?1) AND d.node_id > ?2 ORDER BY d.node_id LIMIT ?3",
            )?;
            let owner = owner.map(|owner| owner.as_bytes().to_vec());
            let after = after
                .map(|after| after.as_bytes().to_vec())
                .unwrap_or_default();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![owner, after, limit], |row| {
                Ok(DeviceRow {
                    seen: SeenDevice {
                        node_id: NodeId::from(row.get::<_, [u8; 32]>(0)?),
                        user_id: UserId::from(row.get::<_, [u8; 16]>(1)?),
                        handle: row.get(2)?,
                        role: row.get(3)?,
                        scopes: row.get(4)?,
                        generation: row.get(5)?,
                        expires_at: row.get(6)?,
                        path: row.get(7)?,
                    },
                    first_seen: row.get(8)?,
                    last_seen: row.get(9)?,
                    revoked: row.get(10)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
