//! Rows of providers. Their keys are here only sealed.

use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};

/// A provider as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRow {
    /// Its id.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// Name of its profile.
    pub profile: String,
    /// Where it is.
    pub base_url: String,
    /// Its key, sealed.
    pub key_sealed: Option<Vec<u8>>,
    /// The key as people see it; empty for none.
    pub key_display: String,
    /// Whether its models may answer.
    pub enabled: bool,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

impl Store {
    /// All providers by name; the service bounds their number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn providers(&self) -> Result<Vec<ProviderRow>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, profile, base_url, key_sealed, key_display, enabled, created_ms, updated_ms
                 FROM providers ORDER BY name",
            )?;
            let rows = statement.query_map([], provider)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One provider.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provider(&self, id: String) -> Result<Option<ProviderRow>, StoreError> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT id, name, profile, base_url, key_sealed, key_display, enabled, created_ms, updated_ms
                     FROM providers WHERE id = ?1",
                )?
                .query_row([id], provider)
                .optional()?)
        })
        .await
    }

    /// Adds a provider or replaces the one of its id. False when another one has its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_provider(&self, row: ProviderRow) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let taken = transaction
                .prepare_cached("SELECT 1 FROM providers WHERE name = ?1 AND id <> ?2")?
                .exists(params![row.name, row.id])?;
            if taken {
                return Ok(false);
            }
            transaction
                .prepare_cached(
                    "INSERT INTO providers (id, name, profile, base_url, key_sealed, key_display, enabled, created_ms, updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (id) DO UPDATE SET name = excluded.name, profile = excluded.profile,
                       base_url = excluded.base_url, key_sealed = excluded.key_sealed,
                       key_display = excluded.key_display, enabled = excluded.enabled,
                       updated_ms = excluded.updated_ms",
                )?
                .execute(params![
                    row.id,
                    row.name,
                    row.profile,
                    row.base_url,
                    row.key_sealed,
                    row.key_display,
                    row.enabled,
                    row.created_ms,
                    row.updated_ms,
                ])?;
            Ok(true)
        })
        .await
    }

    /// Removes a provider with its models and what is pinned to them. False when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_provider(&self, id: String) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let removed = transaction
                .prepare_cached("DELETE FROM providers WHERE id = ?1")?
                .execute([id])?;
            Ok(removed > 0)
        })
        .await
    }
}

fn provider(row: &Row<'_>) -> rusqlite::Result<ProviderRow> {
    Ok(ProviderRow {
        id: row.get(0)?,
        name: row.get(1)?,
        profile: row.get(2)?,
        base_url: row.get(3)?,
        key_sealed: row.get(4)?,
        key_display: row.get(5)?,
        enabled: row.get(6)?,
        created_ms: row.get(7)?,
        updated_ms: row.get(8)?,
    })
}
