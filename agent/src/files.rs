//! Files that people store on the agent: one flat folder per user below `uploads/`.
//!
//! Owns names, sizes and the way bytes get to the disk (temporary file, sync, rename). Who may do
//! what is the gateway's; HTTP is too.

mod name;
mod room;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::{Stream, StreamExt};
use homing_certs::UserId;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio_util::sync::CancellationToken;

pub use name::{MAX_NAME, is_clean, sanitise};
use room::{Room, Rooms};

use crate::config::Sizes;

/// Bytes that are collected before a write to the disk.
const WRITE_BUFFER: usize = 128 << 10;
/// Prefix of files that are being written; no clean name begins with a dot.
const TEMPORARY: &str = ".part-";

/// Why a file was not stored or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The name is not one under which a file can be stored.
    #[error(
        "this is not a name for a file: use letters, digits, dot, dash and underscore, not a leading dot"
    )]
    BadName,
    /// There is no such file of this user.
    #[error("there is no such file")]
    NotFound,
    /// The file is above the limit.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The user's files are above the limit.
    #[error("your files would take more than {limit} bytes together")]
    QuotaBytes {
        /// The limit.
        limit: u64,
    },
    /// The user has too many files.
    #[error("you have {limit} files already")]
    QuotaFiles {
        /// The limit.
        limit: usize,
    },
    /// The sender broke off.
    #[error("the upload broke off")]
    BrokenOff,
    /// The device was cut off while it sent.
    #[error("the upload was cancelled")]
    Cancelled,
    /// The disk failed.
    #[error("the file could not be {doing}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// A file that has been stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredFile {
    /// Where it can be read on this agent.
    pub path: String,
    /// Its name.
    pub filename: String,
    /// Its length, in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// What a new file is called.
#[derive(Debug, Clone)]
pub enum Target {
    /// A new name made from this one; never replaces a file.
    Fresh(String),
    /// A name made from this one; a file of such a name and the same content is taken in its place.
    Shared(String),
    /// Exactly this name; replaces what is there.
    Exactly(String),
}

/// The files of all users.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    sizes: Sizes,
    /// Of one upload; the one size that changes while the agent runs.
    upload: AtomicU64,
    rooms: Rooms,
    counter: AtomicU64,
}

impl Files {
    /// Files below `<dir>/uploads`. What an earlier process left half-written is removed. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: &Path, sizes: Sizes) -> io::Result<Self> {
        let root = dir.join("uploads");
        make_private_dir(&root)?;
        for user in std::fs::read_dir(&root)? {
            let user = user?.path();
            if user.is_dir() {
                remove_temporary(&user)?;
            }
        }
        Ok(Self {
            root,
            upload: AtomicU64::new(sizes.upload),
            sizes,
            rooms: Rooms::default(),
            counter: AtomicU64::new(0),
        })
    }

    /// The configured sizes.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            upload: self.upload.load(Ordering::Relaxed),
            ..self.sizes
        }
    }

    /// From now on an upload may have so many bytes.
    pub fn change_upload(&self, bytes: u64) {
        self.upload.store(bytes, Ordering::Relaxed);
    }

    /// Stores a stream of at most `limit` bytes. Nothing stays of a stream that does not end well.
    ///
    /// # Errors
    /// When the name, the size or the disk does not allow it, or the stream breaks off.
    pub async fn store<S, E>(
        &self,
        user: UserId,
        target: Target,
        body: S,
        limit: u64,
        cancel: &CancellationToken,
    ) -> Result<StoredFile, FileError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let folder = self.folder(user);
        make_private_dir(&folder).map_err(disk("stored"))?;
        let mut room = self.rooms.of(user, &folder, self.sizes).await?;
        let wanted = match &target {
            Target::Fresh(name) | Target::Shared(name) => sanitise(name),
            Target::Exactly(name) if is_clean(name) => name.clone(),
            Target::Exactly(_) => return Err(FileError::BadName),
        };
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary =
            Temporary(folder.join(format!("{TEMPORARY}{}-{number}", std::process::id())));
        let mut file = create(&temporary.0).await.map_err(disk("created"))?;
        let written = tokio::select! {
            written = copy(body, &mut file, limit, &mut room) => written?,
            () = cancel.cancelled() => return Err(FileError::Cancelled),
        };
        file.sync_all().await.map_err(disk("synced"))?;
        drop(file);
        let filename = match target {
            Target::Fresh(_) | Target::Shared(_) => {
                let share = matches!(target, Target::Shared(_));
                let claimed = claim(&folder, &temporary.0, &wanted, &written, share).await?;
                if claimed.is_new {
                    room.keep(None);
                }
                claimed.name
            }
            Target::Exactly(_) => {
                let place = folder.join(&wanted);
                let before = tokio::fs::symlink_metadata(&place).await;
                tokio::fs::rename(&temporary.0, place)
                    .await
                    .map_err(disk("named"))?;
                room.keep(before.ok().map(|before| before.len()));
                wanted
            }
        };
        sync_dir(folder).await.map_err(disk("synced"))?;
        Ok(StoredFile {
            path: format!("/api/files/{filename}"),
            filename,
            size: written.size,
            sha256: written.sha256,
        })
    }

    /// Opens a user's file and tells its length.
    ///
    /// # Errors
    /// [`FileError::NotFound`] for anything that is not a plain file of this user.
    pub async fn open_file(&self, user: UserId, name: &str) -> Result<(File, u64), FileError> {
        if !is_clean(name) {
            return Err(FileError::NotFound);
        }
        let path = self.folder(user).join(name);
        let metadata = tokio::fs::symlink_metadata(&path)
            .await
            .map_err(not_found)?;
        if !metadata.is_file() {
            return Err(FileError::NotFound);
        }
        let file = File::open(&path).await.map_err(not_found)?;
        let length = file.metadata().await.map_err(disk("read"))?.len();
        Ok((file, length))
    }

    fn folder(&self, user: UserId) -> PathBuf {
        self.root.join(user.to_string())
    }
}

/// A name that a file has now.
struct Claimed {
    name: String,
    /// Whether it is not that of a file that was there.
    is_new: bool,
}

struct Written {
    size: u64,
    sha256: String,
}

/// Removes the file when it is dropped, unless it has been renamed by then.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Fails when it was renamed, which is what should happen.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn copy<S, E>(
    mut body: S,
    file: &mut File,
    limit: u64,
    room: &mut Room,
) -> Result<Written, FileError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, file);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| FileError::BrokenOff)?;
        size += piece.len() as u64;
        if size > limit {
            return Err(FileError::TooLarge { limit });
        }
        room.take(piece.len() as u64)?;
        hasher.update(&piece);
        writer.write_all(&piece).await.map_err(disk("written"))?;
    }
    writer.flush().await.map_err(disk("written"))?;
    Ok(Written {
        size,
        sha256: HEXLOWER.encode(&hasher.finalize()),
    })
}

/// Gives the file a name that nobody has: the wanted one, or one with the start of its hash and a number.
/// With `share`, that of a file with the same bytes will do.
async fn claim(
    folder: &Path,
    temporary: &Path,
    wanted: &str,
    written: &Written,
    share: bool,
) -> Result<Claimed, FileError> {
    /// Files of the same name and content; beyond that something is wrong with the sender.
    const TRIES: usize = 100;
    let sha256 = &written.sha256;
    for number in 0..TRIES {
        let name = match number {
            0 => wanted.to_owned(),
            1 => name::with_suffix(wanted, &sha256[..8]),
            _ => name::with_suffix(wanted, &format!("{}-{number}", &sha256[..8])),
        };
        // A hard link fails when the name is taken; a rename would replace it.
        match tokio::fs::hard_link(temporary, folder.join(&name)).await {
            Ok(()) => return Ok(Claimed { name, is_new: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if share && is_same(&folder.join(&name), written).await {
                    return Ok(Claimed {
                        name,
                        is_new: false,
                    });
                }
            }
            Err(error) => return Err(disk("named")(error)),
        }
    }
    Err(FileError::QuotaFiles { limit: TRIES })
}

/// Whether a plain file has these bytes. One that cannot be read has others.
async fn is_same(path: &Path, written: &Written) -> bool {
    let Ok(metadata) = tokio::fs::symlink_metadata(path).await else {
        return false;
    };
    if !metadata.is_file() || metadata.len() != written.size {
        return false;
    }
    let (path, limit) = (path.to_owned(), written.size);
    let hash = move || -> io::Result<String> {
        let mut hasher = Sha256::new();
        let mut file = std::io::Read::take(std::fs::File::open(path)?, limit);
        let mut chunk = vec![0; WRITE_BUFFER];
        loop {
            let count = io::Read::read(&mut file, &mut chunk)?;
            if count == 0 {
                break;
            }
            hasher.update(&chunk[..count]);
        }
        Ok(HEXLOWER.encode(&hasher.finalize()))
    };
    let hashed = tokio::task::spawn_blocking(hash).await;
    matches!(hashed, Ok(Ok(sha256)) if sha256 == written.sha256)
}

async fn create(path: &Path) -> io::Result<File> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await
}

async fn sync_dir(folder: PathBuf) -> io::Result<()> {
    let sync = move || std::fs::File::open(folder)?.sync_all();
    tokio::task::spawn_blocking(sync)
        .await
        .map_err(io::Error::other)?
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

fn remove_temporary(folder: &Path) -> io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        if item.file_name().to_string_lossy().starts_with(TEMPORARY) {
            std::fs::remove_file(item.path())?;
        }
    }
    Ok(())
}

fn disk(doing: &'static str) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Disk { doing, source }
}

fn not_found(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::NotFound,
        _ => disk("read")(error),
    }
}
