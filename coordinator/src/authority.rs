//! Everything that the coordinator decides: who is a member, who may do what, what is revoked.
//!
//! Synchronous, over SQLite and a few key files in one directory; used by the network service on its
//! writer thread, and by commands directly when nothing runs. Time is an argument of every decision.
//! It does not own connections: what has to be pushed is handed out after the commit.

mod agents;
mod approvals;
mod audit;
mod certificates;
mod change;
mod create;
mod database;
mod devices;
mod epoch;
mod invitations;
mod keys;
mod log;
mod notices;
mod recovery;
mod redemption;
mod refusal;
mod revocation;
mod rights;

use std::path::{Path, PathBuf};

use homing_certs::{
    NetworkId, NodeId, RootChain, RootError, SigningClock, SigningKey, TrustState, UnixTime,
};
use rusqlite::{Connection, TransactionBehavior};

pub use self::approvals::{MAX_CODE_TRIES, MAX_PENDING, PENDING_SECS};
pub use self::audit::{AUDIT_FILE, AuditError, AuditLine};
pub use self::certificates::{LocalEnrollment, RENEWAL_GRACE_DAYS, Renewal};
pub use self::create::{CreateError, NewNetwork};
pub use self::database::{DATABASE_FILE, DatabaseError};
pub use self::devices::{MAX_NAME_LEN, MIN_KEY_PREFIX};
pub use self::epoch::RestoreError;
pub use self::invitations::{
    DEFAULT_TICKET_SECS, MAX_MACHINE_TICKET_SECS, MAX_OPEN_INVITATIONS, MAX_TICKET_SECS,
};
pub use self::keys::{
    COORDINATOR_KEY_FILE, KeyError, KitError, ROOT_KIT_FILE, RootKit, SIGNER_FILE,
};
pub use self::log::{CatchUp, MAX_DELTAS_BEHIND, SignedDelta};
pub use self::recovery::{ImportError, MAX_PLAUSIBLE_LEAD};
pub use self::redemption::{Applicant, EnrolledDevice, MAX_WRONG_SECRETS, RedeemOutcome};
pub use self::refusal::{AuthorityError, Refusal};
pub use self::revocation::RevokeCommit;
pub use self::rights::{
    Caller, GUEST_DEVICE_SCOPES, OWN_DEVICE_SCOPES, default_scopes, owner_scopes,
};

use self::audit::Audit;
use self::change::{Change, Effects, Parts};
use self::keys::Keys;
use self::log::SnapshotCache;
use self::rights::Actor;
use crate::moment::Moment;

const META_OWNER: &str = "owner";
const META_LAST_SIGNED: &str = "last_signed";
const META_RECOVERING: &str = "recovering";
const META_SEEN_EPOCH: &str = "seen_epoch";
const META_SEEN_SEQ: &str = "seen_seq";
const META_CLAIMS_NEED_PROOF: &str = "claims_need_proof";

/// Refusals that are written to the audit log per minute; the rest is only counted, so that a
/// device cannot fill the disk by asking.
const AUDITED_REFUSALS_PER_MINUTE: u32 = 60;

/// Why the coordinator's directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no network here.
    #[error("there is no coordinator in {}", .0.display())]
    Missing(PathBuf),
    /// A key file cannot be used.
    #[error("the coordinator's keys cannot be read")]
    Keys(#[source] KeyError),
    /// The database cannot be used.
    #[error("the coordinator's database cannot be opened")]
    Database(#[source] DatabaseError),
    /// The database cannot be read.
    #[error("the coordinator's database cannot be read")]
    Read(#[source] AuthorityError),
    /// The root documents in the database are damaged.
    #[error("the root documents of the network are damaged")]
    Root(#[source] RootError),
    /// The signer's key is not the one that the root document names.
    #[error("the signer's key is not the one in the newest root document")]
    WrongSigner,
}

/// The authority of one network. Not shared between threads; the network half has one writer.
pub struct Authority {
    dir: PathBuf,
    db: Connection,
    keys: Keys,
    audit: Audit,
    clock: SigningClock,
    state: TrustState,
    effects: Effects,
    snapshot: Option<SnapshotCache>,
    refusals: RefusalBudget,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority in `<dir>`, as [`Authority::create`] has left it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: &Path, now: Moment) -> Result<Self, OpenError> {
        let path = dir.join(DATABASE_FILE);
        if !path.exists() {
            return Err(OpenError::Missing(dir.to_owned()));
        }
        let keys = Keys::read(dir).map_err(OpenError::Keys)?;
        let db = database::open(&path, false).map_err(OpenError::Database)?;
        let read = |error: rusqlite::Error| OpenError::Read(error.into());
        let roots = root_wires(&db).map_err(read)?;
        let chain = RootChain::from_chain(roots, None).map_err(OpenError::Root)?;
        let signer = NodeId::from(&keys.signer);
        let is_signer = chain
            .current()
            .signers
            .iter()
            .any(|record| record.key == signer);
        if !is_signer && !epoch::is_next_signer(&db, &signer).map_err(read)? {
            return Err(OpenError::WrongSigner);
        }
        let state = change::load_state(&db, chain).map_err(OpenError::Read)?;
        let last_signed: i64 = database::meta(&db, META_LAST_SIGNED)
            .map_err(read)?
            .unwrap_or_default();
        let last_signed = UnixTime(database::uint(last_signed));
        let newest_notice = notices::newest(&db).map_err(read)?;
        Ok(Self {
            dir: dir.to_owned(),
            audit: Audit::new(dir),
            clock: SigningClock::new(last_signed, now.wall, now.monotonic),
            effects: Effects {
                newest_notice,
                ..Effects::default()
            },
            snapshot: None,
            refusals: RefusalBudget::default(),
            db,
            keys,
            state,
        })
    }

    /// The network.
    #[must_use]
    pub fn network_id(&self) -> NetworkId {
        self.state.network_id()
    }

    /// All root documents.
    #[must_use]
    pub fn chain(&self) -> &RootChain {
        self.state.chain()
    }

    /// The coordinator's own address key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from(&self.keys.coordinator)
    }

    /// The secret of the coordinator's endpoint.
    #[must_use]
    pub fn endpoint_key(&self) -> SigningKey {
        self.keys.coordinator.clone()
    }

    /// The directory of the authority.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a consistent copy of the database, also while it is in use. The keys and the audit log
    /// are files beside it; a copy that is put back must be marked by [`Authority::mark_restored`].
    ///
    /// # Errors
    /// [`AuthorityError::Database`], also when `to` exists.
    pub fn copy_database(&self, to: &Path) -> Result<(), AuthorityError> {
        database::copy(&self.db, to).map_err(AuthorityError::Database)
    }

    /// Checks the audit log from its first line. Returns the number of lines.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn verify_audit(&self) -> Result<u64, AuditError> {
        self.audit.verify(&self.db)
    }

    /// Takes the deltas that were committed since the last call, in order.
    #[must_use]
    pub fn take_deltas(&mut self) -> Vec<SignedDelta> {
        std::mem::take(&mut self.effects.deltas)
    }

    /// Number of the newest notice.
    #[must_use]
    pub fn newest_notice(&self) -> u64 {
        self.effects.newest_notice
    }

    /// Rises whenever a waiting device was let in or turned away.
    #[must_use]
    pub fn admissions(&self) -> u64 {
        self.effects.admissions
    }

    /// The owner confirms that the wall clock is right now.
    pub fn confirm_clock(&mut self, now: Moment) {
        self.clock.confirm(now.wall, now.monotonic);
    }

    fn change(&mut self, now: Moment) -> Result<Change<'_>, AuthorityError> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let parts = Parts {
            keys: &self.keys,
            audit: &self.audit,
            clock: &mut self.clock,
            state: &mut self.state,
            effects: &mut self.effects,
        };
        Change::begin(tx, now, parts)
    }

    // One request of one caller: rights and rows are read, the audit line is written and the change
    // is committed under one lock. A refusal leaves an audit line and nothing else.
    fn decide<T>(
        &mut self,
        caller: Caller,
        method: &str,
        target: &str,
        now: Moment,
        decision: impl FnOnce(&mut Change<'_>, &Actor) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        let mut change = self.change(now)?;
        let actor = devices::actor(&change.tx, caller)?;
        match decision(&mut change, &actor) {
            Ok(done) => {
                change.audit(&actor, method, &devices::shown(target), "allowed")?;
                change.commit()?;
                Ok(done)
            }
            Err(AuthorityError::Refused(refusal)) => {
                drop(change);
                self.audit_refusal(&actor, method, target, &refusal, now);
                Err(refusal.into())
            }
            Err(error) => Err(error),
        }
    }

    fn audit_refusal(
        &mut self,
        actor: &Actor,
        method: &str,
        target: &str,
        refusal: &Refusal,
        now: Moment,
    ) {
        if !self.refusals.take(now) {
            return;
        }
        let written = self.change(now).and_then(|change| {
            change.audit(actor, method, &devices::shown(target), refusal.code())?;
            change.commit()
        });
        if let Err(error) = written {
            tracing::warn!(%error, method, "a refusal is missing from the audit log");
        }
    }
}

#[derive(Debug, Default)]
struct RefusalBudget {
    minute: u64,
    used: u32,
}

impl RefusalBudget {
    fn take(&mut self, now: Moment) -> bool {
        let minute = now.monotonic.as_secs() / 60;
        if minute != self.minute {
            if self.used > AUDITED_REFUSALS_PER_MINUTE {
                let missing = self.used - AUDITED_REFUSALS_PER_MINUTE;
                tracing::warn!(
                    missing,
                    "refusals within a minute that the audit log leaves out"
                );
            }
            *self = Self { minute, used: 0 };
        }
        self.used = self.used.saturating_add(1);
        self.used <= AUDITED_REFUSALS_PER_MINUTE
    }
}

fn root_wires(db: &Connection) -> Result<Vec<Vec<u8>>, rusqlite::Error> {
    db.prepare("SELECT wire FROM roots ORDER BY epoch")?
        .query_map([], |row| row.get(0))?
        .collect()
}
