//! Secrets at rest: XChaCha20-Poly1305 under a key of 32 random bytes in `<agent dir>/secrets.key`,
//! made at first use, mode 0600.
//!
//! Each value has a nonce of its own and is bound to what it belongs to: a sealed key that is copied to
//! another row does not open there. It protects copies of the database, not against this user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER_PERMISSIVE;
use zeroize::Zeroizing;

/// Name in the agent's folder.
const FILE: &str = "secrets.key";
/// Bytes of the key.
const KEY_LEN: usize = 32;
/// Bytes of a nonce: long enough to be random.
const NONCE_LEN: usize = 24;

/// Why a secret cannot be sealed or opened. Says nothing of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Random(#[source] getrandom::Error),
    /// The key file cannot be read or written.
    #[error("the file {path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read the key file.
    #[error("the file {0} can be read by other users; chmod 600 it")]
    Exposed(PathBuf),
    /// It holds no key.
    #[error("the file {0} does not hold a key; restore it from a backup")]
    NoKey(PathBuf),
    /// The value was not sealed with this key for this place, or it was changed.
    #[error("a sealed secret does not open with this host's key")]
    DoesNotOpen,
}

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    path: PathBuf,
    key: Arc<Mutex<Option<Zeroizing<[u8; KEY_LEN]>>>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// With the key file of an agent's folder; it is read or made at first use.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            key: Arc::default(),
        }
    }

    /// Seals a secret for one place. Reads a small file at first use.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, place: &str, secret: &str) -> Result<Vec<u8>, SealError> {
        let mut sealed = vec![0; NONCE_LEN];
        getrandom::fill(&mut sealed).map_err(SealError::Random)?;
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: place.as_bytes(),
        };
        let text = self
            .cipher(true)?
            .encrypt(XNonce::from_slice(&sealed), payload)
            .map_err(|_| SealError::DoesNotOpen)?;
        sealed.extend(text);
        Ok(sealed)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<String>, SealError> {
        let (nonce, text) = sealed
            .split_at_checked(NONCE_LEN)
            .ok_or(SealError::DoesNotOpen)?;
        let payload = Payload {
            msg: text,
            aad: place.as_bytes(),
        };
        let secret = self
            .cipher(false)?
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| SealError::DoesNotOpen)?;
        let secret = Zeroizing::new(secret);
        let text = std::str::from_utf8(&secret).map_err(|_| SealError::DoesNotOpen)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn cipher(&self, make: bool) -> Result<XChaCha20Poly1305, SealError> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match &mut *key {
            Some(key) => key,
            none => none.insert(self.read(make)?),
        };
        Ok(XChaCha20Poly1305::new(Key::from_slice(key.as_slice())))
    }

    /// The key in the file; a file is made only where something is to be sealed, so that a lost one is
    /// noticed instead of being replaced.
    fn read(&self, make: bool) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
        let failed = |source| SealError::File {
            path: self.path.clone(),
            source,
        };
        let text = match fs::read(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
                return self.make();
            }
            Err(error) => return Err(failed(error)),
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&self.path)
                .map_err(failed)?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                return Err(SealError::Exposed(self.path.clone()));
            }
        }
        let bytes = HEXLOWER_PERMISSIVE
            .decode(text.trim_ascii())
            .map(Zeroizing::new);
        let mut key = Zeroizing::new([0; KEY_LEN]);
        match bytes {
            Ok(bytes) if bytes.len() == KEY_LEN => key.copy_from_slice(&bytes),
            _ => return Err(SealError::NoKey(self.path.clone())),
        }
        Ok(key)
    }

    fn make(&self) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        getrandom::fill(key.as_mut_slice()).map_err(SealError::Random)?;
        let line = Zeroizing::new(format!("{}\n", HEXLOWER_PERMISSIVE.encode(key.as_slice())));
        self.write(line.as_bytes())
            .map_err(|source| SealError::File {
                path: self.path.clone(),
                source,
            })?;
        Ok(key)
    }

    /// Whole or not at all: half a key would be a lost one.
    fn write(&self, line: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("key.new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(&temporary)?;
        file.write_all(line)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_opens_in_its_place_with_its_key_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::new(dir.path());
        let sealed = sealer.seal("provider:p1", "sk-secret").unwrap();
        assert!(!sealed.windows(9).any(|window| window == b"sk-secret"));
        assert_ne!(sealed, sealer.seal("provider:p1", "sk-secret").unwrap());
        // Another process reads the same file.
        let again = Sealer::new(dir.path());
        assert_eq!(*again.open("provider:p1", &sealed).unwrap(), "sk-secret");
        assert!(matches!(
            again.open("provider:p2", &sealed),
            Err(SealError::DoesNotOpen)
        ));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(again.open("provider:p1", &changed).is_err(), "byte {at}");
            assert!(again.open("provider:p1", &sealed[..at]).is_err());
        }
    }

    #[test]
    fn the_key_file_is_the_owners_alone_and_a_lost_or_exposed_one_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let sealed = Sealer::new(dir.path()).seal("p", "secret").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Sealer::new(dir.path()).open("p", &sealed),
            Err(SealError::Exposed(_))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(
            Sealer::new(dir.path()).open("p", &sealed),
            Err(SealError::NoKey(_))
        ));
        fs::remove_file(&path).unwrap();
        assert!(matches!(
            Sealer::new(dir.path()).open("p", &sealed),
            Err(SealError::File { .. })
        ));
        assert!(!path.exists(), "a lost key was replaced by reading");
    }

    #[test]
    fn debug_shows_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::new(dir.path());
        sealer.seal("p", "secret").unwrap();
        let key = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!format!("{sealer:?}").contains(key.trim()));
    }
}
