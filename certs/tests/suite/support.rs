//! Fixed keys, a small network, and a second encoder that is free to make mistakes.

use std::sync::OnceLock;

use ed25519_dalek::Signer;
use homing_certs::*;
use sha2::{Digest, Sha256};

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);
pub(crate) const DAY: u64 = 86_400;

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn node(number: u8) -> NodeId {
    NodeId::from(&key(number))
}

pub(crate) fn root_key() -> SigningKey {
    key(1)
}

pub(crate) fn signer_key() -> SigningKey {
    key(2)
}

pub(crate) fn next_signer_key() -> SigningKey {
    key(3)
}

pub(crate) fn coordinator() -> NodeId {
    node(4)
}

/// The device of most tests.
pub(crate) fn device() -> NodeId {
    node(10)
}

pub(crate) fn window(key: &SigningKey) -> SignerRecord {
    SignerRecord {
        key: NodeId::from(key),
        not_before: UnixTime(NOW.0 - 100 * DAY),
        not_after: UnixTime(NOW.0 + 3_550 * DAY),
    }
}

pub(crate) fn genesis() -> RootDocument {
    RootDocument {
        network_id: None,
        epoch: 1,
        signers: vec![window(&signer_key())],
        roots: vec![NodeId::from(&root_key())],
        coordinators: vec![coordinator()],
    }
}

pub(crate) fn chain() -> RootChain {
    static CHAIN: OnceLock<RootChain> = OnceLock::new();
    let make = || RootChain::from_genesis(&genesis().sign(&[&root_key()]).unwrap(), None).unwrap();
    CHAIN.get_or_init(make).clone()
}

/// The second epoch of the same network, with this signer.
pub(crate) fn second_epoch(signer: &SigningKey) -> RootDocument {
    RootDocument {
        network_id: Some(chain().network_id()),
        epoch: 2,
        signers: vec![window(signer)],
        ..genesis()
    }
}

pub(crate) fn second_wire(signer: &SigningKey) -> Vec<u8> {
    second_epoch(signer).sign(&[&root_key()]).unwrap()
}

pub(crate) fn state() -> TrustState {
    TrustState::new(chain())
}

pub(crate) fn certificate() -> DeviceCertificate {
    DeviceCertificate {
        network_id: chain().network_id(),
        serial: Serial::from([0x5e; 16]),
        device: device(),
        user_id: UserId::from([0xa1; 16]),
        handle: Handle::new("alessandro").unwrap(),
        role: Role::Client,
        scopes: Scopes::new(["chat", "status.read", "terminal"]).unwrap(),
        issued_at: NOW,
        not_before: UnixTime(NOW.0 - BACKDATE_SECS),
        not_after: UnixTime(NOW.0 + CERTIFICATE_LIFE_SECS),
        generation: next_generation(None, NOW),
        root_epoch: 1,
    }
}

pub(crate) fn revoke(device: NodeId) -> RevocationEntry {
    RevocationEntry {
        device,
        min_generation: REVOKED,
        reason: RevokeReason::Lost,
    }
}

/// The wires of a log that revokes the given devices, one a step, and the state after it.
pub(crate) fn log_of(state: &TrustState, devices: &[NodeId]) -> (Vec<Vec<u8>>, TrustState) {
    let mut state = state.clone();
    let wires = devices
        .iter()
        .zip(1..)
        .map(|(device, step)| {
            let delta = state.next_delta(NOW.saturating_add(step), vec![revoke(*device)]);
            let wire = delta.sign(&signer_key()).unwrap();
            state.apply(&wire).unwrap();
            wire
        })
        .collect();
    (wires, state)
}

/// CBOR that need not be what a document allows.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Self>),
    Map(Vec<(u64, Self)>),
    Raw(Vec<u8>),
}

impl Value {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Uint(number) => head(0, *number),
            Self::Bytes(bytes) => [head(2, bytes.len() as u64), bytes.clone()].concat(),
            Self::Text(bytes) => [head(3, bytes.len() as u64), bytes.clone()].concat(),
            Self::Array(items) => {
                let items = items.iter().flat_map(Self::encode).collect();
                [head(4, self.len()), items].concat()
            }
            Self::Map(pairs) => {
                let pairs = pairs
                    .iter()
                    .flat_map(|(key, value)| [head(0, *key), value.encode()].concat())
                    .collect();
                [head(5, self.len()), pairs].concat()
            }
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Array(items) => items.len() as u64,
            Self::Map(pairs) => pairs.len() as u64,
            _ => 0,
        }
    }

    fn pairs(&mut self) -> &mut Vec<(u64, Self)> {
        match self {
            Self::Map(pairs) => pairs,
            _ => panic!("not a map"),
        }
    }

    /// With another value of `key`; a new key is put at the end.
    pub(crate) fn with(&self, key: u64, value: Self) -> Self {
        let mut copy = self.clone();
        match copy.pairs().iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => copy.pairs().push((key, value)),
        }
        copy
    }

    pub(crate) fn without(&self, key: u64) -> Self {
        let mut copy = self.clone();
        copy.pairs().retain(|(known, _)| *known != key);
        copy
    }

    /// With the last two pairs the wrong way round.
    pub(crate) fn swapped(&self) -> Self {
        let mut copy = self.clone();
        let pairs = copy.pairs();
        let last = pairs.len() - 1;
        pairs.swap(last - 1, last);
        copy
    }

    /// With the last pair twice.
    pub(crate) fn doubled(&self) -> Self {
        let mut copy = self.clone();
        let last = copy.pairs().last().unwrap().clone();
        copy.pairs().push(last);
        copy
    }

    /// With the pair of key 0 once more behind all others.
    pub(crate) fn ending_with_version(&self) -> Self {
        let mut copy = self.clone();
        copy.pairs().push((0, Self::Uint(1)));
        copy
    }
}

fn head(major: u8, number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let (info, len) = match number {
        0..24 => return vec![major << 5 | number as u8],
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    [&[major << 5 | info], &bytes[8 - len..]].concat()
}

pub(crate) fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.as_bytes().to_vec())
}

pub(crate) fn certificate_value(certificate: &DeviceCertificate) -> Value {
    Value::Map(vec![
        (0, Value::Uint(1)),
        (1, bytes(certificate.network_id.as_bytes())),
        (2, bytes(certificate.serial.as_bytes())),
        (3, bytes(certificate.device.as_bytes())),
        (4, bytes(certificate.user_id.as_bytes())),
        (5, text(certificate.handle.as_str())),
        (6, Value::Uint(certificate.role as u64)),
        (
            7,
            Value::Array(certificate.scopes.iter().map(text).collect()),
        ),
        (8, Value::Uint(certificate.issued_at.0)),
        (9, Value::Uint(certificate.not_before.0)),
        (10, Value::Uint(certificate.not_after.0)),
        (11, Value::Uint(certificate.generation.into())),
        (12, Value::Uint(certificate.root_epoch.into())),
    ])
}

pub(crate) fn root_value(document: &RootDocument) -> Value {
    let signer = |signer: &SignerRecord| {
        Value::Array(vec![
            bytes(signer.key.as_bytes()),
            Value::Uint(signer.not_before.0),
            Value::Uint(signer.not_after.0),
        ])
    };
    let nodes = |list: &[NodeId]| Value::Array(list.iter().map(|n| bytes(n.as_bytes())).collect());
    let mut pairs = vec![(0, Value::Uint(1))];
    if let Some(network_id) = document.network_id {
        pairs.push((1, bytes(network_id.as_bytes())));
    }
    pairs.push((2, Value::Uint(document.epoch.into())));
    pairs.push((
        3,
        Value::Array(document.signers.iter().map(signer).collect()),
    ));
    pairs.push((4, nodes(&document.roots)));
    pairs.push((5, nodes(&document.coordinators)));
    Value::Map(pairs)
}

pub(crate) fn heartbeat_value(beat: &Heartbeat) -> Value {
    Value::Map(vec![
        (0, Value::Uint(1)),
        (1, bytes(beat.network_id.as_bytes())),
        (2, Value::Uint(beat.root_epoch.into())),
        (3, Value::Uint(beat.seq)),
        (4, bytes(beat.head.as_bytes())),
        (5, Value::Uint(beat.time.0)),
    ])
}

pub(crate) fn entry_value(entry: &RevocationEntry) -> Value {
    Value::Array(vec![
        bytes(entry.device.as_bytes()),
        Value::Uint(entry.min_generation.into()),
        Value::Uint(entry.reason as u64),
    ])
}

pub(crate) fn delta_value(delta: &Delta) -> Value {
    let beat = Heartbeat {
        network_id: delta.network_id,
        root_epoch: delta.root_epoch,
        seq: delta.seq,
        head: delta.previous,
        time: delta.time,
    };
    heartbeat_value(&beat).with(
        6,
        Value::Array(delta.entries.iter().map(entry_value).collect()),
    )
}

pub(crate) fn snapshot_value(snapshot: &Snapshot) -> Value {
    let Snapshot {
        network_id,
        root_epoch,
        seq,
        head,
        time,
        ..
    } = *snapshot;
    let beat = Heartbeat {
        network_id,
        root_epoch,
        seq,
        head,
        time,
    };
    heartbeat_value(&beat).with(
        6,
        Value::Array(snapshot.entries.iter().map(entry_value).collect()),
    )
}

/// An envelope made by hand, signed properly by each of the keys in the given order.
pub(crate) fn seal(kind: Kind, body: &[u8], keys: &[&SigningKey]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    let len = if kind == Kind::RevocationSnapshot {
        &len[..]
    } else {
        &len[2..]
    };
    let mut wire = [&[1, kind as u8], len, body].concat();
    let context = format!("homing/{}/v1\0", kind.name());
    let input = [context.as_bytes(), &wire].concat();
    wire.push(keys.len() as u8);
    for key in keys {
        wire.extend(&Sha256::digest(key.verifying_key().as_bytes())[..8]);
        wire.extend(key.sign(&input).to_bytes());
    }
    wire
}

/// Small-order points, one with a second encoding.
pub(crate) fn weak_key() -> NodeId {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    NodeId::from(neutral)
}

/// A point whose y was not reduced: p + 3 encodes y = 3, which is on the curve and not weak.
pub(crate) fn unreduced_key() -> NodeId {
    let mut bytes = [0xff; 32];
    bytes[31] = 0x7f;
    (0xee..=0xff)
        .map(|low| {
            bytes[0] = low;
            NodeId::from(bytes)
        })
        .find(|key| key.check_enrollable() == Err(WeakKey::NotCanonical))
        .unwrap()
}
