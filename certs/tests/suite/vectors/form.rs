//! The faults of form that every kind can have, made from one good body.

use super::*;

/// `(name, reason, wire)` for a kind. `good` is a valid body, `unsigned32` a key of a `u32`,
/// `list` a key of an array that has a limit of its own, `below` an array that is too short.
pub(super) fn faults(
    kind: Kind,
    good: &Value,
    key: &SigningKey,
    list: (u64, Value),
    unsigned32: u64,
) -> Vec<(String, &'static str, Vec<u8>)> {
    let sealed = |body: Value| seal(kind, &body.encode(), &[key]);
    let raw = |body: &[u8]| seal(kind, body, &[key]);
    let wire = sealed(good.clone());
    let body = good.encode();
    let with = |key, bytes: &[u8]| sealed(good.with(key, Value::Raw(bytes.to_vec())));
    let changed = |at: usize, byte: u8| {
        let mut copy = wire.clone();
        copy[at] = byte;
        copy
    };
    let max = if kind == Kind::RevocationSnapshot {
        MAX_SNAPSHOT_BODY_LEN
    } else {
        MAX_BODY_LEN
    };
    let mut too_long = wire[..2].to_vec();
    let len = (max as u32 + 1).to_be_bytes();
    too_long.extend(if kind == Kind::RevocationSnapshot {
        &len[..]
    } else {
        &len[2..]
    });
    let covered = wire.len() - 73;
    let three: Vec<_> = [11, 12, 13].map(super::key).into();
    let other_kind = if kind == Kind::Root {
        Kind::DeviceCertificate
    } else {
        Kind::Root
    };
    let mut uncounted = body.clone();
    uncounted[0] += 1;
    let missing = if kind == Kind::Root { 2 } else { 1 };
    let list_key = list.0;
    let promise: (u64, &[u8]) = match kind {
        Kind::Root => (5, &[0x81, 0x58, 0xff, 1]),
        Kind::DeviceCertificate => (3, &[0x58, 0xff, 1]),
        _ => (4, &[0x58, 0xff, 1]),
    };

    let mut faults = vec![
        ("nothing at all", "truncated", vec![]),
        ("only a version", "truncated", wire[..1].to_vec()),
        ("cut in the length", "truncated", wire[..3].to_vec()),
        ("cut in the body", "truncated", wire[..20].to_vec()),
        (
            "cut before the signature count",
            "truncated",
            wire[..covered].to_vec(),
        ),
        (
            "cut in the signature",
            "truncated",
            wire[..wire.len() - 1].to_vec(),
        ),
        ("envelope version 2", "unsupported_version", changed(0, 2)),
        ("the reserved kind", "reserved_kind", changed(1, 6)),
        ("a kind without a name", "wrong_kind", changed(1, 99)),
        ("a body over the limit", "body_too_long", too_long),
        (
            "no signature",
            "signature_count",
            [&wire[..covered], &[0]].concat(),
        ),
        (
            "three signatures",
            "signature_count",
            seal(kind, &body, &three.iter().collect::<Vec<_>>()),
        ),
        (
            "a byte behind the signature",
            "trailing_bytes",
            [&wire[..], &[0]].concat(),
        ),
        ("an empty body", "body_truncated", raw(&[])),
        (
            "a map that promises one pair more",
            "body_truncated",
            raw(&uncounted),
        ),
        (
            "a string that promises more",
            "body_truncated",
            with(promise.0, promise.1),
        ),
        (
            "a number that is cut off",
            "body_truncated",
            raw(&[0xa1, 0x00, 0x19, 0x01]),
        ),
        ("a tagged value", "tag", with(2, &[0xc1, 0x01])),
        ("a float", "float_or_simple", with(2, &[0xf9, 0x3c, 0x00])),
        ("a boolean", "float_or_simple", with(2, &[0xf5])),
        ("null", "float_or_simple", with(2, &[0xf6])),
        ("a break", "float_or_simple", with(2, &[0xff])),
        (
            "a head without a meaning",
            "malformed_head",
            with(2, &[0x1c]),
        ),
        (
            "a map without a length",
            "indefinite_length",
            raw(&[&[0xbf], &body[1..], &[0xff]].concat()),
        ),
        (
            "a string without a length",
            "indefinite_length",
            with(missing, &[0x5f, 0x40, 0xff]),
        ),
        (
            "an array without a length",
            "indefinite_length",
            with(list_key, &[0x9f, 0xff]),
        ),
        ("an array instead of a map", "wrong_type", raw(&[0x80])),
        ("a negative number", "wrong_type", with(unsigned32, &[0x20])),
        (
            "a text as key",
            "wrong_type",
            raw(&[0xa1, 0x61, 0x30, 0x01]),
        ),
        (
            "a version in two bytes",
            "not_shortest",
            with(0, &[0x18, 0x01]),
        ),
        (
            "a number in nine bytes",
            "not_shortest",
            with(unsigned32, &[0x1b, 0, 0, 0, 0, 0, 0, 0, 1]),
        ),
        (
            "a number over 32 bits",
            "out_of_range",
            sealed(good.with(unsigned32, Value::Uint(1 << 32))),
        ),
        // A reader misses the lower key before it can see it come too late.
        (
            "the last two pairs swapped",
            "missing_key",
            sealed(good.swapped()),
        ),
        (
            "the version again at the end",
            "unsorted_keys",
            sealed(good.ending_with_version()),
        ),
        (
            "the last pair twice",
            "duplicate_key",
            sealed(good.doubled()),
        ),
        (
            "a key that nobody knows",
            "unknown_key",
            sealed(good.with(99, Value::Uint(0))),
        ),
        (
            "no pair but the version",
            "missing_key",
            raw(&[0xa1, 0x00, 0x01]),
        ),
        (
            "a field left out",
            "missing_key",
            sealed(good.without(missing)),
        ),
        (
            "a byte behind the body",
            "trailing_body_bytes",
            raw(&[&body[..], &[0]].concat()),
        ),
        (
            "body version 2",
            "unsupported_body_version",
            sealed(good.with(0, Value::Uint(2))),
        ),
    ];
    let last = match kind {
        Kind::DeviceCertificate => 12,
        Kind::Heartbeat => 5,
        Kind::Root => 5,
        _ => 6,
    };
    faults.push((
        "the last field left out",
        "missing_key",
        sealed(good.without(last)),
    ));
    faults.push((
        "another kind of document",
        "wrong_kind",
        seal(other_kind, &body, &[key]),
    ));
    if kind != Kind::Heartbeat {
        faults.push((
            "a list over its limit",
            "count",
            sealed(good.with(list_key, list.1)),
        ));
    } else {
        faults.retain(|fault| !fault.0.starts_with("an array without"));
    }
    if kind != Kind::Root {
        let short = good.with(1, bytes(&[1; 15]));
        faults.push(("a network id of 15 bytes", "wrong_length", sealed(short)));
    } else {
        let short = good.with(5, Value::Array(vec![bytes(&[1; 31])]));
        faults.push(("a key of 31 bytes", "wrong_length", sealed(short)));
    }
    faults
        .into_iter()
        .map(|(name, reason, wire)| (format!("{}: {name}", kind.name()), reason, wire))
        .collect()
}
