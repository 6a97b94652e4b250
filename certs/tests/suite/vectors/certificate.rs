use super::form::faults;
use super::*;

struct Case {
    name: String,
    chain: &'static str,
    log: Vec<Vec<u8>>,
    wire: Vec<u8>,
    peer: NodeId,
    now: UnixTime,
    result: &'static str,
}

fn fields(certificate: &DeviceCertificate) -> Json {
    json!({
        "network_id": hex(certificate.network_id.as_bytes()),
        "serial": hex(certificate.serial.as_bytes()),
        "device": hex(certificate.device.as_bytes()),
        "user_id": hex(certificate.user_id.as_bytes()),
        "handle": certificate.handle.as_str(),
        "role": certificate.role.as_str(),
        "scopes": certificate.scopes.iter().collect::<Vec<_>>(),
        "effective_rights": effective_rights(certificate.role, &certificate.scopes).iter().collect::<Vec<_>>(),
        "issued_at": certificate.issued_at.0,
        "not_before": certificate.not_before.0,
        "not_after": certificate.not_after.0,
        "generation": certificate.generation,
        "root_epoch": certificate.root_epoch,
    })
}

fn run(case: &Case) -> Result<DeviceCertificate, CertificateError> {
    let mut state = TrustState::new(chain_named(case.chain));
    for wire in &case.log {
        state.apply(wire).unwrap();
    }
    let verified = state.verify_certificate(&case.wire)?;
    state.check(&verified, &case.peer, case.now)?;
    Ok(verified.certificate().clone())
}

fn case(name: &str, result: &'static str, wire: Vec<u8>) -> Case {
    Case {
        name: name.into(),
        chain: "one",
        log: vec![],
        wire,
        peer: device(),
        now: NOW,
        result,
    }
}

/// A certificate that this crate would not sign.
fn forged(change: impl FnOnce(&mut DeviceCertificate)) -> Vec<u8> {
    let mut forged = certificate();
    change(&mut forged);
    seal(
        Kind::DeviceCertificate,
        &certificate_value(&forged).encode(),
        &[&signer_key()],
    )
}

fn shifted(issued_at: u64) -> Vec<u8> {
    forged(|c| {
        c.issued_at = UnixTime(issued_at);
        c.not_before = UnixTime(issued_at - BACKDATE_SECS);
        c.not_after = UnixTime(issued_at + CERTIFICATE_LIFE_SECS);
    })
}

fn with(key: u64, value: Value) -> Vec<u8> {
    let body = certificate_value(&certificate()).with(key, value);
    seal(Kind::DeviceCertificate, &body.encode(), &[&signer_key()])
}

fn accepted() -> Vec<Case> {
    let good = certificate().sign(&signer_key()).unwrap();
    let everything = DeviceCertificate {
        handle: Handle::new("a".repeat(64)).unwrap(),
        role: Role::Admin,
        scopes: Scopes::new(
            (10..42).map(|n| format!("scope-{n}.{}", "x".repeat(if n == 10 { 23 } else { 9 }))),
        )
        .unwrap(),
        ..certificate()
    };
    let nothing = DeviceCertificate {
        handle: Handle::new("0").unwrap(),
        role: Role::Node,
        scopes: Scopes::empty(),
        ..certificate()
    };
    let demote = RevocationEntry {
        device: device(),
        min_generation: certificate().generation,
        reason: RevokeReason::Demoted,
    };
    let delta = state()
        .next_delta(NOW, vec![demote, revoke(node(11))])
        .sign(&signer_key())
        .unwrap();
    let agent = DeviceCertificate {
        role: Role::Agent,
        scopes: Scopes::new(["*"]).unwrap(),
        ..certificate()
    };
    let bridge = DeviceCertificate {
        role: Role::Bridge,
        scopes: Scopes::new(["chat.*", "files"]).unwrap(),
        ..certificate()
    };
    let client = DeviceCertificate {
        scopes: Scopes::new(["config", "exec.*", "vault.read", "models"]).unwrap(),
        ..certificate()
    };
    let longest =
        |c: &mut DeviceCertificate| c.not_after = UnixTime(c.not_before.0 + MAX_LIFE_SECS);
    vec![
        case("a client", "ok", good.clone()),
        case(
            "everything at its limit",
            "ok",
            everything.sign(&signer_key()).unwrap(),
        ),
        case(
            "everything at its least",
            "ok",
            nothing.sign(&signer_key()).unwrap(),
        ),
        case(
            "an agent with all scopes",
            "ok",
            agent.sign(&signer_key()).unwrap(),
        ),
        case("a bridge", "ok", bridge.sign(&signer_key()).unwrap()),
        case(
            "a client with groups of scopes",
            "ok",
            client.sign(&signer_key()).unwrap(),
        ),
        case("the longest life", "ok", forged(longest)),
        Case {
            now: certificate().not_before,
            ..case("the first second", "ok", good.clone())
        },
        Case {
            now: UnixTime(certificate().not_after.0 + LEEWAY_SECS - 1),
            ..case("the last second of the leeway", "ok", good.clone())
        },
        Case {
            chain: "two",
            ..case("an older epoch with the same signer", "ok", good.clone())
        },
        Case {
            log: vec![delta],
            ..case("exactly the least generation", "ok", good)
        },
    ]
}

fn refused() -> Vec<Case> {
    let good = certificate().sign(&signer_key()).unwrap();
    let mut bad_signature = good.clone();
    *bad_signature.last_mut().unwrap() ^= 1;
    let mut bad_body = good.clone();
    bad_body[60] ^= 1;
    let kind = Kind::DeviceCertificate;
    let other_network = forged(|c| c.network_id = NetworkId::from([9; 16]));
    let foreign = DeviceCertificate {
        network_id: NetworkId::from([9; 16]),
        ..certificate()
    };
    let (revoked, _) = log_of(&state(), &[device()]);
    let raise = RevocationEntry {
        device: device(),
        min_generation: certificate().generation + 1,
        reason: RevokeReason::Demoted,
    };
    let demoted = state()
        .next_delta(NOW, vec![raise])
        .sign(&signer_key())
        .unwrap();
    let window = window(&signer_key());
    let scopes = |list: &[&str]| Value::Array(list.iter().map(|scope| text(scope)).collect());
    vec![
        case("a changed signature", "bad_signature", bad_signature),
        case("a changed body", "bad_signature", bad_body),
        case(
            "signed by the root",
            "unknown_signer",
            certificate().sign(&root_key()).unwrap(),
        ),
        case(
            "signed by the device",
            "unknown_signer",
            certificate().sign(&key(10)).unwrap(),
        ),
        case(
            "another network, the same signer",
            "wrong_network",
            other_network,
        ),
        case(
            "another network, another signer",
            "wrong_network",
            foreign.sign(&key(77)).unwrap(),
        ),
        Case {
            chain: "two, another signer",
            ..case("the signer was removed", "unknown_signer", good.clone())
        },
        case(
            "an epoch that is not known",
            "root_epoch_ahead",
            forged(|c| c.root_epoch = 2),
        ),
        Case {
            peer: weak_key(),
            ..case(
                "a small-order key",
                "weak_key",
                forged(|c| c.device = weak_key()),
            )
        },
        case(
            "a key with a second encoding",
            "weak_key",
            forged(|c| c.device = unreduced_key()),
        ),
        case(
            "not a point",
            "weak_key",
            forged(|c| c.device = NodeId::from([2; 32])),
        ),
        case(
            "a longer backdate",
            "wrong_backdate",
            forged(|c| c.not_before.0 -= 1),
        ),
        case(
            "no backdate",
            "wrong_backdate",
            forged(|c| c.not_before = c.issued_at),
        ),
        case(
            "a start at the end of time",
            "wrong_backdate",
            forged(|c| c.not_before.0 = u64::MAX),
        ),
        case(
            "an end at its start",
            "empty_life",
            forged(|c| c.not_after = c.issued_at),
        ),
        case(
            "a second over 31 days",
            "life_too_long",
            forged(|c| c.not_after.0 = c.not_before.0 + MAX_LIFE_SECS + 1),
        ),
        case(
            "no end",
            "life_too_long",
            forged(|c| c.not_after.0 = u64::MAX),
        ),
        case(
            "before the signer's time",
            "outside_signer_window",
            shifted(window.not_before.0 - 1),
        ),
        case(
            "at the end of the signer's time",
            "outside_signer_window",
            shifted(window.not_after.0),
        ),
        Case {
            peer: node(11),
            ..case("another peer", "wrong_key", good.clone())
        },
        Case {
            log: revoked.clone(),
            ..case("a revoked device", "revoked", good.clone())
        },
        Case {
            log: revoked,
            now: UnixTime(0),
            ..case("revoked and at another time", "revoked", good.clone())
        },
        Case {
            log: vec![demoted],
            ..case("a demoted device", "superseded", good.clone())
        },
        Case {
            now: UnixTime(NOW.0 - BACKDATE_SECS - 1),
            ..case("a second too early", "not_yet_valid", good.clone())
        },
        Case {
            now: UnixTime(0),
            ..case("a clock at 1970", "not_yet_valid", good.clone())
        },
        Case {
            now: UnixTime(certificate().not_after.0 + LEEWAY_SECS),
            ..case("the end of the leeway", "expired", good.clone())
        },
        Case {
            now: UnixTime(u64::MAX),
            ..case("the end of time", "expired", good)
        },
        case(
            "extensions",
            "reserved_field",
            with(13, Value::Array(vec![])),
        ),
        case(
            "a role without a name",
            "unknown_role",
            with(6, Value::Uint(5)),
        ),
        case("an empty handle", "bad_handle", with(5, text(""))),
        case(
            "a long handle",
            "bad_handle",
            with(5, text(&"a".repeat(65))),
        ),
        case(
            "a handle in upper case",
            "bad_handle",
            with(5, text("Alessandro")),
        ),
        case(
            "a handle that is not UTF-8",
            "bad_handle",
            with(5, Value::Text(vec![0xff])),
        ),
        case("an empty scope", "bad_scope", with(7, scopes(&[""]))),
        case(
            "a long scope",
            "bad_scope",
            with(7, scopes(&[&"a".repeat(33)])),
        ),
        case(
            "a scope with a space",
            "bad_scope",
            with(7, scopes(&["chat "])),
        ),
        case(
            "scopes out of order",
            "unsorted_scopes",
            with(7, scopes(&["files", "chat"])),
        ),
        case(
            "a scope twice",
            "unsorted_scopes",
            with(7, scopes(&["chat", "chat"])),
        ),
        case(
            "the generation of a revocation",
            "reserved_generation",
            forged(|c| c.generation = u32::MAX),
        ),
        case(
            "a root document as a certificate",
            "wrong_kind",
            chain().wires()[0].clone(),
        ),
        case(
            "two signatures",
            "signature_count",
            seal(
                kind,
                &certificate_value(&certificate()).encode(),
                &[&signer_key(), &root_key()],
            ),
        ),
        case("signed as a heartbeat", "bad_signature", {
            let mut wire = seal(
                Kind::Heartbeat,
                &certificate_value(&certificate()).encode(),
                &[&signer_key()],
            );
            wire[1] = kind as u8;
            wire
        }),
    ]
}

#[test]
fn certificate_vectors_hold() {
    let many = Value::Array((10..43).map(|n| text(&format!("s{n}"))).collect());
    let form = faults(
        Kind::DeviceCertificate,
        &certificate_value(&certificate()),
        &signer_key(),
        (7, many),
        11,
    );
    let form = form
        .into_iter()
        .map(|(name, reason, wire)| case(&name, reason, wire));
    let cases: Vec<Json> = accepted()
        .into_iter()
        .chain(refused())
        .chain(form)
        .map(|case| {
            let mut json = json!({
                "name": case.name, "chain": case.chain, "log": hexes(&case.log),
                "wire": hex(&case.wire), "peer": hex(case.peer.as_bytes()), "now": case.now.0,
                "result": case.result,
            });
            match run(&case) {
                Ok(certificate) => {
                    assert_eq!(case.result, "ok", "{}", case.name);
                    json["fields"] = fields(&certificate);
                }
                Err(error) => {
                    assert_eq!(error.reason(), case.result, "{}: {error:?}", case.name);
                    json["code"] = json!(error.code().as_str());
                }
            }
            json
        })
        .collect();
    settle(
        "certificate.json",
        &json!({ "chains": chains(), "cases": cases }),
    );
}
