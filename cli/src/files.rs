//! Private files: written whole or not at all, readable by this user alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use homing_certs::SigningKey;

use crate::failure::Failure;

/// Numbers temporary files, so that two writes of one file do not meet in the middle.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Replaces a file with mode 0600: temporary file, fsync, rename, fsync of the folder.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_io(path, bytes).with_context(|| format!("{} could not be written", path.display()))
}

/// Reads a whole file; `None` when there is none.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} could not be read", path.display())),
    }
}

/// Makes a folder with mode 0700, if it is not there.
pub(crate) fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("{} could not be made", path.display()))
}

/// A new secret key, from the operating system's randomness.
pub(crate) fn new_key() -> anyhow::Result<SigningKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the operating system gave no randomness")?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Writes a secret key as one line of hex.
pub(crate) fn write_key(path: &Path, key: &SigningKey) -> anyhow::Result<()> {
    let mut line = data_encoding::HEXLOWER.encode(&key.to_bytes());
    line.push('\n');
    write(path, line.as_bytes())
}

/// Refuses a file with a secret key that others can read. No file is nothing to refuse.
pub(crate) fn refuse_exposed(path: &Path) -> anyhow::Result<()> {
    let mode = match fs::metadata(path) {
        Ok(meta) => meta.permissions().mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => 0o777,
    };
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            "key_exposed",
            format!(
                "the secret key {} can be read by other users",
                path.display()
            ),
            format!(
                "chmod 600 {}; if others had access, revoke this device and join again",
                path.display()
            ),
        )
        .into());
    }
    Ok(())
}

/// Reads a secret key; refuses a file that others can read.
pub(crate) fn read_key(path: &Path) -> anyhow::Result<Option<SigningKey>> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    refuse_exposed(path)?;
    let decoded = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| data_encoding::HEXLOWER.decode(text.trim().as_bytes()).ok())
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match decoded {
        Some(seed) => Ok(Some(SigningKey::from_bytes(&seed))),
        None => Err(Failure::new(
            "key_unreadable",
            format!("{} does not hold a secret key", path.display()),
            "restore it from a backup, or join again with a new ticket",
        )
        .into()),
    }
}

fn write_io(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}.{number}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}
