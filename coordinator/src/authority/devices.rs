//! Rows of devices and users, and the device list. Owns how a device is named and found.

use std::collections::HashMap;

use homing_certs::{NodeId, Role, Scopes, UnixTime, UserId, effective_rights};
use homing_protocol::control::{DeviceInfo, DeviceStatus};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::change::Change;
use super::database::{int, meta, uint};
use super::keys::random;
use super::refusal::{AuthorityError, Refusal};
use super::rights::{Actor, Caller, Target, owner_scopes};
use super::{Authority, META_OWNER};
use crate::moment::Moment;

/// Fewest digits of a key that name a device: a shorter prefix is too easily another's.
pub const MIN_KEY_PREFIX: usize = 8;
/// Longest name of a device, in bytes.
pub const MAX_NAME_LEN: usize = homing_protocol::enroll::MAX_DEVICE_NAME;
/// Longest platform text that is kept, in bytes: an operating system and its version.
const MAX_PLATFORM_LEN: usize = 64;
/// Name of a device that gave none.
const DEFAULT_NAME: &str = "device";

/// A device as it is stored, with its user's handle.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRow {
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    pub(crate) user_id: UserId,
    pub(crate) handle: String,
    pub(crate) user_active: bool,
    pub(crate) role: Role,
    pub(crate) scopes: Scopes,
    pub(crate) status: DeviceStatus,
    pub(crate) generation: Option<u32>,
    pub(crate) not_after: Option<UnixTime>,
    pub(crate) invited_by: Option<NodeId>,
    pub(crate) platform: Option<String>,
    pub(crate) last_seen: Option<u64>,
}

/// A device to be written.
#[derive(Debug)]
pub(crate) struct NewDevice<'a> {
    pub(crate) node_id: NodeId,
    pub(crate) name: &'a str,
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    pub(crate) scopes: &'a Scopes,
    pub(crate) status: DeviceStatus,
    pub(crate) invited_by: Option<NodeId>,
    pub(crate) platform: Option<&'a str>,
}

const COLUMNS: &str =
    "d.node_id, d.name, d.user_id, u.handle, u.status, d.role, d.scopes, d.status,
    d.generation, d.not_after, d.invited_by, d.platform, d.last_seen
    FROM devices d JOIN users u USING (user_id)";

impl Authority {
    /// The devices that the caller may see, by name. Whether they are online is not known here.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn devices(&mut self, caller: Caller) -> Result<Vec<DeviceInfo>, AuthorityError> {
        let actor = actor(&self.db, caller)?;
        let rows = all(&self.db)?;
        let names: HashMap<NodeId, String> = rows
            .iter()
            .map(|row| (row.node_id, row.name.clone()))
            .collect();
        let visible = rows.into_iter().filter(|row| actor.may_see(&row.target()));
        Ok(visible.map(|row| row.into_info(&names)).collect())
    }

    /// Gives a device another name.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn rename(
        &mut self,
        caller: Caller,
        selector: &str,
        name: &str,
        now: Moment,
    ) -> Result<DeviceInfo, AuthorityError> {
        self.decide(caller, "rename", selector, now, |change, actor| {
            let row = select(&change.tx, actor, selector)?;
            actor.may_rename(&row.target())?;
            if !is_name(name) || looks_like_key(name) {
                return Err(Refusal::BadName { name: shown(name) }.into());
            }
            if name != row.name && name_is_taken(&change.tx, name)? {
                return Err(Refusal::NameTaken {
                    name: name.to_owned(),
                }
                .into());
            }
            change
                .tx
                .prepare_cached("UPDATE devices SET name = ?2 WHERE node_id = ?1")?
                .execute(params![row.node_id.as_bytes(), name])?;
            info(&change.tx, &row.node_id)
        })
    }

    /// Notes that devices were connected.
    ///
    /// # Errors
    /// [`AuthorityError::Database`].
    pub fn seen(&mut self, devices: &[NodeId], now: UnixTime) -> Result<(), AuthorityError> {
        let tx = self.db.transaction()?;
        for node_id in devices {
            tx.prepare_cached("UPDATE devices SET last_seen = ?2 WHERE node_id = ?1")?
                .execute(params![node_id.as_bytes(), int(now.0)])?;
        }
        Ok(tx.commit()?)
    }
}

impl DeviceRow {
    pub(crate) fn target(&self) -> Target {
        Target {
            node_id: self.node_id,
            user_id: self.user_id,
            role: self.role,
        }
    }

    pub(crate) fn into_info(self, names: &HashMap<NodeId, String>) -> DeviceInfo {
        DeviceInfo {
            invited_by: self.invited_by.and_then(|id| names.get(&id).cloned()),
            device: self.name,
            node_id: self.node_id,
            user: self.handle,
            user_id: self.user_id,
            role: self.role,
            scopes: self.scopes.iter().map(str::to_owned).collect(),
            status: self.status,
            online: false,
            last_seen: self.last_seen,
            expires_at: self.not_after.map(|time| time.0),
            platform: self.platform,
        }
    }

    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        let text = |index: usize| row.get::<_, String>(index);
        let status = match text(7)?.as_str() {
            "active" => DeviceStatus::Active,
            "pending" => DeviceStatus::Pending,
            // An unreadable status must not let anybody in.
            _ => DeviceStatus::Revoked,
        };
        Ok(Self {
            node_id: row.get::<_, [u8; 32]>(0)?.into(),
            name: text(1)?,
            user_id: row.get::<_, [u8; 16]>(2)?.into(),
            handle: text(3)?,
            user_active: text(4)? == "active",
            role: parse_role(&text(5)?)?,
            scopes: parse_scopes(&text(6)?)?,
            status,
            generation: row.get(8)?,
            not_after: row
                .get::<_, Option<i64>>(9)?
                .map(|time| UnixTime(uint(time))),
            invited_by: row.get::<_, Option<[u8; 32]>>(10)?.map(NodeId::from),
            platform: row.get(11)?,
            last_seen: row.get::<_, Option<i64>>(12)?.map(uint),
        })
    }
}

/// The caller with the rights of its row at this moment.
pub(crate) fn actor(db: &Connection, caller: Caller) -> Result<Actor, AuthorityError> {
    match caller {
        Caller::Local => {
            let user_id = owner(db)?;
            let handle = handle_of(db, &user_id)?;
            Ok(Actor {
                node_id: None,
                user_id,
                handle,
                role: Role::Admin,
                rights: owner_scopes(),
                on_behalf_of: None,
            })
        }
        Caller::Device(node_id) => {
            let row = active(db, &node_id)?;
            Ok(Actor {
                node_id: Some(node_id),
                user_id: row.user_id,
                handle: row.handle,
                role: row.role,
                rights: effective_rights(row.role, &row.scopes),
                on_behalf_of: None,
            })
        }
    }
}

/// The row of a key that may act.
pub(crate) fn active(db: &Connection, node_id: &NodeId) -> Result<DeviceRow, AuthorityError> {
    let row = by_key(db, node_id)?;
    if let Some(proof) = super::revocation::revoked(db, node_id)? {
        return Err(Refusal::Revoked { proof }.into());
    }
    let row = row.ok_or(Refusal::NotEnrolled)?;
    match row.status {
        DeviceStatus::Active if row.user_active => Ok(row),
        DeviceStatus::Active => Err(Refusal::UserBlocked { handle: row.handle }.into()),
        DeviceStatus::Pending => Err(Refusal::NotApproved.into()),
        DeviceStatus::Revoked => Err(Refusal::Revoked { proof: None }.into()),
    }
}

pub(crate) fn by_key(
    db: &Connection,
    node_id: &NodeId,
) -> Result<Option<DeviceRow>, rusqlite::Error> {
    db.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.node_id = ?1"))?
        .query_row(params![node_id.as_bytes()], DeviceRow::read)
        .optional()
}

pub(crate) fn all(db: &Connection) -> Result<Vec<DeviceRow>, rusqlite::Error> {
    db.prepare_cached(&format!("SELECT {COLUMNS} ORDER BY d.name"))?
        .query_map([], DeviceRow::read)?
        .collect()
}

/// The one visible device that a text names: by its name, else by the start of its key.
pub(crate) fn select(
    db: &Connection,
    actor: &Actor,
    selector: &str,
) -> Result<DeviceRow, AuthorityError> {
    let unknown = || Refusal::UnknownDevice {
        selector: shown(selector),
    };
    let by_name = db
        .prepare_cached(&format!("SELECT {COLUMNS} WHERE d.name = ?1"))?
        .query_row(params![selector], DeviceRow::read)
        .optional()?;
    if let Some(row) = by_name.filter(|row| actor.may_see(&row.target())) {
        return Ok(row);
    }
    let prefix = selector.to_ascii_lowercase();
    let is_prefix = (MIN_KEY_PREFIX..=64).contains(&prefix.len())
        && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_prefix {
        return Err(unknown().into());
    }
    let mut rows: Vec<DeviceRow> = db
        .prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE lower(hex(d.node_id)) LIKE ?1 || '%' ORDER BY d.name"
        ))?
        .query_map(params![prefix], DeviceRow::read)?
        .collect::<Result<_, _>>()?;
    rows.retain(|row| actor.may_see(&row.target()));
    if rows.len() > 1 {
        let candidates = rows
            .iter()
            .map(|row| format!("{} ({})", row.name, row.node_id.short()))
            .collect();
        return Err(Refusal::AmbiguousDevice {
            selector: shown(selector),
            candidates,
        }
        .into());
    }
    Ok(rows.pop().ok_or_else(unknown)?)
}

/// The device as its owner sees it.
pub(crate) fn info(db: &Connection, node_id: &NodeId) -> Result<DeviceInfo, AuthorityError> {
    let row = by_key(db, node_id)?.ok_or_else(|| Refusal::unknown_key(node_id))?;
    let mut names = HashMap::new();
    if let Some(inviter) = row.invited_by
        && let Some(inviter) = by_key(db, &inviter)?
    {
        names.insert(inviter.node_id, inviter.name);
    }
    Ok(row.into_info(&names))
}

impl Change<'_> {
    pub(crate) fn insert_device(&self, device: &NewDevice<'_>) -> Result<(), rusqlite::Error> {
        self.tx
            .prepare_cached(
                "INSERT INTO devices (node_id, name, user_id, role, scopes, status, enrolled_at,
                    invited_by, platform) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                device.node_id.as_bytes(),
                device.name,
                device.user_id.as_bytes(),
                device.role.as_str(),
                device.scopes.to_string(),
                device.status.as_str(),
                int(self.time().0),
                device.invited_by.as_ref().map(|id| *id.as_bytes()),
                device.platform.map(clean_platform),
            ])?;
        Ok(())
    }

    /// The user with this handle, made when there is none.
    pub(crate) fn user_for(&self, handle: &str) -> Result<UserId, AuthorityError> {
        if !is_name(handle) {
            return Err(Refusal::BadUser {
                handle: shown(handle),
            }
            .into());
        }
        if let Some((user_id, active)) = user(&self.tx, handle)? {
            let blocked = || Refusal::UserBlocked {
                handle: handle.to_owned(),
            };
            return if active {
                Ok(user_id)
            } else {
                Err(blocked().into())
            };
        }
        let user_id = UserId::from(random::<16>()?);
        self.tx
            .prepare_cached("INSERT INTO users (user_id, handle, created_at) VALUES (?1, ?2, ?3)")?
            .execute(params![user_id.as_bytes(), handle, int(self.time().0)])?;
        Ok(user_id)
    }
}

fn user(db: &Connection, handle: &str) -> Result<Option<(UserId, bool)>, rusqlite::Error> {
    db.prepare_cached("SELECT user_id, status FROM users WHERE handle = ?1")?
        .query_row(params![handle], |row| {
            let active = row.get::<_, String>(1)? == "active";
            Ok((row.get::<_, [u8; 16]>(0)?.into(), active))
        })
        .optional()
}

pub(crate) fn owner(db: &Connection) -> Result<UserId, AuthorityError> {
    let id: Option<[u8; 16]> = meta(db, META_OWNER)?;
    Ok(id.ok_or(AuthorityError::Corrupt { what: "owner" })?.into())
}

pub(crate) fn handle_of(db: &Connection, user_id: &UserId) -> Result<String, rusqlite::Error> {
    db.prepare_cached("SELECT handle FROM users WHERE user_id = ?1")?
        .query_row(params![user_id.as_bytes()], |row| row.get(0))
}

/// 1 to 64 of `[a-z0-9._-]`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// A name that could be the start of a key would let one device be taken for another.
fn looks_like_key(name: &str) -> bool {
    name.len() >= MIN_KEY_PREFIX && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A free name like the one wanted: other characters become `-`, a taken name gets a number.
pub(crate) fn free_name(db: &Connection, wanted: Option<&str>) -> Result<String, rusqlite::Error> {
    let base = clean_name(wanted.unwrap_or(DEFAULT_NAME));
    let mut name = base.clone();
    // Ends: there are fewer devices than numbers.
    for number in 2u64.. {
        if !name_is_taken(db, &name)? {
            break;
        }
        let suffix = format!("-{number}");
        let kept = base.len().min(MAX_NAME_LEN - suffix.len());
        name = format!("{}{suffix}", &base[..kept]);
    }
    Ok(name)
}

pub(crate) fn parse_role(text: &str) -> Result<Role, rusqlite::Error> {
    text.parse().map_err(|_| unreadable("role"))
}

pub(crate) fn parse_scopes(text: &str) -> Result<Scopes, rusqlite::Error> {
    Scopes::new(text.split(',').filter(|scope| !scope.is_empty())).map_err(|_| unreadable("scopes"))
}

/// A text of a caller, fit for a message: short and without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn name_is_taken(db: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
    db.prepare_cached("SELECT 1 FROM devices WHERE name = ?1")?
        .exists(params![name])
}

fn clean_name(wanted: &str) -> String {
    let name: String = wanted
        .trim()
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(MAX_NAME_LEN)
        .collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() || looks_like_key(&name) {
        DEFAULT_NAME.to_owned()
    } else {
        name
    }
}

fn clean_platform(platform: &str) -> String {
    platform
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(MAX_PLATFORM_LEN)
        .collect()
}

fn unreadable(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnName(what.to_owned())
}
