//! The device certificate: its form, its meaning and how it is signed. Whether a given one is
//! believed at a given time, the trust state decides.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::SigningKey;

use crate::cbor::{Reader, Writer};
use crate::error::{CertificateError, EncodeError, FormError};
use crate::ids::{NetworkId, NodeId, Serial, UnixTime, UserId};
use crate::log::REVOKED;
use crate::role::Role;
use crate::scopes::{MAX_SCOPES, Scopes, is_scope};
use crate::wire::{Frame, Kind, seal};

/// How long a certificate is issued for: 30 days.
pub const CERTIFICATE_LIFE_SECS: u64 = 30 * 86_400;
/// The longest life that is accepted: 31 days, the difference is for the backdating.
pub const MAX_LIFE_SECS: u64 = 31 * 86_400;
/// How far `not_before` lies before `issued_at`, for clocks that are slow.
pub const BACKDATE_SECS: u64 = 300;
/// How long after `not_after` a certificate still passes, for clocks that are fast.
pub const LEEWAY_SECS: u64 = 300;

const MAX_HANDLE_LEN: usize = 64;

/// A user's name: 1 to 64 of `[a-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(String);

/// A text that is no handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a handle: 1 to 64 of a-z 0-9 . _ -")]
pub struct HandleError(pub String);

impl Handle {
    /// Checks and takes a handle.
    pub fn new(text: impl Into<String>) -> Result<Self, HandleError> {
        let text = text.into();
        if is_handle(text.as_bytes()) {
            Ok(Self(text))
        } else {
            Err(HandleError(text))
        }
    }

    /// The handle as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Handle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Self, HandleError> {
        Self::new(text)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a signer says about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// The network it is for.
    pub network_id: NetworkId,
    /// Random; tells two certificates of a device apart in logs.
    pub serial: Serial,
    /// The key that the peer must prove to hold.
    pub device: NodeId,
    /// Whose device it is.
    pub user_id: UserId,
    /// The user's name.
    pub handle: Handle,
    /// The ceiling of its rights.
    pub role: Role,
    /// What is granted below the ceiling.
    pub scopes: Scopes,
    /// When it was signed.
    pub issued_at: UnixTime,
    /// Always `issued_at` less [`BACKDATE_SECS`].
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
    /// Rises with every certificate of the device; never [`u32::MAX`].
    pub generation: u32,
    /// The epoch of the root document under which it was signed.
    pub root_epoch: u32,
}

impl DeviceCertificate {
    /// Encodes and signs. Refuses to sign what a verifier would refuse.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, EncodeError> {
        let body = self.encode();
        let decoded = Self::decode(&body).map_err(EncodeError::Form)?;
        decoded.check_meaning().map_err(EncodeError::Certificate)?;
        seal(Kind::DeviceCertificate, &body, &[signer])
    }

    /// Reads a certificate without believing it: nobody's signature is checked.
    pub fn decode_unverified(wire: &[u8]) -> Result<Self, FormError> {
        Self::decode(Frame::parse(wire, Kind::DeviceCertificate)?.body)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormError> {
        let mut reader = Reader::new(body);
        // 13 is for extensions.
        let mut map = reader.map(12, &[13])?;
        map.version()?;
        let certificate = Self {
            network_id: map.key(1)?.bytes()?.into(),
            serial: map.key(2)?.bytes()?.into(),
            device: map.key(3)?.bytes()?.into(),
            user_id: map.key(4)?.bytes()?.into(),
            handle: read_handle(map.key(5)?)?,
            role: read_role(map.key(6)?)?,
            scopes: read_scopes(map.key(7)?)?,
            issued_at: UnixTime(map.key(8)?.uint()?),
            not_before: UnixTime(map.key(9)?.uint()?),
            not_after: UnixTime(map.key(10)?.uint()?),
            generation: map.key(11)?.uint32()?,
            root_epoch: map.key(12)?.uint32()?,
        };
        map.finish()?;
        if certificate.generation == REVOKED {
            return Err(FormError::ReservedGeneration);
        }
        Ok(certificate)
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.document(13);
        writer.uint(1u8).bytes(self.network_id.as_bytes());
        writer.uint(2u8).bytes(self.serial.as_bytes());
        writer.uint(3u8).bytes(self.device.as_bytes());
        writer.uint(4u8).bytes(self.user_id.as_bytes());
        writer.uint(5u8).text(self.handle.as_str());
        writer.uint(6u8).uint(self.role as u8);
        writer.uint(7u8).array(self.scopes.len());
        for scope in self.scopes.iter() {
            writer.text(scope);
        }
        writer.uint(8u8).uint(self.issued_at.0);
        writer.uint(9u8).uint(self.not_before.0);
        writer.uint(10u8).uint(self.not_after.0);
        writer.uint(11u8).uint(self.generation);
        writer.uint(12u8).uint(self.root_epoch);
        writer.into_bytes()
    }

    /// What must hold whoever asks: the key is usable and the times fit together.
    pub(crate) fn check_meaning(&self) -> Result<(), CertificateError> {
        self.device
            .check_enrollable()
            .map_err(CertificateError::WeakDeviceKey)?;
        let (issued_at, not_before, not_after) = (self.issued_at, self.not_before, self.not_after);
        if not_before.0.checked_add(BACKDATE_SECS) != Some(issued_at.0) {
            return Err(CertificateError::WrongBackdate {
                issued_at,
                not_before,
            });
        }
        if not_after <= issued_at {
            return Err(CertificateError::EmptyLife {
                issued_at,
                not_after,
            });
        }
        let seconds = not_after.seconds_since(not_before);
        if seconds > MAX_LIFE_SECS {
            return Err(CertificateError::LifeTooLong { seconds });
        }
        Ok(())
    }
}

/// The generation of a device's next certificate.
///
/// Time is part of it, so that a database restored from yesterday does not repeat one. It never
/// reaches [`REVOKED`].
pub fn next_generation(previous: Option<u32>, now: UnixTime) -> u32 {
    let minutes = u32::try_from(now.0 / 60).unwrap_or(u32::MAX);
    previous
        .map_or(0, |previous| previous.saturating_add(1))
        .max(minutes)
        .min(REVOKED - 1)
}

/// A certificate whose form, signature and meaning were checked; only a trust state makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCertificate {
    pub(crate) certificate: DeviceCertificate,
    pub(crate) wire: Vec<u8>,
    pub(crate) signer: NodeId,
}

impl VerifiedCertificate {
    /// What it says.
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// The bytes as they were signed.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Who signed it.
    pub fn signer(&self) -> &NodeId {
        &self.signer
    }
}

fn is_handle(bytes: &[u8]) -> bool {
    (1..=MAX_HANDLE_LEN).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

fn ascii(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn read_handle(reader: &mut Reader<'_>) -> Result<Handle, FormError> {
    let text = reader.text()?;
    if is_handle(text) {
        Ok(Handle(ascii(text)))
    } else {
        Err(FormError::BadHandle)
    }
}

fn read_role(reader: &mut Reader<'_>) -> Result<Role, FormError> {
    let role = reader.uint()?;
    Role::from_number(role).ok_or(FormError::UnknownRole { role })
}

fn read_scopes(reader: &mut Reader<'_>) -> Result<Scopes, FormError> {
    let count = reader.array(0, MAX_SCOPES)?;
    let mut list: Vec<String> = Vec::with_capacity(count);
    for _ in 0..count {
        let text = reader.text()?;
        if !is_scope(text) {
            return Err(FormError::BadScope);
        }
        let scope = ascii(text);
        if list.last().is_some_and(|last| *last >= scope) {
            return Err(FormError::UnsortedScopes);
        }
        list.push(scope);
    }
    Scopes::new(list).map_err(|_| FormError::BadScope)
}
