//! The Unix socket: made 0600 in a directory that is its owner's alone, replacing one that nobody
//! listens on any more. It does not serve it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Binds the socket. Whoever connects still has to be the same user.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, UnixSocketError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => return Err(UnixSocketError::NoDirectory(path.to_owned())),
    };
    own_directory(directory)?;
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(|source| UnixSocketError::Bind {
        path: path.to_owned(),
        source,
    })?;
    // Until here the directory's mode kept others out.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|source| {
        UnixSocketError::Bind {
            path: path.to_owned(),
            source,
        }
    })?;
    Ok(listener)
}

fn own_directory(directory: &Path) -> Result<(), UnixSocketError> {
    let failed = |source| UnixSocketError::Directory {
        path: directory.to_owned(),
        source,
    };
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed(e)),
    }
    let metadata = fs::symlink_metadata(directory).map_err(failed)?;
    let ours = metadata.is_dir()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0;
    if ours {
        Ok(())
    } else {
        Err(UnixSocketError::DirectoryShared(directory.to_owned()))
    }
}

fn remove_stale(path: &Path) -> Result<(), UnixSocketError> {
    let failed = |source| UnixSocketError::Stale {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(UnixSocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(UnixSocketError::InUse(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(e) => Err(failed(e)),
    }
}

/// The Unix socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// The path has no directory part.
    #[error("the socket path {} names no directory; give an absolute path", .0.display())]
    NoDirectory(PathBuf),
    /// The directory could not be made or read.
    #[error("the socket's directory {} cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could reach into the directory.
    #[error("{} is not a directory of this user alone; run `chmod 700` on it, or choose another", .0.display())]
    DirectoryShared(PathBuf),
    /// Something that is not a socket is in the way.
    #[error("{} exists and is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// Another proxy listens there.
    #[error("another proxy listens on {}; stop it, or choose another path", .0.display())]
    InUse(PathBuf),
    /// The socket that an earlier run left behind could not be replaced.
    #[error("the socket {} of an earlier run cannot be replaced", path.display())]
    Stale {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused to bind; paths longer than about 100 bytes are refused too.
    #[error("cannot listen on {}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_and_its_directory_are_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run").join("proxy.sock");
        let listener = bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(matches!(bind(&path), Err(UnixSocketError::InUse(_))));
        drop(listener);
        assert!(path.exists());
        bind(&path).unwrap();
    }

    #[tokio::test]
    async fn what_is_not_ours_alone_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = bind(&shared.join("proxy.sock"));
        assert!(matches!(refused, Err(UnixSocketError::DirectoryShared(_))));

        let linked = dir.path().join("linked");
        std::os::unix::fs::symlink(dir.path(), &linked).unwrap();
        let refused = bind(&linked.join("proxy.sock"));
        assert!(matches!(refused, Err(UnixSocketError::DirectoryShared(_))));

        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert!(matches!(bind(&file), Err(UnixSocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");

        assert!(matches!(
            bind(Path::new("bare.sock")),
            Err(UnixSocketError::NoDirectory(_))
        ));
    }
}
