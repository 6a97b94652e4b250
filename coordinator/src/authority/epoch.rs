//! A new root epoch with a new signer: what happens when the network comes back on a new host from a
//! backup, which never holds the signer.
//!
//! In two steps. [`Authority::restore`] makes the signer and has the root sign for it, but tells
//! nobody: agents go on with what they have, and what the old signer has signed can still be imported
//! from them. [`Authority::resume`] then begins the epoch, in the transaction that ends the recovery.

use std::path::Path;

use homing_certs::{
    BACKDATE_SECS, EncodeError, LogHash, LogHead, NodeId, RootChain, RootDocument, RootError,
    SignerRecord, TrustState,
};
use rusqlite::{Connection, params};

use super::change::Change;
use super::create::SIGNER_LIFE_SECS;
use super::database::{self, DATABASE_FILE, DatabaseError, int, meta, set_meta};
use super::keys::{self, KeyError, RootKit, SIGNER_FILE};
use super::recovery::store_imported_head;
use super::refusal::AuthorityError;
use super::{Authority, META_RECOVERING, META_SEEN_EPOCH, META_SEEN_SEQ, OpenError, root_wires};
use crate::moment::Moment;

/// The signed root document of the epoch that [`Authority::resume`] begins.
const META_NEXT_ROOT: &str = "next_root";

/// Why a backup did not become a coordinator again. What was written may be thrown away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The directory holds a signer: this is the host that made the backup, or a copy of it.
    #[error("the directory holds a signer's key already")]
    SignerExists,
    /// The database cannot be opened.
    #[error("the restored database cannot be opened")]
    Database(#[source] DatabaseError),
    /// The database cannot be read or written.
    #[error("the restored database cannot be used")]
    Rows(#[source] rusqlite::Error),
    /// The root documents in the database are damaged.
    #[error("the root documents of the network are damaged")]
    Root(#[source] RootError),
    /// The kit is another network's, or an older root's.
    #[error("the recovery kit is not the root of this network")]
    WrongKit,
    /// The new root document cannot be signed.
    #[error("the new root document cannot be signed")]
    Sign(#[source] EncodeError),
    /// The signer's key cannot be made or written.
    #[error("the new signer's key cannot be made")]
    Keys(#[source] KeyError),
    /// What came of it cannot be opened.
    #[error("the restored coordinator cannot be opened")]
    Open(#[source] OpenError),
}

impl Authority {
    /// Makes a coordinator of what a backup held: database, audit log and the coordinator's own key,
    /// without a signer. The result is recovering; the new signer counts when it has been resumed.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(dir: &Path, kit: &RootKit, now: Moment) -> Result<Self, RestoreError> {
        let signer_path = dir.join(SIGNER_FILE);
        if signer_path.exists() {
            return Err(RestoreError::SignerExists);
        }
        let db = database::open(&dir.join(DATABASE_FILE), false).map_err(RestoreError::Database)?;
        let wires = root_wires(&db).map_err(RestoreError::Rows)?;
        let mut chain = RootChain::from_chain(wires, None).map_err(RestoreError::Root)?;
        let root = NodeId::from(&kit.root);
        if kit.network_id != chain.network_id() || chain.current().roots != [root] {
            return Err(RestoreError::WrongKit);
        }
        let signer = keys::generate().map_err(RestoreError::Keys)?;
        let not_before = now.wall.saturating_sub(BACKDATE_SECS);
        let next = RootDocument {
            network_id: Some(chain.network_id()),
            epoch: chain.epoch().saturating_add(1),
            signers: vec![SignerRecord {
                key: NodeId::from(&signer),
                not_before,
                not_after: not_before.saturating_add(SIGNER_LIFE_SECS),
            }],
            roots: vec![root],
            coordinators: chain.current().coordinators.clone(),
        };
        let wire = next.sign(&[&kit.root]).map_err(RestoreError::Sign)?;
        // Our own document passes our own checks, or it is not kept.
        chain.extend(&wire).map_err(RestoreError::Root)?;
        keys::write_key(&signer_path, &signer).map_err(RestoreError::Keys)?;
        mark(db, &wire, now).map_err(RestoreError::Rows)?;
        Self::open(dir, now).map_err(RestoreError::Open)
    }
}

impl Change<'_> {
    /// Begins the epoch that waits, if one does. Its log starts empty, at a snapshot of everything
    /// that is revoked; steps of the old epoch can be proved to nobody any more.
    pub(crate) fn begin_next_epoch(&mut self) -> Result<bool, AuthorityError> {
        let Some(wire) = next_root(&self.tx)? else {
            return Ok(false);
        };
        let mut chain = self.state().chain().clone();
        chain
            .extend(&wire)
            .map_err(|_| AuthorityError::Corrupt { what: "next root" })?;
        let head = LogHead {
            root_epoch: chain.epoch(),
            seq: 0,
            hash: LogHash::ZERO,
        };
        self.tx.execute(
            "INSERT INTO roots (epoch, wire) VALUES (?1, ?2)",
            params![head.root_epoch, wire],
        )?;
        self.tx.execute_batch(
            "DELETE FROM log; DELETE FROM imported; UPDATE revocations SET seq = 0;",
        )?;
        for name in [META_NEXT_ROOT, META_SEEN_EPOCH, META_SEEN_SEQ] {
            self.tx
                .execute("DELETE FROM meta WHERE name = ?1", params![name])?;
        }
        store_imported_head(&self.tx, head, self.time().0, &[])?;
        let mut replica = self.state().to_replica();
        replica.head = head;
        self.replace_state(TrustState::from_replica(chain, replica));
        Ok(true)
    }

    /// Whether an epoch waits for the end of the recovery.
    pub(crate) fn has_next_epoch(&self) -> Result<bool, rusqlite::Error> {
        Ok(next_root(&self.tx)?.is_some())
    }
}

/// Whether a key is the signer of the epoch that waits.
pub(crate) fn is_next_signer(db: &Connection, key: &NodeId) -> Result<bool, rusqlite::Error> {
    let document = next_root(db)?.and_then(|wire| RootDocument::decode_unverified(&wire).ok());
    Ok(document.is_some_and(|next| next.signers.iter().any(|signer| signer.key == *key)))
}

fn mark(mut db: Connection, next_root: &[u8], now: Moment) -> Result<(), rusqlite::Error> {
    let tx = db.transaction()?;
    set_meta(&tx, META_NEXT_ROOT, next_root)?;
    set_meta(&tx, META_RECOVERING, 1)?;
    tx.execute(
        "UPDATE invitations SET voided_at = ?1 WHERE used_at IS NULL AND voided_at IS NULL",
        params![int(now.wall.0)],
    )?;
    tx.commit()
}

fn next_root(db: &Connection) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    meta(db, META_NEXT_ROOT)
}
