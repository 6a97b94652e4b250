use super::form::faults;
use super::*;

type Made = (String, &'static str, Vec<Vec<u8>>, Option<NetworkId>);

fn made(name: &str, result: &'static str, chain: Vec<Vec<u8>>) -> Made {
    (name.to_owned(), result, chain, None)
}

/// Signed by the root whatever it says.
fn forged(document: &RootDocument) -> Vec<u8> {
    seal(Kind::Root, &root_value(document).encode(), &[&root_key()])
}

fn genesis_with(change: impl FnOnce(&mut RootDocument)) -> Vec<Vec<u8>> {
    let mut document = genesis();
    change(&mut document);
    vec![forged(&document)]
}

fn second_with(change: impl FnOnce(&mut RootDocument)) -> Vec<Vec<u8>> {
    let mut document = second_epoch(&signer_key());
    change(&mut document);
    vec![first(), forged(&document)]
}

fn first() -> Vec<u8> {
    chain().wires()[0].clone()
}

fn sorted_roots(ascending: bool) -> [SigningKey; 2] {
    let mut keys = [root_key(), key(5)];
    keys.sort_by_key(|key| NodeId::from(key).key_id());
    if !ascending {
        keys.reverse();
    }
    keys
}

fn new_root() -> RootDocument {
    RootDocument {
        roots: vec![node(5)],
        ..second_epoch(&signer_key())
    }
}

fn new_root_signed(keys: &[&SigningKey]) -> Vec<Vec<u8>> {
    vec![
        first(),
        seal(Kind::Root, &root_value(&new_root()).encode(), keys),
    ]
}

fn accepted() -> Vec<Made> {
    let second = second_wire(&next_signer_key());
    let third = RootDocument {
        epoch: 3,
        roots: vec![node(5)],
        ..second_epoch(&next_signer_key())
    };
    let third = third.sign(&[&root_key(), &key(5)]).unwrap();
    let fourth = RootDocument {
        epoch: 4,
        roots: vec![node(5)],
        ..second_epoch(&key(6))
    };
    let fourth = fourth.sign(&[&key(5)]).unwrap();
    let many = (20..28).map(node).collect();
    vec![
        made("a genesis", "ok", vec![first()]),
        (
            "the genesis that was expected".into(),
            "ok",
            vec![first()],
            Some(chain().network_id()),
        ),
        made(
            "eight coordinators",
            "ok",
            genesis_with(|d| d.coordinators = many),
        ),
        made(
            "a signer for ten years",
            "ok",
            genesis_with(|d| {
                d.signers[0].not_after = UnixTime(d.signers[0].not_before.0 + MAX_SIGNER_LIFE_SECS)
            }),
        ),
        made(
            "a new signer, then a new root, then a new signer",
            "ok",
            vec![first(), second, third, fourth],
        ),
    ]
}

fn refused() -> Vec<Made> {
    let mut bad = first();
    *bad.last_mut().unwrap() ^= 1;
    let [a, b] = sorted_roots(true);
    let [c, d] = sorted_roots(false);
    let mut half = new_root_signed(&[&a, &b]);
    *half[1].last_mut().unwrap() ^= 1;
    let value = root_value(&genesis());
    let window = |from: u64, to: u64| {
        genesis_with(|d| {
            d.signers[0].not_before = UnixTime(from);
            d.signers[0].not_after = UnixTime(to);
        })
    };
    let body = root_value(&genesis()).encode();
    vec![
        (
            "another network".into(),
            "wrong_network",
            vec![first()],
            Some(NetworkId::from([9; 16])),
        ),
        made("no document", "empty_chain", vec![]),
        made("a changed signature", "bad_signature", vec![bad]),
        made(
            "signed by another key",
            "unknown_root",
            vec![seal(Kind::Root, &body, &[&key(9)])],
        ),
        made(
            "a second signature of nobody",
            "unknown_root",
            vec![{
                let mut keys = [root_key(), key(9)];
                keys.sort_by_key(|key| NodeId::from(key).key_id());
                seal(Kind::Root, &body, &[&keys[0], &keys[1]])
            }],
        ),
        made(
            "the same signature twice",
            "signature_order",
            vec![seal(Kind::Root, &body, &[&root_key(), &root_key()])],
        ),
        made(
            "two roots",
            "several_roots",
            genesis_with(|d| d.roots.push(node(5))),
        ),
        made(
            "two signers",
            "several_signers",
            genesis_with(|d| d.signers.push(super::window(&key(5)))),
        ),
        made("no root", "count", genesis_with(|d| d.roots.clear())),
        made("no signer", "count", genesis_with(|d| d.signers.clear())),
        made(
            "no coordinator",
            "count",
            genesis_with(|d| d.coordinators.clear()),
        ),
        made(
            "a signer with four fields",
            "count",
            vec![seal(
                Kind::Root,
                &value
                    .with(
                        3,
                        Value::Array(vec![Value::Array(vec![
                            bytes(&[1; 32]),
                            Value::Uint(0),
                            Value::Uint(1),
                            Value::Uint(1),
                        ])]),
                    )
                    .encode(),
                &[&root_key()],
            )],
        ),
        made(
            "a coordinator twice",
            "duplicate_coordinator",
            genesis_with(|d| d.coordinators.push(coordinator())),
        ),
        made(
            "a weak signer",
            "weak_key",
            genesis_with(|d| d.signers[0].key = weak_key()),
        ),
        made(
            "a weak root",
            "weak_key",
            genesis_with(|d| d.roots[0] = weak_key()),
        ),
        made(
            "a coordinator with a second encoding",
            "weak_key",
            genesis_with(|d| d.coordinators[0] = unreduced_key()),
        ),
        made("a signer without time", "bad_signer_window", window(5, 5)),
        made(
            "a signer's time backwards",
            "bad_signer_window",
            window(6, 5),
        ),
        made(
            "a signer for over ten years",
            "bad_signer_window",
            window(5, 6 + MAX_SIGNER_LIFE_SECS),
        ),
        made("epoch 0", "epoch_zero", genesis_with(|d| d.epoch = 0)),
        made(
            "a genesis that names a network",
            "genesis_names_network",
            genesis_with(|d| d.network_id = Some(NetworkId::from([9; 16]))),
        ),
        made(
            "a second epoch without a network",
            "network_missing",
            second_with(|d| d.network_id = None),
        ),
        made(
            "a chain without its genesis",
            "not_genesis",
            vec![second_wire(&signer_key())],
        ),
        made(
            "a second epoch of another network",
            "wrong_network",
            second_with(|d| d.network_id = Some(NetworkId::from([9; 16]))),
        ),
        made("the genesis twice", "rollback", vec![first(), first()]),
        made("the second epoch twice", "rollback", {
            let second = second_wire(&signer_key());
            vec![first(), second.clone(), second]
        }),
        made(
            "an epoch left out",
            "epoch_gap",
            second_with(|d| d.epoch = 3),
        ),
        made(
            "the last epoch",
            "epoch_gap",
            second_with(|d| d.epoch = u32::MAX),
        ),
        made(
            "a new root without the old one",
            "missing_signature",
            new_root_signed(&[&key(5)]),
        ),
        made(
            "a new root that has not signed",
            "missing_signature",
            new_root_signed(&[&root_key()]),
        ),
        made(
            "a new root, signatures out of order",
            "signature_order",
            new_root_signed(&[&c, &d]),
        ),
        made("a new root, one signature changed", "bad_signature", half),
        made(
            "a second epoch signed by the signer",
            "unknown_root",
            vec![
                first(),
                seal(
                    Kind::Root,
                    &root_value(&second_epoch(&signer_key())).encode(),
                    &[&signer_key()],
                ),
            ],
        ),
        made(
            "a threshold",
            "reserved_field",
            vec![seal(
                Kind::Root,
                &value.with(6, Value::Uint(1)).encode(),
                &[&root_key()],
            )],
        ),
        made(
            "extensions",
            "reserved_field",
            vec![seal(
                Kind::Root,
                &value.with(7, Value::Array(vec![])).encode(),
                &[&root_key()],
            )],
        ),
    ]
}

/// A document that a peer sends although another of its epoch is known.
fn forks() -> Vec<Json> {
    let other = RootDocument {
        coordinators: vec![node(44)],
        ..second_epoch(&signer_key())
    };
    let other = other.sign(&[&root_key()]).unwrap();
    let known = [first(), second_wire(&signer_key())];
    let mut chain = RootChain::from_chain(&known, None).unwrap();
    assert_eq!(chain.extend_from(&known), Ok(0));
    let error = chain.extend_from([&first(), &other]).unwrap_err();
    assert_eq!(error, RootError::Fork { epoch: 2 });
    vec![json!({
        "name": "another document of a known epoch", "chain": hexes(&known), "expected_network": null,
        "offered": hex(other), "result": error.reason(), "code": error.code().as_str(),
    })]
}

#[test]
fn root_vectors_hold() {
    let too_many = Value::Array((20..29).map(|n| bytes(node(n).as_bytes())).collect());
    let form = faults(
        Kind::Root,
        &root_value(&genesis()),
        &root_key(),
        (5, too_many),
        2,
    );
    let form = form
        .into_iter()
        .map(|(name, reason, wire)| made(&name, reason, vec![wire]));
    let cases: Vec<Json> = accepted()
        .into_iter()
        .chain(refused())
        .chain(form)
        .map(|(name, result, wires, expected)| {
            let mut json = json!({
                "name": name, "chain": hexes(&wires), "result": result,
                "expected_network": expected.map(|id| hex(id.as_bytes())),
            });
            match RootChain::from_chain(&wires, expected) {
                Ok(chain) => {
                    assert_eq!(result, "ok", "{name}");
                    json["network_id"] = hex(chain.network_id().as_bytes());
                    json["epoch"] = json!(chain.epoch());
                }
                Err(error) => {
                    assert_eq!(error.reason(), result, "{name}: {error:?}");
                    json["code"] = json!(error.code().as_str());
                }
            }
            json
        })
        .chain(forks())
        .collect();
    settle("root.json", &json!({ "cases": cases }));
}
