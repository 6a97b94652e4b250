//! Which file a program is, and what is in it.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::tools::ToolError;

/// Largest program file that is hashed, in bytes; the largest known interpreters have some 200 MB.
const MAX_FILE: u64 = 1 << 30;
/// Read at once.
const CHUNK: usize = 256 << 10;

/// The file of a program: a path is taken as it is, a name is looked up in `PATH`.
pub(super) fn find(name: &str, cwd: &Path) -> Result<PathBuf, ToolError> {
    let missing = || ToolError::Failed(format!("there is no program {name}"));
    if name.contains('/') {
        let path = cwd.join(name);
        return is_program(&path).then_some(path).ok_or_else(missing);
    }
    let folders = std::env::var_os("PATH").ok_or_else(missing)?;
    // Only absolute folders: what "." is would depend on where somebody stands.
    std::env::split_paths(&folders)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
        .ok_or_else(missing)
}

/// SHA-256 of a file as hexadecimal text.
pub(super) async fn hash(path: PathBuf) -> Result<String, ToolError> {
    let hashed = tokio::task::spawn_blocking(move || hash_file(&path)).await;
    hashed
        .map_err(|_| ToolError::Failed("the program could not be read".to_owned()))?
        .map_err(|error| ToolError::Failed(format!("the program could not be read: {error}")))
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.len() > MAX_FILE {
        return Err(std::io::Error::other("it is too large to be checked"));
    }
    let mut file = file.take(MAX_FILE);
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&hash.finalize())),
            count => hash.update(&chunk[..count]),
        }
    }
}

fn is_program(path: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(path) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        meta.is_file() && meta.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    meta.is_file()
}
