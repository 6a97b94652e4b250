//! What is in a folder.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType};
use serde_json::{Value, json};

use super::roots::{FilesError, Root, told};
use crate::tools::bounds::{ROOM, fit};

/// Entries of one folder that are looked at; a folder with more is for programs.
const MAX_ENTRIES: usize = 20_000;

/// The entries of a folder from the `offset`th on, by name; of a file, itself.
pub(super) fn list(root: &Root, inside: &Path, offset: usize) -> Result<Value, FilesError> {
    let folder = match root.folder(inside) {
        Ok(folder) => folder,
        Err(FilesError::Kind { .. }) => return itself(root, inside),
        Err(error) => return Err(error),
    };
    let failed = |error: rustix::io::Errno| told(inside, error.into());
    let mut names = Vec::new();
    let mut more = false;
    for entry in Dir::read_from(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            more = true;
            break;
        }
        names.push(name.to_owned());
    }
    names.sort();
    let total = names.len();
    let entries: Vec<Value> = names
        .iter()
        .skip(offset)
        // An entry takes more than 40 bytes, so more of them never fit.
        .take(ROOM / 40)
        .map(|name| {
            let shown = name.to_string_lossy();
            match rustix::fs::statat(folder.as_fd(), name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entry(&shown, &stat),
                // It has gone meanwhile, or may not be looked at.
                Err(_) => json!({"name": shown, "kind": "unknown"}),
            }
        })
        .collect();
    let (entries, _) = fit(entries, ROOM);
    let next = offset.saturating_add(entries.len());
    let truncated = more || next < total;
    let mut told = json!({
        "path": root.shown(inside),
        "total": total,
        "entries": entries,
        "truncated": truncated,
    });
    if next < total {
        told["next_offset"] = next.into();
    }
    if more {
        told["hint"] = format!("only {MAX_ENTRIES} entries were looked at").into();
    }
    Ok(told)
}

fn itself(root: &Root, inside: &Path) -> Result<Value, FilesError> {
    let file = root.file(inside)?;
    let stat = rustix::fs::fstat(&file).map_err(|error| told(inside, error.into()))?;
    let name = inside.file_name().unwrap_or_default().to_string_lossy();
    Ok(json!({
        "path": root.shown(inside),
        "total": 1,
        "entries": [entry(&name, &stat)],
        "truncated": false,
    }))
}

fn entry(name: &str, stat: &rustix::fs::Stat) -> Value {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        _ => "special",
    };
    let mut entry = json!({"name": name, "kind": kind});
    if kind == "file" {
        entry["bytes"] = u64::try_from(stat.st_size).unwrap_or(0).into();
    }
    #[allow(
        clippy::useless_conversion,
        reason = "the type is another one on another machine"
    )]
    let seconds = i64::try_from(stat.st_mtime).ok();
    if let Some(at) = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
        entry["modified"] = at.to_string().into();
    }
    entry
}
