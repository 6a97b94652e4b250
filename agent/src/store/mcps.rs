//! Rows of MCP servers: whose they are, how to reach them, their sealed secrets.

use homing_certs::UserId;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::clock;

/// One MCP server as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpRow {
    /// Whose.
    pub user: UserId,
    /// Unique for the user.
    pub name: String,
    /// JSON without secrets.
    pub config: String,
    /// Sealed secrets.
    pub secret: Vec<u8>,
    /// Whether it is to run.
    pub enabled: bool,
    /// `initialize` or `discover`, once it is known.
    pub lifecycle: Option<String>,
}

/// What became of a new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McpAdded {
    /// It is stored.
    Done,
    /// The user has one of this name.
    NameTaken,
    /// The user has as many as may be.
    TooMany,
}

impl Store {
    /// The MCP servers of all users; for the start of the process only.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_mcps(&self) -> Result<Vec<McpRow>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT user_id, name, config, secret, enabled, lifecycle FROM mcps
                 ORDER BY user_id, name",
            )?;
            let rows = statement.query_map([], read_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Stores a new server unless the user has one of this name, or `most` already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_mcp(&self, row: McpRow, most: usize) -> Result<McpAdded, StoreError> {
        self.write_durably(move |transaction| {
            let (count, taken): (i64, bool) = transaction
                .prepare_cached(
                    "SELECT count(*), coalesce(max(name = ?2), 0) FROM mcps WHERE user_id = ?1",
                )?
                .query_row(params![row.user.as_bytes(), row.name], |found| {
                    Ok((found.get(0)?, found.get(1)?))
                })?;
            if taken {
                return Ok(McpAdded::NameTaken);
            }
            if usize::try_from(count).is_ok_and(|count| count >= most) {
                return Ok(McpAdded::TooMany);
            }
            let now = clock::unix_ms();
            transaction
                .prepare_cached(
                    "INSERT INTO mcps (user_id, name, config, secret, enabled, created_ms, updated_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                )?
                .execute(params![
                    row.user.as_bytes(),
                    row.name,
                    row.config,
                    row.secret,
                    row.enabled,
                    now
                ])?;
            Ok(McpAdded::Done)
        })
        .await
    }

    /// Replaces a server's config and forgets how it wanted to be greeted. False when the user has
    /// none of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_mcp(&self, row: McpRow) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE mcps SET config = ?3, secret = ?4, enabled = ?5, lifecycle = NULL,
                            updated_ms = ?6
                     WHERE user_id = ?1 AND name = ?2",
                )?
                .execute(params![
                    row.user.as_bytes(),
                    row.name,
                    row.config,
                    row.secret,
                    row.enabled,
                    clock::unix_ms()
                ])?;
            Ok(changed > 0)
        })
        .await
    }

    /// Says whether a server is to run. False when the user has none of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enable_mcp(
        &self,
        user: UserId,
        name: String,
        enabled: bool,
    ) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE mcps SET enabled = ?3, updated_ms = ?4 WHERE user_id = ?1 AND name = ?2",
                )?
                .execute(params![user.as_bytes(), name, enabled, clock::unix_ms()])?;
            Ok(changed > 0)
        })
        .await
    }

    /// Remembers how a server wants to be greeted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember_mcp_lifecycle(
        &self,
        user: UserId,
        name: String,
        lifecycle: &'static str,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached("UPDATE mcps SET lifecycle = ?3 WHERE user_id = ?1 AND name = ?2")?
                .execute(params![user.as_bytes(), name, lifecycle])?;
            Ok(())
        })
        .await
    }

    /// Forgets a server. False when the user has none of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_mcp(&self, user: UserId, name: String) -> Result<bool, StoreError> {
        self.write_durably(move |transaction| {
            let found = transaction
                .prepare_cached("DELETE FROM mcps WHERE user_id = ?1 AND name = ?2 RETURNING 1")?
                .query_row(params![user.as_bytes(), name], |_| Ok(()))
                .optional()?;
            Ok(found.is_some())
        })
        .await
    }
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<McpRow> {
    let user: [u8; 16] = row.get(0)?;
    Ok(McpRow {
        user: UserId::from(user),
        name: row.get(1)?,
        config: row.get(2)?,
        secret: row.get(3)?,
        enabled: row.get(4)?,
        lifecycle: row.get(5)?,
    })
}
