//! Fixed-size identifiers, keys and seconds. Owns their text form; draws none of them.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};

/// A text that is not the hexadecimal form of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct IdParseError {
    /// How many digits the identifier has.
    pub expected: usize,
}

/// A public key that must not be enrolled or trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// The 32 bytes are no point of the curve.
    #[error("the key is not a point of the curve")]
    NotAPoint,
    /// The bytes are one of several encodings of a point, so the key has a second name.
    #[error("the key is not canonically encoded")]
    NotCanonical,
    /// A small-order point: signatures under it prove nothing.
    #[error("the key is a small-order point")]
    SmallOrder,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// How many bytes it has.
            pub const LEN: usize = $len;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;

            fn from_str(text: &str) -> Result<Self, IdParseError> {
                let error = IdParseError { expected: $len * 2 };
                let bytes = HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|_| error.clone())?;
                Ok(Self(bytes.try_into().map_err(|_| error)?))
            }
        }
    };
}

id!(
    /// Names a network: the first 16 bytes of a hash of its genesis root body.
    NetworkId,
    16
);
id!(
    /// An Ed25519 public key: a device, an agent, a coordinator, a signer or a root.
    NodeId,
    32
);
id!(
    /// A user of a network.
    UserId,
    16
);
id!(
    /// A certificate's random serial number.
    Serial,
    16
);
id!(
    /// The first 8 bytes of SHA-256 of a public key; finds a key, proves nothing.
    KeyId,
    8
);
id!(
    /// An invitation.
    InviteId,
    8
);
id!(
    /// The hash of a revocation delta.
    LogHash,
    32
);

impl NodeId {
    /// The short name under which signatures refer to this key.
    pub fn key_id(&self) -> KeyId {
        let hash: [u8; 32] = Sha256::digest(self.0).into();
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        KeyId(id)
    }

    /// Whether the key may be enrolled: a canonical encoding of a point that is not weak.
    pub fn check_enrollable(&self) -> Result<(), WeakKey> {
        // from_bytes alone follows ZIP-215 and takes both kinds of bad key.
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| WeakKey::NotAPoint)?;
        if key.to_edwards().compress().as_bytes() != &self.0 {
            return Err(WeakKey::NotCanonical);
        }
        if key.is_weak() {
            return Err(WeakKey::SmallOrder);
        }
        Ok(())
    }

    /// The first 10 hexadecimal digits, for people. Not unique by itself.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..5])
    }
}

impl From<&ed25519_dalek::SigningKey> for NodeId {
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
}

impl LogHash {
    /// The hash before the first delta of an epoch.
    pub const ZERO: Self = Self([0; 32]);
}

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The time `seconds` later, at most the greatest.
    pub fn saturating_add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The time `seconds` earlier, at least 1970.
    pub fn saturating_sub(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds since `earlier`; 0 when that lies ahead.
    pub fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
