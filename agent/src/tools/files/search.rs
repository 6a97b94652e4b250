//! Files by a part of their name or of what is in them. Bounded in files, bytes, depth and time, and
//! it says when a bound was met. Links are not followed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType};
use serde_json::{Value, json};

use super::roots::{FilesError, Root};
use crate::tools::bounds::{ROOM, clip, fit};

/// Entries that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Folders inside of folders.
const MAX_DEPTH: usize = 32;
/// Matches that are told.
const MAX_MATCHES: usize = 200;
/// Lines of one file that are told.
const MAX_LINES: usize = 5;
/// Bytes of one line that are told.
const MAX_LINE: usize = 200;
/// Bytes of a line that are held; a longer one is looked at in pieces.
const MAX_HELD: u64 = 64 << 10;
/// A larger file is not a text that somebody wrote.
const MAX_FILE: u64 = 8 << 20;
/// Bytes that are read of all files together.
const MAX_BYTES: u64 = 256 << 20;
/// Longest search, below the limit of every tool.
const MAX_TIME: Duration = Duration::from_secs(10);

/// What to look for; both must hold when both are there. Letters of ASCII match in either case.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    pub(super) contents: Option<String>,
}

/// Raised when nobody waits for the answer any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

/// Raises it when it is dropped.
#[derive(Debug)]
pub(super) struct StopOnDrop(Stop);

impl Stop {
    pub(super) fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

struct Search<'a> {
    root: &'a Root,
    name: Option<String>,
    contents: Option<String>,
    until: Instant,
    stop: &'a Stop,
    entries: usize,
    bytes: u64,
    matches: Vec<Value>,
    /// Why not everything was looked at.
    cut: Option<&'static str>,
    skipped: usize,
}

/// Searches a folder and what is below it, from `now` on.
pub(super) fn search(
    root: &Root,
    inside: &Path,
    wanted: Wanted,
    now: Instant,
    stop: &Stop,
) -> Result<Value, FilesError> {
    let lower = |text: Option<String>| text.map(|text| text.to_ascii_lowercase());
    let mut search = Search {
        root,
        name: lower(wanted.name),
        contents: lower(wanted.contents),
        until: now + MAX_TIME,
        stop,
        entries: 0,
        bytes: 0,
        matches: vec![],
        cut: None,
        skipped: 0,
    };
    // Told at once when the place itself is wrong; below it, what cannot be opened is only counted.
    root.folder(inside)?;
    let mut open = vec![(inside.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        search.folder(&folder, depth, &mut open);
        if search.cut.is_some() {
            break;
        }
    }
    let (matches, clipped) = fit(search.matches, ROOM);
    let why = search.cut.or(clipped.then_some("the result is long"));
    let mut told = json!({
        "path": root.shown(inside),
        "matches": matches,
        "looked_at": search.entries,
        "truncated": why.is_some(),
    });
    if search.skipped > 0 {
        told["not_readable"] = search.skipped.into();
    }
    if let Some(why) = why {
        told["hint"] = format!("{why}; search a smaller folder or for more letters").into();
    }
    Ok(told)
}

impl Search<'_> {
    fn folder(&mut self, inside: &Path, depth: usize, open: &mut Vec<(PathBuf, usize)>) {
        let listed = self.root.folder(inside).ok().and_then(|folder| {
            let dir = Dir::read_from(&folder).ok()?;
            Some((folder, dir))
        });
        let Some((folder, dir)) = listed else {
            self.skipped += 1;
            return;
        };
        let mut folders = Vec::new();
        for entry in dir {
            let Ok(entry) = entry else {
                self.skipped += 1;
                return;
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entries += 1;
            self.bounds();
            if self.cut.is_some() {
                return;
            }
            let kind = match entry.file_type() {
                // Some disks do not say it in the list.
                FileType::Unknown => {
                    let stat = rustix::fs::statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW);
                    stat.map_or(FileType::Unknown, |stat| {
                        FileType::from_raw_mode(stat.st_mode)
                    })
                }
                kind => kind,
            };
            let name: OsString = os(name);
            let path = inside.join(&name);
            let named = self.name.as_ref().is_none_or(|wanted| {
                let name = name.to_string_lossy().to_ascii_lowercase();
                name.contains(wanted)
            });
            match kind {
                FileType::Directory => {
                    if named && self.contents.is_none() {
                        self.found(&path, "folder", vec![]);
                    }
                    if depth < MAX_DEPTH {
                        folders.push(path);
                    }
                }
                FileType::RegularFile if named => self.file(&path),
                _ => {}
            }
        }
        // Popped from the end: so the folders come by name.
        folders.sort_by(|a, b| b.cmp(a));
        open.extend(folders.into_iter().map(|path| (path, depth + 1)));
    }

    fn bounds(&mut self) {
        if self.stop.0.load(Ordering::Relaxed) || Instant::now() >= self.until {
            self.cut = Some("time was up");
        } else if self.entries > MAX_ENTRIES {
            self.cut = Some("there are too many files");
        } else if self.bytes > MAX_BYTES {
            self.cut = Some("the files are large");
        } else if self.matches.len() >= MAX_MATCHES {
            self.cut = Some("there are many matches");
        }
    }

    fn file(&mut self, inside: &Path) {
        let Some(wanted) = self.contents.clone() else {
            self.found(inside, "file", vec![]);
            return;
        };
        match self.lines(inside, wanted.as_bytes()) {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => self.found(inside, "file", lines),
            Err(()) => self.skipped += 1,
        }
    }

    fn found(&mut self, inside: &Path, kind: &str, lines: Vec<Value>) {
        let mut one = json!({"path": self.root.shown(inside), "kind": kind});
        if !lines.is_empty() {
            one["lines"] = lines.into();
        }
        self.matches.push(one);
    }

    fn lines(&mut self, inside: &Path, wanted: &[u8]) -> Result<Vec<Value>, ()> {
        let file = self.root.file(inside).map_err(|_| ())?;
        if file.metadata().map_err(|_| ())?.len() > MAX_FILE {
            return Ok(vec![]);
        }
        let mut reader = BufReader::new(file.take(MAX_FILE));
        let mut found = Vec::new();
        let mut line = Vec::new();
        let mut number = 1_u64;
        while found.len() < MAX_LINES {
            line.clear();
            let count = (&mut reader)
                .take(MAX_HELD)
                .read_until(b'\n', &mut line)
                .map_err(|_| ())?;
            // A zero is in no text, and the rest of such a file is not worth its time.
            if count == 0 || line.contains(&0) {
                break;
            }
            self.bytes += count as u64;
            let ends = line.last() == Some(&b'\n');
            let lower = line.to_ascii_lowercase();
            if let Some(at) = position(&lower, wanted) {
                // What stands around it, not the beginning of a long line.
                let from = at.saturating_sub(MAX_LINE / 4);
                let text = String::from_utf8_lossy(&line[from..]);
                let text = clip(text.trim(), MAX_LINE).0;
                found.push(json!({"line": number, "text": text}));
            }
            number += u64::from(ends);
            if self.stop.0.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(found)
    }
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len().max(1))
        .position(|window| window == wanted)
}

fn os(name: &std::ffi::CStr) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(name.to_bytes().to_vec())
}
