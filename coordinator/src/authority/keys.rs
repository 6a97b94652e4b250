//! The keys of the authority: files of mode 0600, never rows. Owns their text form, and the
//! recovery kit's.

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use homing_certs::{NetworkId, NodeId, SigningKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::files::write_private;

/// File with the key that signs certificates and the log.
pub const SIGNER_FILE: &str = "signer";
/// File with the key of the coordinator's endpoint.
pub const COORDINATOR_KEY_FILE: &str = "key";
/// File with the root key, until it has been moved offline.
pub const ROOT_KIT_FILE: &str = "root.kit";

/// First line of the recovery kit.
const KIT_HEADING: &str = "homing recovery kit, version 1";

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot use the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file does not hold a key.
    #[error("{} does not hold a key: 64 hexadecimal digits were expected", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random(#[source] getrandom::Error),
}

/// The online keys.
pub(crate) struct Keys {
    pub(crate) signer: SigningKey,
    pub(crate) coordinator: SigningKey,
}

/// A new key.
pub(crate) fn generate() -> Result<SigningKey, KeyError> {
    let secret = Zeroizing::new(random::<32>().map_err(KeyError::Random)?);
    Ok(SigningKey::from_bytes(&secret))
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl Keys {
    pub(crate) fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            signer: generate()?,
            coordinator: generate()?,
        })
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), KeyError> {
        write_key(&dir.join(SIGNER_FILE), &self.signer)?;
        write_key(&dir.join(COORDINATOR_KEY_FILE), &self.coordinator)
    }

    pub(crate) fn read(dir: &Path) -> Result<Self, KeyError> {
        Ok(Self {
            signer: read_key(&dir.join(SIGNER_FILE))?,
            coordinator: read_key(&dir.join(COORDINATOR_KEY_FILE))?,
        })
    }
}

/// The root key in its offline form: a text file that a person can read and a program can check.
pub struct RootKit {
    /// The network whose root it is.
    pub network_id: NetworkId,
    /// The root key.
    pub root: SigningKey,
}

impl std::fmt::Debug for RootKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootKit")
            .field("network_id", &self.network_id)
            .finish_non_exhaustive()
    }
}

/// Why a text is not a recovery kit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// Another kind of file, or of a newer version.
    #[error("this is not a homing recovery kit of version 1")]
    Heading,
    /// A line is missing or unreadable.
    #[error("the line {0:?} is missing or unreadable")]
    Line(&'static str),
    /// The lines do not belong together: a digit was lost or changed.
    #[error("the checksum does not fit: a character was lost or changed")]
    Checksum,
}

impl RootKit {
    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(HEXLOWER.encode(self.root.as_bytes()));
        Zeroizing::new(format!(
            "{KIT_HEADING}\n\
             # Whoever holds this file can replace the signer of your network. Keep it offline and\n\
             # in two places; `homing kit verify` checks that a copy can be read back.\n\
             network_id: {}\n\
             root_key: {}\n\
             root_secret: {}\n\
             checksum: {}\n",
            self.network_id,
            NodeId::from(&self.root),
            *secret,
            checksum(&self.network_id, &self.root),
        ))
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`KitError`].
    pub fn parse(text: &str) -> Result<Self, KitError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some(KIT_HEADING) {
            return Err(KitError::Heading);
        }
        let field = |name: &'static str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
                .ok_or(KitError::Line(name))
        };
        let network_id: NetworkId = field("network_id")?
            .parse()
            .map_err(|_| KitError::Line("network_id"))?;
        let secret = parse_secret(field("root_secret")?).ok_or(KitError::Line("root_secret"))?;
        let root = SigningKey::from_bytes(&secret);
        if field("root_key")? != NodeId::from(&root).to_string()
            || field("checksum")? != checksum(&network_id, &root)
        {
            return Err(KitError::Checksum);
        }
        Ok(Self { network_id, root })
    }

    /// Writes the kit beside the other keys.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub(crate) fn write(&self, dir: &Path) -> Result<(), KeyError> {
        let path = dir.join(ROOT_KIT_FILE);
        write_private(&path, self.to_text().as_bytes())
            .map_err(|source| KeyError::File { path, source })
    }
}

fn checksum(network_id: &NetworkId, root: &SigningKey) -> String {
    let hash = Sha256::new()
        .chain_update(b"homing/root-kit/v1\0")
        .chain_update(network_id.as_bytes())
        .chain_update(root.as_bytes())
        .finalize();
    HEXLOWER.encode(&hash[..4])
}

fn parse_secret(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(HEXLOWER.decode(text.trim().as_bytes()).ok()?);
    Some(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?))
}

pub(crate) fn write_key(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let mut text = Zeroizing::new(HEXLOWER.encode(key.as_bytes()));
    text.push('\n');
    write_private(path, text.as_bytes()).map_err(|source| KeyError::File {
        path: path.to_owned(),
        source,
    })
}

fn read_key(path: &Path) -> Result<SigningKey, KeyError> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })?;
    let secret = parse_secret(&text).ok_or_else(|| KeyError::Malformed {
        path: path.to_owned(),
    })?;
    Ok(SigningKey::from_bytes(&secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_kit_reads_back_and_a_changed_digit_is_noticed() {
        let kit = RootKit {
            network_id: NetworkId::from([7; 16]),
            root: SigningKey::from_bytes(&[9; 32]),
        };
        let text = kit.to_text();
        let back = RootKit::parse(&text).unwrap();
        assert_eq!(back.network_id, kit.network_id);
        assert_eq!(back.root.as_bytes(), kit.root.as_bytes());
        let changed = text.replacen("0909", "0908", 1);
        assert_eq!(RootKit::parse(&changed).unwrap_err(), KitError::Checksum);
        let other = text.replacen("0707", "0708", 1);
        assert_eq!(RootKit::parse(&other).unwrap_err(), KitError::Checksum);
        assert_eq!(
            RootKit::parse("something else").unwrap_err(),
            KitError::Heading
        );
    }
}
