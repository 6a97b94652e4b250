//! The per-start token: made, written to its file, compared. It does not decide who needs it.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// What every token starts with, so that a stale one is told apart from credentials that a client
/// sends to the agent for reasons of its own.
pub const TOKEN_PREFIX: &str = "homing_local_";

/// What precedes the token in an entry of `Sec-WebSocket-Protocol`, for browsers, which cannot set
/// `Authorization` there. They must offer a second protocol, which the agent selects.
pub const WEBSOCKET_TOKEN_PREFIX: &str = "homing.token.";

/// 256 bits: out of reach of guessing at any rate.
const TOKEN_BYTES: usize = 32;

/// The token of one run of the proxy.
pub(crate) struct Token(String);

/// Whether a credential is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenMatch {
    /// Not a token of any proxy.
    Foreign,
    Right,
    /// A proxy's token, but not this one's.
    Wrong,
}

impl Token {
    pub(crate) fn generate() -> Result<Self, TokenError> {
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random).map_err(TokenError::Random)?;
        let mut text = String::with_capacity(TOKEN_PREFIX.len() + 2 * TOKEN_BYTES);
        text.push_str(TOKEN_PREFIX);
        for byte in random {
            text.push_str(&format!("{byte:02x}"));
        }
        Ok(Self(text))
    }

    /// Compares in time that depends on the candidate alone.
    pub(crate) fn matches(&self, candidate: &[u8]) -> TokenMatch {
        if !candidate.starts_with(TOKEN_PREFIX.as_bytes()) {
            TokenMatch::Foreign
        } else if bool::from(candidate.ct_eq(self.0.as_bytes())) {
            TokenMatch::Right
        } else {
            TokenMatch::Wrong
        }
    }

    /// Writes the file, readable by its owner alone, in one step: a reader sees the old token or
    /// the new one.
    pub(crate) fn write(&self, path: &Path) -> Result<(), TokenError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        // Left over from a run that was killed here; made anew so that its mode is ours.
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(TokenError::Write {
                    path: temporary,
                    source,
                });
            }
        }
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| writeln!(file, "{}", self.0))
            .map_err(|source| TokenError::Write {
                path: temporary.clone(),
                source,
            })?;
        fs::rename(&temporary, path).map_err(|source| TokenError::Replace {
            path: path.to_owned(),
            source,
        })
    }

    /// Removes the file if it still holds this token: another proxy may have replaced it.
    pub(crate) fn remove(&self, path: &Path) {
        let ours = fs::read_to_string(path).is_ok_and(|content| content.trim_end() == self.0);
        if ours && let Err(error) = fs::remove_file(path) {
            tracing::debug!(path = %path.display(), %error, "the token file stays behind");
        }
    }

    #[cfg(test)]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The token could not be made or stored.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system gave no randomness.
    #[error("no randomness for the proxy's token")]
    Random(#[source] getrandom::Error),
    /// The temporary file could not be written.
    #[error("the proxy's token cannot be written to {}", path.display())]
    Write {
        /// The temporary file beside the token file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The finished file could not be put in place.
    #[error("the proxy's token file {} cannot be replaced", path.display())]
    Replace {
        /// The token file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_right_wrong_or_foreign() {
        let token = Token::generate().unwrap();
        let other = Token::generate().unwrap();
        assert_eq!(token.matches(token.reveal().as_bytes()), TokenMatch::Right);
        assert_eq!(token.matches(other.reveal().as_bytes()), TokenMatch::Wrong);
        assert_eq!(
            token.matches(&token.reveal().as_bytes()[..40]),
            TokenMatch::Wrong
        );
        assert_eq!(token.matches(b"sk-some-api-key"), TokenMatch::Foreign);
        assert_eq!(token.matches(b""), TokenMatch::Foreign);
        assert_eq!(token.reveal().len(), TOKEN_PREFIX.len() + 64);
    }

    #[test]
    fn the_file_is_the_owners_alone_replaces_an_old_one_and_is_removed_by_its_writer_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.token");
        fs::write(&path, "old").unwrap();
        fs::write(dir.path().join("proxy.token.new"), "left over").unwrap();
        let token = Token::generate().unwrap();
        token.write(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap().trim_end(),
            token.reveal()
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        Token::generate().unwrap().remove(&path);
        assert!(path.exists());
        token.remove(&path);
        assert!(!path.exists());
    }

    #[test]
    fn a_token_is_never_shown_by_debug() {
        let token = Token::generate().unwrap();
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}
