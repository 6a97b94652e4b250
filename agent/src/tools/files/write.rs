//! A file written whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::roots::{FilesError, Root, told};

/// Bytes of one file: more than a model writes.
pub(super) const MAX_WRITE: usize = 1 << 20;
/// Rights of a new file: its owner's only.
const NEW: u32 = 0o600;
/// Rights that a file keeps when it is written anew; never those to run as its owner.
const KEPT: u32 = 0o777;

/// Puts `text` in place of what is there. `name` makes the temporary file's name one that nobody else has.
pub(super) fn write(
    root: &Root,
    inside: &Path,
    text: &str,
    name: [u8; 8],
) -> Result<Value, FilesError> {
    if text.len() > MAX_WRITE {
        return Err(FilesError::TooLarge(MAX_WRITE));
    }
    let (parent, last) = root.parent(inside)?;
    let failed = |doing: &'static str| {
        let path = root.shown(inside);
        move |source: std::io::Error| FilesError::Disk {
            path,
            doing,
            source,
        }
    };
    let mode = match rustix::fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(stat.st_mode & KEPT),
            // A link would be replaced by a file, which is not what anybody asks for.
            _ => {
                return Err(FilesError::Kind {
                    path: root.shown(inside),
                    wanted: "file",
                });
            }
        },
        Err(Errno::NOENT) => None,
        Err(error) => return Err(told(inside, error.into())),
    };
    let temporary = format!(".homing-{}", HEXLOWER.encode(&name));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&parent, &temporary, flags, Mode::from_raw_mode(NEW))
        .map_err(|error| told(inside, error.into()))?;
    let written = fill(File::from(file), text, mode.unwrap_or(NEW)).and_then(|()| {
        rustix::fs::renameat(&parent, &temporary, &parent, last).map_err(Into::into)
    });
    if let Err(error) = written {
        let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
        return Err(failed("written")(error));
    }
    // So that the new name outlives a loss of power.
    rustix::fs::fsync(parent.as_fd()).map_err(|error| failed("synced")(error.into()))?;
    Ok(json!({
        "path": root.shown(inside),
        "bytes": text.len(),
        "replaced": mode.is_some(),
    }))
}

fn fill(mut file: File, text: &str, mode: u32) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}
