//! The root document: who may sign for the network. The chain of them is in [`chain`].

use ed25519_dalek::SigningKey;

use crate::cbor::{Reader, Writer};
use crate::error::{EncodeError, FormError, RootError};
use crate::ids::{KeyId, NetworkId, NodeId, UnixTime};
use crate::wire::{Frame, Kind, seal};

mod chain;

pub use chain::{MAX_CHAIN_LEN, RootChain};

/// The epoch of a network's first root document.
pub const GENESIS_EPOCH: u32 = 1;
/// Coordinators that a root document may list.
pub const MAX_COORDINATORS: usize = 8;
/// The longest time of a signer: ten years with their leap days, and a week.
pub const MAX_SIGNER_LIFE_SECS: u64 = 3_660 * 86_400;

/// Room for a list that a later version may fill; more than one is refused by its own name.
const MAX_RESERVED_LIST: usize = 8;

/// A key that signs certificates and the log, and when it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignerRecord {
    /// The signer's public key.
    pub key: NodeId,
    /// First second of its time.
    pub not_before: UnixTime,
    /// First second after its time.
    pub not_after: UnixTime,
}

impl SignerRecord {
    /// Whether the signer may sign at `time`.
    pub fn holds(&self, time: UnixTime) -> bool {
        self.not_before <= time && time < self.not_after
    }
}

/// Who may sign for the network from one epoch to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDocument {
    /// The network; `None` in the genesis document, whose hash names it.
    pub network_id: Option<NetworkId>,
    /// [`GENESIS_EPOCH`] and rising by one.
    pub epoch: u32,
    /// Exactly one today.
    pub signers: Vec<SignerRecord>,
    /// Exactly one today.
    pub roots: Vec<NodeId>,
    /// Where the network's coordinator answers; 1 to [`MAX_COORDINATORS`], the preferred first.
    pub coordinators: Vec<NodeId>,
}

impl RootDocument {
    /// Encodes and signs with the roots of the old and of the new epoch (one key when it stays).
    pub fn sign(&self, roots: &[&SigningKey]) -> Result<Vec<u8>, EncodeError> {
        let body = self.encode();
        let decoded = Self::decode(&body).map_err(EncodeError::Form)?;
        decoded.check_meaning().map_err(EncodeError::Root)?;
        seal(Kind::Root, &body, roots)
    }

    /// Reads a root document without believing it: nobody's signature is checked.
    pub fn decode_unverified(wire: &[u8]) -> Result<Self, FormError> {
        Self::decode(Frame::parse(wire, Kind::Root)?.body)
    }

    /// The signer with this id.
    pub fn signer(&self, key_id: KeyId) -> Option<&SignerRecord> {
        self.signers
            .iter()
            .find(|signer| signer.key.key_id() == key_id)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormError> {
        let mut reader = Reader::new(body);
        // 6 is for a threshold of root signatures, 7 for extensions.
        let mut map = reader.map(5, &[6, 7])?;
        map.version()?;
        let network_id = match map.optional_key(1)? {
            true => Some(map.value().bytes()?.into()),
            false => None,
        };
        let document = Self {
            network_id,
            epoch: map.key(2)?.uint32()?,
            signers: read_list(map.key(3)?, MAX_RESERVED_LIST, read_signer)?,
            roots: read_list(map.key(4)?, MAX_RESERVED_LIST, read_key)?,
            coordinators: read_list(map.key(5)?, MAX_COORDINATORS, read_key)?,
        };
        map.finish()?;
        Ok(document)
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.document(5 + u64::from(self.network_id.is_some()));
        if let Some(network_id) = self.network_id {
            writer.uint(1u8).bytes(network_id.as_bytes());
        }
        writer.uint(2u8).uint(self.epoch);
        writer.uint(3u8).array(self.signers.len());
        for signer in &self.signers {
            writer.array(3).bytes(signer.key.as_bytes());
            writer.uint(signer.not_before.0).uint(signer.not_after.0);
        }
        for (key, list) in [(4u8, &self.roots), (5, &self.coordinators)] {
            writer.uint(key).array(list.len());
            for node in list {
                writer.bytes(node.as_bytes());
            }
        }
        writer.into_bytes()
    }

    /// What must hold whatever came before: see the order in `docs/trust.md`.
    pub(crate) fn check_meaning(&self) -> Result<(), RootError> {
        if self.signers.len() > 1 {
            return Err(RootError::SeveralSigners {
                count: self.signers.len(),
            });
        }
        if self.roots.len() > 1 {
            return Err(RootError::SeveralRoots {
                count: self.roots.len(),
            });
        }
        for signer in &self.signers {
            let (not_before, not_after) = (signer.not_before, signer.not_after);
            if not_after <= not_before || not_after.seconds_since(not_before) > MAX_SIGNER_LIFE_SECS
            {
                return Err(RootError::BadSignerWindow {
                    not_before,
                    not_after,
                });
            }
        }
        let signers = self.signers.iter().map(|signer| &signer.key);
        for key in signers.chain(&self.roots).chain(&self.coordinators) {
            key.check_enrollable()
                .map_err(|source| RootError::WeakKey { key: *key, source })?;
        }
        for (index, coordinator) in self.coordinators.iter().enumerate() {
            if self.coordinators[..index].contains(coordinator) {
                return Err(RootError::DuplicateCoordinator {
                    coordinator: *coordinator,
                });
            }
        }
        match (self.epoch, self.network_id) {
            (0, _) => Err(RootError::EpochZero),
            (GENESIS_EPOCH, Some(_)) => Err(RootError::GenesisNamesNetwork),
            (GENESIS_EPOCH, None) | (_, Some(_)) => Ok(()),
            (epoch, None) => Err(RootError::NetworkMissing { epoch }),
        }
    }
}

fn read_list<T>(
    reader: &mut Reader<'_>,
    max: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, FormError>,
) -> Result<Vec<T>, FormError> {
    let count = reader.array(1, max)?;
    (0..count).map(|_| item(reader)).collect()
}

fn read_key(reader: &mut Reader<'_>) -> Result<NodeId, FormError> {
    Ok(reader.bytes()?.into())
}

fn read_signer(reader: &mut Reader<'_>) -> Result<SignerRecord, FormError> {
    reader.array(3, 3)?;
    Ok(SignerRecord {
        key: reader.bytes()?.into(),
        not_before: UnixTime(reader.uint()?),
        not_after: UnixTime(reader.uint()?),
    })
}
