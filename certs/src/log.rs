//! The documents of the revocation log: deltas, snapshots and heartbeats. Owns their form; what
//! may follow what, the trust state decides.

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use crate::cbor::{Reader, Writer};
use crate::error::{EncodeError, FormError};
use crate::ids::{LogHash, NetworkId, NodeId, UnixTime};
use crate::wire::{Frame, Kind, covered_part, seal};

/// The least generation that no certificate has: it revokes for ever.
pub const REVOKED: u32 = u32::MAX;
/// Entries of a delta, so that one with all its signatures fits a QUIC close frame.
pub const MAX_DELTA_ENTRIES: usize = 16;
/// Entries of a snapshot, and so of a network.
pub const MAX_SNAPSHOT_ENTRIES: usize = 200_000;

/// The fewest bytes of an encoded entry; bounds what a snapshot's count can make us reserve.
const MIN_ENTRY_LEN: usize = 1 + 34 + 1 + 1;
const LOG_HASH_CONTEXT: &[u8] = b"homing/log-hash/v1\0";

/// Why a device was revoked or demoted. For people; no rule depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum RevokeReason {
    /// Nothing was said.
    #[default]
    Unspecified = 0,
    /// Lost or stolen.
    Lost = 1,
    /// Its key is believed to be known to others.
    Compromised = 2,
    /// Replaced by another device or key.
    Replaced = 3,
    /// Its rights were changed; newer certificates are good.
    Demoted = 4,
    /// Its user was removed.
    UserRemoved = 5,
}

impl RevokeReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::Lost,
        Self::Compromised,
        Self::Replaced,
        Self::Demoted,
        Self::UserRemoved,
    ];

    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Lost => "lost",
            Self::Compromised => "compromised",
            Self::Replaced => "replaced",
            Self::Demoted => "demoted",
            Self::UserRemoved => "user_removed",
        }
    }

    /// The reason with this number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| *reason as u64 == number)
    }
}

/// Certificates of `device` below `min_generation` are refused; [`REVOKED`] refuses all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationEntry {
    /// The device's key.
    pub device: NodeId,
    /// At least 1.
    pub min_generation: u32,
    /// Why.
    pub reason: RevokeReason,
}

/// One step of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The network.
    pub network_id: NetworkId,
    /// The epoch of the root document under which it was signed.
    pub root_epoch: u32,
    /// The step's number, from 1.
    pub seq: u64,
    /// The hash of the step before; [`LogHash::ZERO`] before the first.
    pub previous: LogHash,
    /// When it was signed.
    pub time: UnixTime,
    /// 1 to [`MAX_DELTA_ENTRIES`], ascending by device, each device once.
    pub entries: Vec<RevocationEntry>,
}

/// The whole log up to one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The network.
    pub network_id: NetworkId,
    /// The epoch of the root document under which it was signed.
    pub root_epoch: u32,
    /// The last step that it contains; 0 for none.
    pub seq: u64,
    /// The hash of that step.
    pub head: LogHash,
    /// When it was signed.
    pub time: UnixTime,
    /// Up to [`MAX_SNAPSHOT_ENTRIES`], ascending by device, each device once.
    pub entries: Vec<RevocationEntry>,
}

/// Says that the log ended at this step at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The network.
    pub network_id: NetworkId,
    /// The epoch of the root document under which the log is signed.
    pub root_epoch: u32,
    /// The last step; 0 for none.
    pub seq: u64,
    /// The hash of that step.
    pub head: LogHash,
    /// When it was signed.
    pub time: UnixTime,
}

/// Where a log ends. Ordered by epoch and step; the hash only tells equals apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogHead {
    /// The epoch of the log's signer.
    pub root_epoch: u32,
    /// The last step.
    pub seq: u64,
    /// The hash of that step.
    pub hash: LogHash,
}

impl Delta {
    /// Encodes and signs; entries may stand in any order.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, EncodeError> {
        let mut writer = header(
            self.network_id,
            self.root_epoch,
            self.seq,
            &self.previous,
            self.time,
        );
        write_entries(&mut writer, &self.entries);
        let body = writer.into_bytes();
        Self::decode(&body).map_err(EncodeError::Form)?;
        seal(Kind::RevocationDelta, &body, &[signer])
    }

    /// Reads a delta without believing it: nobody's signature is checked.
    pub fn decode_unverified(wire: &[u8]) -> Result<Self, FormError> {
        Self::decode(Frame::parse(wire, Kind::RevocationDelta)?.body)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormError> {
        let (head, entries) = decode_body(body, Some((1, MAX_DELTA_ENTRIES)))?;
        if head.seq == 0 {
            return Err(FormError::SeqZero);
        }
        let Heartbeat {
            network_id,
            root_epoch,
            seq,
            head: previous,
            time,
        } = head;
        Ok(Self {
            network_id,
            root_epoch,
            seq,
            previous,
            time,
            entries,
        })
    }
}

impl Snapshot {
    /// Encodes and signs; entries may stand in any order.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, EncodeError> {
        let mut writer = header(
            self.network_id,
            self.root_epoch,
            self.seq,
            &self.head,
            self.time,
        );
        write_entries(&mut writer, &self.entries);
        let body = writer.into_bytes();
        Self::decode(&body).map_err(EncodeError::Form)?;
        seal(Kind::RevocationSnapshot, &body, &[signer])
    }

    /// Reads a snapshot without believing it: nobody's signature is checked.
    pub fn decode_unverified(wire: &[u8]) -> Result<Self, FormError> {
        Self::decode(Frame::parse(wire, Kind::RevocationSnapshot)?.body)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormError> {
        let (head, entries) = decode_body(body, Some((0, MAX_SNAPSHOT_ENTRIES)))?;
        let Heartbeat {
            network_id,
            root_epoch,
            seq,
            head,
            time,
        } = head;
        Ok(Self {
            network_id,
            root_epoch,
            seq,
            head,
            time,
            entries,
        })
    }
}

impl Heartbeat {
    /// Encodes and signs.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, EncodeError> {
        let writer = header_of(
            5,
            self.network_id,
            self.root_epoch,
            self.seq,
            &self.head,
            self.time,
        );
        let body = writer.into_bytes();
        Self::decode(&body).map_err(EncodeError::Form)?;
        seal(Kind::Heartbeat, &body, &[signer])
    }

    /// Reads a heartbeat without believing it: nobody's signature is checked.
    pub fn decode_unverified(wire: &[u8]) -> Result<Self, FormError> {
        Self::decode(Frame::parse(wire, Kind::Heartbeat)?.body)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, FormError> {
        Ok(decode_body(body, None)?.0)
    }
}

/// The hash by which the next delta names this one.
///
/// It covers what is signed and not the signature: a second signature over the same delta is not
/// another delta. Bytes that are no delta have some hash too.
pub fn delta_hash(wire: &[u8]) -> LogHash {
    let covered = covered_part(wire, Kind::RevocationDelta);
    let hash: [u8; 32] = Sha256::new()
        .chain_update(LOG_HASH_CONTEXT)
        .chain_update(covered)
        .finalize()
        .into();
    hash.into()
}

fn header(
    network_id: NetworkId,
    root_epoch: u32,
    seq: u64,
    hash: &LogHash,
    time: UnixTime,
) -> Writer {
    header_of(6, network_id, root_epoch, seq, hash, time)
}

fn header_of(
    last_key: u64,
    network_id: NetworkId,
    root_epoch: u32,
    seq: u64,
    hash: &LogHash,
    time: UnixTime,
) -> Writer {
    let mut writer = Writer::default();
    writer.document(last_key + 1);
    writer.uint(1u8).bytes(network_id.as_bytes());
    writer.uint(2u8).uint(root_epoch);
    writer.uint(3u8).uint(seq);
    writer.uint(4u8).bytes(hash.as_bytes());
    writer.uint(5u8).uint(time.0);
    writer
}

fn write_entries(writer: &mut Writer, entries: &[RevocationEntry]) {
    let mut entries = entries.to_vec();
    entries.sort_unstable_by_key(|entry| entry.device);
    writer.uint(6u8).array(entries.len());
    for entry in &entries {
        writer.array(3).bytes(entry.device.as_bytes());
        writer.uint(entry.min_generation).uint(entry.reason as u8);
    }
}

/// The three bodies share their first six fields; `entries` are the bounds of the seventh.
fn decode_body(
    body: &[u8],
    entries: Option<(usize, usize)>,
) -> Result<(Heartbeat, Vec<RevocationEntry>), FormError> {
    let mut reader = Reader::new(body);
    let mut map = reader.map(if entries.is_some() { 6 } else { 5 }, &[])?;
    map.version()?;
    let head = Heartbeat {
        network_id: map.key(1)?.bytes()?.into(),
        root_epoch: map.key(2)?.uint32()?,
        seq: map.key(3)?.uint()?,
        head: map.key(4)?.bytes()?.into(),
        time: UnixTime(map.key(5)?.uint()?),
    };
    let entries = match entries {
        Some((min, max)) => read_entries(map.key(6)?, min, max, body.len())?,
        None => Vec::new(),
    };
    map.finish()?;
    Ok((head, entries))
}

fn read_entries(
    reader: &mut Reader<'_>,
    min: usize,
    max: usize,
    body_len: usize,
) -> Result<Vec<RevocationEntry>, FormError> {
    let count = reader.array(min, max)?;
    let mut entries: Vec<RevocationEntry> = Vec::with_capacity(count.min(body_len / MIN_ENTRY_LEN));
    for _ in 0..count {
        reader.array(3, 3)?;
        let device = reader.bytes()?.into();
        let offset = reader.offset();
        let min_generation = reader.uint32()?;
        if min_generation == 0 {
            return Err(FormError::OutOfRange { offset });
        }
        let reason = reader.uint()?;
        let reason =
            RevokeReason::from_number(reason).ok_or(FormError::UnknownRevokeReason { reason })?;
        if entries.last().is_some_and(|last| last.device >= device) {
            return Err(FormError::UnsortedEntries);
        }
        entries.push(RevocationEntry {
            device,
            min_generation,
            reason,
        });
    }
    Ok(entries)
}
