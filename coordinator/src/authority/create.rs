//! A new network: its keys, its genesis root document, its database. All or nothing: everything is
//! made in a directory beside and appears under its name by one rename.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_certs::{
    BACKDATE_SECS, EncodeError, GENESIS_EPOCH, Handle, HandleError, NodeId, RootChain,
    RootDocument, RootError, SignerRecord, UnixTime, UserId,
};
use rusqlite::{Connection, params};

use super::database::{self, DATABASE_FILE, DatabaseError, int, set_meta};
use super::keys::{self, KeyError, Keys, RootKit};
use super::{Authority, META_OWNER, OpenError};
use crate::files::{create_private_dir, sync_dir};
use crate::moment::Moment;

/// How long the signer may sign: the most that a root document allows is a little more.
pub(crate) const SIGNER_LIFE_SECS: u64 = 10 * 365 * 86_400;

/// What a new network needs to know.
#[derive(Debug, Clone)]
pub struct NewNetwork {
    /// Name of the first user, `[a-z0-9._-]{1,64}`.
    pub owner_handle: String,
    /// Now.
    pub now: Moment,
}

/// Why no network was made. Nothing is left behind under the directory's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is something already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The owner's handle is malformed.
    #[error("the owner's name is not usable")]
    Handle(#[source] HandleError),
    /// A directory cannot be made or renamed.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A key cannot be made or written.
    #[error("the network's keys cannot be made")]
    Keys(#[source] KeyError),
    /// The genesis root document cannot be signed.
    #[error("the genesis root document cannot be signed")]
    Sign(#[source] EncodeError),
    /// The genesis root document is not valid.
    #[error("the genesis root document is not valid")]
    Root(#[source] RootError),
    /// The database cannot be made.
    #[error("the coordinator's database cannot be made")]
    Database(#[source] DatabaseError),
    /// The first rows cannot be written.
    #[error("the coordinator's database cannot be written")]
    Write(#[source] rusqlite::Error),
    /// What was made cannot be opened.
    #[error("the new network cannot be opened")]
    Open(#[source] OpenError),
}

impl Authority {
    /// Makes a network in `<dir>`, which must not exist or be empty: root, signer and coordinator
    /// keys, the genesis root document and the database.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(dir: &Path, network: &NewNetwork) -> Result<Self, CreateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CreateError::Directory { path, source }
        };
        let handle = Handle::new(&network.owner_handle).map_err(CreateError::Handle)?;
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if is_occupied(dir).map_err(failed(dir))? {
            return Err(CreateError::Exists(dir.to_owned()));
        }
        let mut name = dir.file_name().unwrap_or_default().to_os_string();
        name.push(".new");
        let draft = parent.join(name);
        // Left by a crash before the rename: keys of a network that nobody has ever seen.
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&draft)(error));
            }
            _ => {}
        }
        create_private_dir(&draft).map_err(failed(&draft))?;
        fill(&draft, &handle, network.now)?;
        sync_dir(&draft).map_err(failed(&draft))?;
        fs::rename(&draft, dir).map_err(failed(dir))?;
        sync_dir(parent).map_err(failed(parent))?;
        Self::open(dir, network.now).map_err(CreateError::Open)
    }
}

fn fill(dir: &Path, owner: &Handle, now: Moment) -> Result<(), CreateError> {
    let root = keys::generate().map_err(CreateError::Keys)?;
    let keys = Keys::generate().map_err(CreateError::Keys)?;
    let not_before = now.wall.saturating_sub(BACKDATE_SECS);
    let genesis = RootDocument {
        network_id: None,
        epoch: GENESIS_EPOCH,
        signers: vec![SignerRecord {
            key: NodeId::from(&keys.signer),
            not_before,
            not_after: not_before.saturating_add(SIGNER_LIFE_SECS),
        }],
        roots: vec![NodeId::from(&root)],
        coordinators: vec![NodeId::from(&keys.coordinator)],
    };
    let wire = genesis.sign(&[&root]).map_err(CreateError::Sign)?;
    let chain = RootChain::from_genesis(&wire, None).map_err(CreateError::Root)?;
    keys.write(dir).map_err(CreateError::Keys)?;
    RootKit {
        network_id: chain.network_id(),
        root,
    }
    .write(dir)
    .map_err(CreateError::Keys)?;
    let db = database::open(&dir.join(DATABASE_FILE), true).map_err(CreateError::Database)?;
    let user_id = UserId::from(
        keys::random::<16>().map_err(|error| CreateError::Keys(KeyError::Random(error)))?,
    );
    write_rows(&db, &wire, user_id, owner, now.wall).map_err(CreateError::Write)?;
    // Closing moves the write-ahead log into the file, so that the rename takes everything along.
    db.close().map_err(|(_, error)| CreateError::Write(error))
}

fn write_rows(
    db: &Connection,
    root: &[u8],
    owner_id: UserId,
    owner: &Handle,
    now: UnixTime,
) -> Result<(), rusqlite::Error> {
    db.execute(
        "INSERT INTO roots (epoch, wire) VALUES (?1, ?2)",
        params![GENESIS_EPOCH, root],
    )?;
    db.execute(
        "INSERT INTO users (user_id, handle, created_at) VALUES (?1, ?2, ?3)",
        params![owner_id.as_bytes(), owner.as_str(), int(now.0)],
    )?;
    set_meta(db, META_OWNER, owner_id.as_bytes())
}

fn is_occupied(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
