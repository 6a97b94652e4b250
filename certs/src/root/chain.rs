//! The chain of root documents from the genesis on. Owns the rule by which one follows another.

use sha2::{Digest, Sha256};

use super::{GENESIS_EPOCH, RootDocument};
use crate::error::RootError;
use crate::ids::{KeyId, NetworkId, NodeId};
use crate::wire::{Frame, Kind};

/// Documents in a chain. A change of root, signer or host adds one, so this is decades of them;
/// it bounds what a peer can make this side read.
pub const MAX_CHAIN_LEN: usize = 256;

const NETWORK_ID_CONTEXT: &[u8] = b"homing/network-id/v1\0";

/// All root documents of a network up to the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootChain {
    network_id: NetworkId,
    current: RootDocument,
    wires: Vec<Vec<u8>>,
}

impl RootChain {
    /// Starts a chain. With `expected` the genesis document must be the one of that network;
    /// without it, whoever calls decides to trust this document.
    pub fn from_genesis(wire: &[u8], expected: Option<NetworkId>) -> Result<Self, RootError> {
        let frame = Frame::parse(wire, Kind::Root).map_err(RootError::Malformed)?;
        let document = decode(&frame)?;
        if document.epoch != GENESIS_EPOCH {
            return Err(RootError::NotGenesis {
                epoch: document.epoch,
            });
        }
        let network_id = network_id(frame.body);
        match expected {
            Some(expected) if expected != network_id => {
                return Err(RootError::WrongNetwork {
                    expected,
                    got: network_id,
                });
            }
            _ => {}
        }
        verify(&frame, &document.roots)?;
        Ok(Self {
            network_id,
            current: document,
            wires: vec![wire.to_vec()],
        })
    }

    /// Builds a chain from all its documents, the genesis first.
    pub fn from_chain(
        wires: impl IntoIterator<Item = impl AsRef<[u8]>>,
        expected: Option<NetworkId>,
    ) -> Result<Self, RootError> {
        let mut wires = wires.into_iter();
        let genesis = wires.next().ok_or(RootError::EmptyChain)?;
        let mut chain = Self::from_genesis(genesis.as_ref(), expected)?;
        for wire in wires {
            chain.extend(wire.as_ref())?;
        }
        Ok(chain)
    }

    /// Adds the next document: epoch + 1, signed by the roots of the old and of the new epoch.
    /// On a refusal nothing has changed.
    pub fn extend(&mut self, wire: &[u8]) -> Result<(), RootError> {
        let frame = Frame::parse(wire, Kind::Root).map_err(RootError::Malformed)?;
        let document = decode(&frame)?;
        match document.network_id {
            Some(got) if got != self.network_id => {
                return Err(RootError::WrongNetwork {
                    expected: self.network_id,
                    got,
                });
            }
            _ => {}
        }
        let (have, got) = (self.current.epoch, document.epoch);
        if got <= have {
            return Err(RootError::Rollback { have, got });
        }
        if have.checked_add(1) != Some(got) {
            return Err(RootError::EpochGap { have, got });
        }
        if self.wires.len() >= MAX_CHAIN_LEN {
            return Err(RootError::ChainTooLong { max: MAX_CHAIN_LEN });
        }
        verify(
            &frame,
            &[self.current.roots.as_slice(), &document.roots].concat(),
        )?;
        self.current = document;
        self.wires.push(wire.to_vec());
        Ok(())
    }

    /// Takes what is new in a chain that a peer sent whole or in part, and says how many documents
    /// that were. Documents known already are skipped; a different one of a known epoch is a fork.
    /// Documents before a refused one stay.
    pub fn extend_from(
        &mut self,
        wires: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<usize, RootError> {
        let mut added = 0;
        for wire in wires {
            let wire = wire.as_ref();
            let epoch = RootDocument::decode_unverified(wire)
                .map_err(RootError::Malformed)?
                .epoch;
            if epoch > self.current.epoch {
                self.extend(wire)?;
                added += 1;
            } else if self.wire_of(epoch) != Some(wire) {
                return Err(RootError::Fork { epoch });
            }
        }
        Ok(added)
    }

    /// The network.
    pub fn network_id(&self) -> NetworkId {
        self.network_id
    }

    /// The current epoch.
    pub fn epoch(&self) -> u32 {
        self.current.epoch
    }

    /// The current document.
    pub fn current(&self) -> &RootDocument {
        &self.current
    }

    /// All documents as they were signed, the genesis first.
    pub fn wires(&self) -> &[Vec<u8>] {
        &self.wires
    }

    fn wire_of(&self, epoch: u32) -> Option<&[u8]> {
        let index = usize::try_from(epoch.checked_sub(GENESIS_EPOCH)?).ok()?;
        self.wires.get(index).map(Vec::as_slice)
    }
}

fn network_id(genesis_body: &[u8]) -> NetworkId {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(NETWORK_ID_CONTEXT)
        .chain_update(genesis_body)
        .finalize()
        .into();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id.into()
}

fn decode(frame: &Frame<'_>) -> Result<RootDocument, RootError> {
    let document = RootDocument::decode(frame.body).map_err(RootError::Malformed)?;
    document.check_meaning()?;
    Ok(document)
}

/// Checks that exactly the given roots have signed.
fn verify(frame: &Frame<'_>, roots: &[NodeId]) -> Result<(), RootError> {
    let mut required: Vec<(KeyId, NodeId)> =
        roots.iter().map(|root| (root.key_id(), *root)).collect();
    required.sort_unstable();
    required.dedup();
    let given = frame.key_ids();
    if given.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(RootError::SignatureOrder);
    }
    for key_id in &given {
        if !required.iter().any(|(id, _)| id == key_id) {
            return Err(RootError::UnknownRoot { key_id: *key_id });
        }
    }
    for (key_id, root) in required {
        let Some(index) = given.iter().position(|id| *id == key_id) else {
            return Err(RootError::MissingSignature { key_id });
        };
        frame
            .verify(index, &root)
            .map_err(|_| RootError::BadSignature { key_id })?;
    }
    Ok(())
}
