//! The folders that tools may use, and the only way into them: every path is opened by the kernel
//! beneath an open folder, so that neither `..` nor a link leads out, also while somebody renames.
//!
//! homing's own directory is never in one, except the one folder that is made for this.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

/// Bytes of a path; what the kernel takes.
const MAX_PATH: usize = 4_096;
/// Letters of a refused path that are said back.
const MAX_SHOWN: usize = 200;
/// Tries while somebody renames on the way; the kernel asks for another one then.
const TRIES: usize = 8;

/// Why a path was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// In none of the folders.
    #[error("{path} is in none of the folders that may be used: {}", list(.roots))]
    Outside {
        /// Asked for.
        path: String,
        /// Those that may.
        roots: Vec<PathBuf>,
    },
    /// It goes up on its way.
    #[error("a path here has no .. in it: {0}")]
    Up(String),
    /// It is written in a way that a rule about it would not see.
    #[error(
        "write the path of a file plainly, without . or // in it and without / at its end: {0}"
    )]
    Written(String),
    /// It leads out of its folder.
    #[error("{0} leads out of the folder that may be used")]
    Escapes(String),
    /// The folder holds homing's own directory, or lies in it.
    #[error("the folder {0} stays closed: it holds homing's own directory, or lies in it")]
    Closed(PathBuf),
    /// It is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// This user may not.
    #[error("the agent may not open {0}")]
    Denied(String),
    /// A folder where a file is needed, or the other way round, or neither of both.
    #[error("{path} is not a {wanted}")]
    Kind {
        /// Asked for.
        path: String,
        /// `file` or `folder`.
        wanted: &'static str,
    },
    /// Not a path.
    #[error("this is not a path")]
    Path,
    /// A kernel before 5.6, or a sandbox that hides the call.
    #[error("this machine's kernel cannot keep a path inside a folder (openat2)")]
    Kernel,
    /// Too much to write.
    #[error("a file that a tool writes has at most {0} bytes")]
    TooLarge(usize),
    /// The disk failed.
    #[error("{path} could not be {doing} ({})", .source.kind())]
    Disk {
        /// Which.
        path: String,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The agent goes.
    #[error("the agent is going away")]
    Stopped,
}

/// All folders.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    roots: Vec<PathBuf>,
    closed: Vec<PathBuf>,
    workspace: PathBuf,
}

/// One folder, open.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl Roots {
    /// `workspace` is the agent's own folder for this, `closed` what is never opened.
    pub(super) fn new(
        roots: Option<Vec<PathBuf>>,
        closed: Vec<PathBuf>,
        workspace: PathBuf,
    ) -> Self {
        Self {
            roots: roots.unwrap_or_else(|| vec![workspace.clone()]),
            closed,
            workspace,
        }
    }

    /// The folders as they were named.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Opens the folder that a path is in, and says which path that is inside of it. A relative path
    /// is in the first folder.
    pub(super) fn enter(&self, path: &str) -> Result<(Root, PathBuf), FilesError> {
        if path.len() > MAX_PATH || path.contains('\0') {
            return Err(FilesError::Path);
        }
        let asked = Path::new(path);
        // Not for the folder's sake: a rule of the policy about `notes/*` means what is in `notes`.
        if asked.components().any(|part| part == Component::ParentDir) {
            return Err(FilesError::Up(path.to_owned()));
        }
        let outside = || FilesError::Outside {
            path: path.to_owned(),
            roots: self.roots.clone(),
        };
        let (root, inside) = if asked.is_absolute() {
            // The longest one, so that a folder inside of another is entered through its own name.
            let within = self.roots.iter().filter(|root| asked.starts_with(root));
            let root = within
                .max_by_key(|root| root.components().count())
                .ok_or_else(outside)?;
            let inside = asked.strip_prefix(root).map_err(|_| outside())?;
            (root, inside)
        } else {
            (self.roots.first().ok_or_else(outside)?, asked)
        };
        Ok((self.open(root)?, inside.to_owned()))
    }

    /// The same for a file. One file has one spelling, so that rules of the policy about paths hold.
    pub(super) fn enter_plain(&self, path: &str) -> Result<(Root, PathBuf), FilesError> {
        let plain: PathBuf = Path::new(path).components().collect();
        let begins_here = path.starts_with("./");
        if plain.as_os_str() != OsStr::new(path) || begins_here {
            return Err(FilesError::Written(path.chars().take(MAX_SHOWN).collect()));
        }
        self.enter(path)
    }

    /// Opens one of the folders.
    pub(super) fn open(&self, path: &Path) -> Result<Root, FilesError> {
        let real = if path == self.workspace {
            make_workspace(path)?
        } else {
            path.canonicalize().map_err(|error| told(path, error))?
        };
        let own = self.workspace.canonicalize().ok();
        if own.as_ref() != Some(&real) {
            for closed in &self.closed {
                let closed = closed.canonicalize().unwrap_or_else(|_| closed.clone());
                if real.starts_with(&closed) || closed.starts_with(&real) {
                    return Err(FilesError::Closed(path.to_owned()));
                }
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &real, flags, Mode::empty())
            .map_err(|error| told(path, error.into()))?;
        let path = path.to_owned();
        Ok(Root { path, folder })
    }
}

impl Root {
    /// A path inside of it as people write it.
    pub(super) fn shown(&self, inside: &Path) -> String {
        if inside.as_os_str().is_empty() {
            return self.path.display().to_string();
        }
        self.path.join(inside).display().to_string()
    }

    /// A file to read from. Nothing but a regular file: others block, or do things when they are opened.
    pub(super) fn file(&self, inside: &Path) -> Result<File, FilesError> {
        let found = File::from(self.beneath(inside, OFlags::PATH)?);
        self.only_regular(inside, &found)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.beneath(inside, flags)?);
        self.only_regular(inside, &file)?;
        Ok(file)
    }

    /// A folder to list.
    pub(super) fn folder(&self, inside: &Path) -> Result<OwnedFd, FilesError> {
        self.beneath(inside, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// A path without its last part, open as a folder, and that part.
    pub(super) fn parent<'a>(&self, inside: &'a Path) -> Result<(OwnedFd, &'a OsStr), FilesError> {
        let Some(Component::Normal(name)) = inside.components().next_back() else {
            return Err(FilesError::Path);
        };
        let parent = inside.parent().unwrap_or(Path::new(""));
        Ok((self.folder(parent)?, name))
    }

    fn beneath(&self, inside: &Path, flags: OFlags) -> Result<OwnedFd, FilesError> {
        let path = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let mut left = TRIES;
        let opened = loop {
            match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if left > 0 => left -= 1,
                other => break other,
            }
        };
        let opened = opened.map_err(|error| match error {
            Errno::XDEV | Errno::LOOP | Errno::AGAIN => FilesError::Escapes(self.shown(inside)),
            Errno::NOSYS => FilesError::Kernel,
            Errno::NOTDIR => FilesError::Kind {
                path: self.shown(inside),
                wanted: "folder",
            },
            other => told(&self.path.join(inside), other.into()),
        })?;
        self.no_processes(inside, opened.as_fd())?;
        Ok(opened)
    }

    /// Below `/proc` is the environment of every program of this user, this one's too.
    fn no_processes(&self, inside: &Path, opened: BorrowedFd<'_>) -> Result<(), FilesError> {
        let disk = rustix::fs::fstatfs(opened)
            .map_err(|error| told(&self.path.join(inside), error.into()))?;
        if disk.f_type == PROC_SUPER_MAGIC {
            return Err(FilesError::Denied(self.shown(inside)));
        }
        Ok(())
    }

    fn only_regular(&self, inside: &Path, file: &File) -> Result<(), FilesError> {
        let kind = file
            .metadata()
            .map_err(|error| told(&self.path.join(inside), error))?;
        if kind.is_file() {
            return Ok(());
        }
        Err(FilesError::Kind {
            path: self.shown(inside),
            wanted: "file",
        })
    }
}

/// An error of the disk in the words of this module.
pub(super) fn told(path: &Path, error: io::Error) -> FilesError {
    let shown = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => FilesError::NotFound(shown),
        io::ErrorKind::PermissionDenied => FilesError::Denied(shown),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => FilesError::Path,
        _ => FilesError::Disk {
            path: shown,
            doing: "opened",
            source: error,
        },
    }
}

fn make_workspace(path: &Path) -> Result<PathBuf, FilesError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(told(path, error)),
        // A link in its place would be followed to anywhere.
        _ if path.is_symlink() => Err(FilesError::Escapes(path.display().to_string())),
        _ => path.canonicalize().map_err(|error| told(path, error)),
    }
}

fn list(roots: &[PathBuf]) -> String {
    let roots: Vec<String> = roots
        .iter()
        .map(|root| root.display().to_string())
        .collect();
    roots.join(", ")
}
