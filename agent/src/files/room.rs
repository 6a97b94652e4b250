//! What a user's files take while some of them are written: writers beside each other see each other's
//! bytes, so that together they stay below the user's limits.
//!
//! Counted on the disk when a user's first writer comes, kept in memory while there are any, and forgotten
//! with the last one: whoever removes files by hand is not counted wrongly for long.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use homing_certs::UserId;
use tokio::sync::OnceCell;

use super::{FileError, TEMPORARY, disk};
use crate::config::Sizes;

/// The users whose files are being written.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    users: Mutex<HashMap<UserId, Weak<Used>>>,
}

#[derive(Debug, Default)]
struct Used {
    counted: OnceCell<()>,
    bytes: AtomicU64,
    files: AtomicUsize,
}

/// The room that one writer takes. Dropped, it is given back, unless the file was kept.
#[derive(Debug)]
pub(super) struct Room {
    used: Arc<Used>,
    sizes: Sizes,
    taken: u64,
    kept: bool,
}

impl Rooms {
    /// Room for one more file of a user.
    pub(super) async fn of(
        &self,
        user: UserId,
        folder: &Path,
        sizes: Sizes,
    ) -> Result<Room, FileError> {
        let used = self.used(user);
        let folder = folder.to_owned();
        let first = used.counted.get_or_try_init(|| async {
            let counted = tokio::task::spawn_blocking(move || count(&folder)).await;
            let counted = counted.map_err(|_| FileError::Cancelled)?;
            let (bytes, files) = counted.map_err(disk("counted"))?;
            used.bytes.store(bytes, Ordering::SeqCst);
            used.files.store(files, Ordering::SeqCst);
            Ok::<_, FileError>(())
        });
        first.await?;
        let before = used.files.fetch_add(1, Ordering::SeqCst);
        // From here on it is given back when it is dropped.
        let room = Room {
            used: used.clone(),
            sizes,
            taken: 0,
            kept: false,
        };
        if before >= sizes.user_files {
            let limit = sizes.user_files;
            return Err(FileError::QuotaFiles { limit });
        }
        Ok(room)
    }

    fn used(&self, user: UserId) -> Arc<Used> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = users.get(&user).and_then(Weak::upgrade) {
            return used;
        }
        users.retain(|_, used| used.strong_count() > 0);
        let used = Arc::new(Used::default());
        users.insert(user, Arc::downgrade(&used));
        used
    }
}

impl Room {
    /// Takes room for so many more bytes.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), FileError> {
        self.taken += bytes;
        let all = self.used.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        match all > self.sizes.user {
            true => Err(FileError::QuotaBytes {
                limit: self.sizes.user,
            }),
            false => Ok(()),
        }
    }

    /// The file stays, in the place of one that had so many bytes, if there was one.
    pub(super) fn keep(mut self, replaced: Option<u64>) {
        self.kept = true;
        if let Some(bytes) = replaced {
            self.used.bytes.fetch_sub(bytes, Ordering::SeqCst);
            self.used.files.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.kept {
            self.used.bytes.fetch_sub(self.taken, Ordering::SeqCst);
            self.used.files.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Bytes and number of the files that are whole.
fn count(folder: &Path) -> io::Result<(u64, usize)> {
    let (mut bytes, mut files) = (0, 0);
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        if item.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        // A file may go while the folder is read.
        if let Ok(metadata) = item.metadata() {
            bytes += metadata.len();
            files += 1;
        }
    }
    Ok((bytes, files))
}
