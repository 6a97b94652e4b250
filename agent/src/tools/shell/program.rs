//! Which file a program is, and what is in it.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::tools::ToolError;

/// Largest program file that is hashed, in bytes; the largest known interpreters have some 200 MB.
const MAX_FILE: u64 = 1 << 30;
/// Programs that run the file that they are given, with any version behind the name.
const INTERPRETERS: &[&str] = &[
    "sh", "bash", "dash", "zsh", "ksh", "python", "perl", "ruby", "node", "php", "lua", "deno",
    "bun",
];
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

/// The file that an interpreter is told to run: what it does is in there, not in the interpreter.
pub(super) fn script(program: &Path, argv: &[String], cwd: &Path) -> Option<PathBuf> {
    let name = program.file_name()?.to_str()?;
    let known = |interpreter: &&str| {
        let version = name.strip_prefix(*interpreter);
        version.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    INTERPRETERS.iter().copied().find(known)?;
    let first = argv.iter().skip(1).find(|word| !word.starts_with('-'))?;
    let path = cwd.join(first);
    path.is_file().then_some(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_an_interpreter_is_the_first_word_that_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let job = dir.path().join("job");
        std::fs::write(&job, "").unwrap();
        let script = |program: &str, words: &[&str]| {
            let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            script(Path::new(program), &argv, dir.path())
        };
        assert_eq!(
            script("/bin/sh", &["sh", "-e", "job", "x"]),
            Some(job.clone())
        );
        assert_eq!(
            script("/usr/bin/python3.13", &["python3.13", "job"]),
            Some(job)
        );
        assert_eq!(script("/bin/sh", &["sh", "-c", "true"]), None);
        assert_eq!(script("/bin/cat", &["cat", "job"]), None);
        assert_eq!(script("/usr/bin/shred", &["shred", "job"]), None);
    }
}
