//! The file of a backup: a tar archive in an age file with a passphrase, so that the tools `age` and
//! `tar` open it too. Owns its form and what it may hold; not what goes into it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use age::secrecy::SecretString;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use tar::{Builder, EntryType, Header};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::files;

/// log2 of scrypt's cost: about half a second and 128 MiB for every guess, on any machine, whatever
/// the one that made the backup was busy with.
const WORK: u8 = 17;
/// The most that a file may ask for: a few seconds and 1 GiB.
const MAX_WORK: u8 = 20;
/// First entry of the archive.
const CONTENT: &str = "backup.json";
/// Version of the archive's form.
const VERSION: u32 = 1;
/// What an archive may hold, beside [`CONTENT`].
const TOP: &[&str] = &["homing.toml", "device", "agent", "coordinator"];
/// Keys that never leave their host in a backup.
const NEVER: &[&str] = &["coordinator/signer", "coordinator/root.kit"];

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) version: u32,
    pub(crate) program: String,
    /// RFC 3339.
    pub(crate) made_at: String,
    pub(crate) network_id: String,
    /// Of `coordinator`, `agent`, `device`.
    pub(crate) parts: Vec<String>,
}

impl Content {
    pub(crate) fn new(network_id: String, parts: Vec<String>, made_at: String) -> Self {
        Self {
            version: VERSION,
            program: crate::device::PROGRAM.to_owned(),
            made_at,
            network_id,
            parts,
        }
    }
}

/// A file that goes into an archive: its name there, and where it is now.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: PathBuf,
    pub(crate) source: PathBuf,
}

/// Whether a file may be in a backup.
pub(crate) fn is_allowed(name: &Path) -> bool {
    let plain = name
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain
        && TOP.iter().any(|top| name.starts_with(top))
        && !NEVER.iter().any(|never| name == Path::new(never))
}

/// Writes an archive that appears under its name when it is whole. Blocks.
pub(crate) fn write(
    file: &Path,
    passphrase: &Zeroizing<String>,
    content: &Content,
    members: &[Member],
) -> anyhow::Result<u64> {
    if file.exists() {
        return Err(Failure::new(
            "file_exists",
            format!("{} exists already", file.display()),
            "choose another name; an old backup is never written over",
        )
        .into());
    }
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = file.with_file_name(name);
    let written = write_part(&part, passphrase, content, members)
        .and_then(|bytes| {
            std::fs::rename(&part, file)?;
            let folder = file.parent().filter(|folder| *folder != Path::new(""));
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(bytes)
        })
        .with_context(|| format!("{} could not be written", file.display()));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Unpacks an archive into a folder that exists and is empty. Blocks.
pub(crate) fn read(
    file: &Path,
    passphrase: &Zeroizing<String>,
    folder: &Path,
) -> anyhow::Result<Content> {
    let opened = File::open(file).map_err(|error| {
        Failure::new(
            "not_read",
            format!("{} could not be opened: {error}", file.display()),
            "check the path of the backup",
        )
    })?;
    let mut identity = age::scrypt::Identity::new(secret(passphrase));
    identity.set_max_work_factor(MAX_WORK);
    let decryptor =
        age::Decryptor::new(io::BufReader::new(opened)).map_err(|error| damaged(file, &error))?;
    let plain = decryptor
        .decrypt(std::iter::once(&identity as &dyn age::Identity))
        .map_err(|error| match error {
            age::DecryptError::DecryptionFailed
            | age::DecryptError::NoMatchingKeys
            | age::DecryptError::KeyDecryptionFailed => Failure::new(
                "wrong_passphrase",
                "the passphrase does not open this backup",
                "try the passphrase that the backup was made with",
            ),
            error => damaged(file, &error),
        })?;
    unpack(plain, folder, file)
}

fn write_part(
    part: &Path,
    passphrase: &Zeroizing<String>,
    content: &Content,
    members: &[Member],
) -> anyhow::Result<u64> {
    let output = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)?;
    let mut recipient = age::scrypt::Recipient::new(secret(passphrase));
    recipient.set_work_factor(WORK);
    let encryptor =
        age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
            .context("the backup could not be encrypted")?;
    let sealed = encryptor.wrap_output(io::BufWriter::new(output))?;
    let mut archive = Builder::new(sealed);
    let about = serde_json::to_vec_pretty(content)?;
    append(
        &mut archive,
        Path::new(CONTENT),
        about.len() as u64,
        &about[..],
    )?;
    for member in members {
        let source = File::open(&member.source)
            .with_context(|| format!("{} could not be opened", member.source.display()))?;
        // A log that grows meanwhile is taken as long as it was.
        let length = source.metadata()?.len();
        append(&mut archive, &member.name, length, source.take(length))
            .with_context(|| format!("{} could not be read", member.source.display()))?;
    }
    let output = archive.into_inner()?.finish()?;
    let output = output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    output.sync_all()?;
    Ok(output.metadata()?.len())
}

fn append(
    archive: &mut Builder<impl Write>,
    name: &Path,
    length: u64,
    bytes: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(length);
    archive.append_data(&mut header, name, bytes)
}

fn unpack(plain: impl Read, folder: &Path, file: &Path) -> anyhow::Result<Content> {
    let mut archive = tar::Archive::new(plain);
    let mut content = None;
    for entry in archive.entries().map_err(|error| damaged(file, &error))? {
        let mut entry = entry.map_err(|error| damaged(file, &error))?;
        let name = entry
            .path()
            .map_err(|error| damaged(file, &error))?
            .into_owned();
        if content.is_none() && name == Path::new(CONTENT) {
            content = Some(read_content(&mut entry, file)?);
            continue;
        }
        if content.is_none()
            || entry.header().entry_type() != EntryType::Regular
            || !is_allowed(&name)
        {
            return Err(damaged(file, &format!("{} does not belong there", name.display())).into());
        }
        let target = folder.join(&name);
        files::make_folder(target.parent().unwrap_or(folder))?;
        let mut output = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&target)
            .with_context(|| format!("{} could not be made", target.display()))?;
        io::copy(&mut entry, &mut output).map_err(|error| damaged(file, &error))?;
        output.sync_all()?;
    }
    content.ok_or_else(|| damaged(file, &"it is empty").into())
}

fn read_content(entry: &mut impl Read, file: &Path) -> anyhow::Result<Content> {
    let content: Content = serde_json::from_reader(entry).map_err(|error| damaged(file, &error))?;
    if content.version != VERSION {
        return Err(Failure::new(
            "backup_too_new",
            format!(
                "this backup has form {}, this homing knows {VERSION}",
                content.version
            ),
            "use the homing that made it, or a newer one",
        )
        .into());
    }
    Ok(content)
}

fn secret(passphrase: &Zeroizing<String>) -> SecretString {
    SecretString::from(passphrase.to_string())
}

fn damaged(file: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        "backup_damaged",
        format!("{} is not a whole homing backup: {why}", file.display()),
        "take another copy of the backup",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_the_root_and_paths_that_lead_outside_are_never_members() {
        for good in ["homing.toml", "agent/uploads/ab/file", "coordinator/key"] {
            assert!(is_allowed(Path::new(good)), "{good}");
        }
        for bad in [
            "coordinator/signer",
            "coordinator/root.kit",
            "run/control.token",
            "../homing.toml",
            "/etc/passwd",
            "agent/../../x",
        ] {
            assert!(!is_allowed(Path::new(bad)), "{bad}");
        }
    }
}
