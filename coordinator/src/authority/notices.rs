//! Notices: what all devices of a user should hear of, numbered.

use homing_protocol::control::Notice;
use rusqlite::{Connection, params};

use super::Authority;
use super::database::{int, uint};
use super::devices::actor;
use super::refusal::AuthorityError;
use super::rights::Caller;

/// Notices in one answer; the caller asks again behind the last.
const MAX_PAGE: i64 = 64;

impl Authority {
    /// Notices after a number that concern the caller, oldest first.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn notices(&self, caller: Caller, after: u64) -> Result<Vec<Notice>, AuthorityError> {
        let actor = actor(&self.db, caller)?;
        let list = self
            .db
            .prepare_cached(
                "SELECT number, time, kind, text FROM notices
                 WHERE number > ?1 AND (user_id IS NULL OR user_id = ?2 OR ?3)
                 ORDER BY number LIMIT ?4",
            )?
            .query_map(
                params![
                    int(after),
                    actor.user_id.as_bytes(),
                    actor.may_see_all(),
                    MAX_PAGE
                ],
                |row| {
                    Ok(Notice {
                        number: uint(row.get(0)?),
                        time: uint(row.get(1)?),
                        kind: row.get(2)?,
                        text: row.get(3)?,
                    })
                },
            )?
            .collect::<Result<_, _>>()?;
        Ok(list)
    }
}

/// Number of the newest; 0 when there is none.
pub(crate) fn newest(db: &Connection) -> Result<u64, rusqlite::Error> {
    db.query_row("SELECT coalesce(max(number), 0) FROM notices", [], |row| {
        row.get(0).map(uint)
    })
}
