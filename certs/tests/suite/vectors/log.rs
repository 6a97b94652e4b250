use super::form::faults;
use super::*;

mod accepted;
mod refused;

struct Case {
    name: String,
    chain: &'static str,
    log: Vec<Vec<u8>>,
    extend: Vec<Vec<u8>>,
    wire: Vec<u8>,
    device: Option<NodeId>,
    result: &'static str,
}

fn case(name: &str, result: &'static str, log: &[Vec<u8>], wire: Vec<u8>) -> Case {
    let (name, log) = (name.to_owned(), log.to_vec());
    Case {
        name,
        chain: "one",
        log,
        extend: vec![],
        wire,
        device: None,
        result,
    }
}

fn beat_at(state: &TrustState, time: UnixTime) -> Vec<u8> {
    state.heartbeat(time).sign(&signer_key()).unwrap()
}

fn state_json(state: &TrustState) -> Json {
    let head = state.head();
    let mut entries: Vec<_> = state.entries().collect();
    entries.sort_by_key(|entry| entry.device);
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| json!([hex(entry.device.as_bytes()), entry.min_generation]))
        .collect();
    json!({
        "head": { "root_epoch": head.root_epoch, "seq": head.seq, "hash": hex(head.hash.as_bytes()) },
        "entries": entries,
        "newest_signed_time": state.newest_signed_time().0,
        "last_heartbeat": state.last_heartbeat().map(|time| time.0),
    })
}

fn run(case: &Case, json: &mut Json) -> Result<&'static str, LogError> {
    let mut state = TrustState::new(chain_named(case.chain));
    for wire in &case.log {
        state.apply(wire).unwrap();
    }
    for wire in &case.extend {
        state.extend_root(wire).unwrap();
    }
    if let Some(device) = &case.device {
        state.verify_revocation_proof(device, &case.wire)?;
        return Ok("ok");
    }
    let before = state.to_replica();
    let applied = state.apply(&case.wire);
    if applied.is_err() {
        let head = state.head();
        assert_eq!(
            head, before.head,
            "{}: a refused document has changed the head",
            case.name
        );
        assert_eq!(state.revoked_len(), before.entries.len(), "{}", case.name);
    }
    let applied = applied?;
    json["after"] = state_json(&state);
    Ok(match applied {
        Applied::Delta { .. } => "delta",
        Applied::Snapshot { .. } => "snapshot",
        Applied::Heartbeat { .. } => "heartbeat",
        Applied::Old => "old",
    })
}

#[test]
fn log_vectors_hold() {
    let (_, after) = log_of(&state(), &[device()]);
    let many = |count: u8| {
        Value::Array(
            (0..count)
                .map(|n| entry_value(&revoke(NodeId::from([n; 32]))))
                .collect(),
        )
    };
    let delta = delta_value(&after.next_delta(NOW, vec![revoke(node(14))]));
    // The count is checked before the items, so they need not be there.
    let over = Value::Raw(vec![0x9a, 0, 3, 0x0d, 0x41]);
    let form = [
        faults(
            Kind::RevocationDelta,
            &delta,
            &signer_key(),
            (6, many(17)),
            2,
        ),
        faults(
            Kind::RevocationSnapshot,
            &snapshot_value(&after.snapshot(NOW)),
            &signer_key(),
            (6, over),
            2,
        ),
        faults(
            Kind::Heartbeat,
            &heartbeat_value(&after.heartbeat(NOW)),
            &signer_key(),
            (5, many(0)),
            2,
        ),
    ];
    // "Another kind" is a root document here, which has its own name in the log.
    let form = form.concat().into_iter().map(|(name, reason, wire)| {
        let reason = if name.ends_with("another kind of document") {
            "not_a_log_document"
        } else {
            reason
        };
        case(&name, reason, &[], wire)
    });
    let cases: Vec<Json> = accepted::cases()
        .into_iter()
        .chain(refused::cases())
        .chain(form)
        .map(|case| {
            let mut json = json!({
                "name": case.name, "chain": case.chain, "log": hexes(&case.log),
                "extend": hexes(&case.extend), "wire": hex(&case.wire), "result": case.result,
            });
            if let Some(device) = &case.device {
                json["device"] = hex(device.as_bytes());
            }
            match run(&case, &mut json) {
                Ok(result) => assert_eq!(result, case.result, "{}", case.name),
                Err(error) => {
                    assert_eq!(error.reason(), case.result, "{}: {error:?}", case.name);
                    json["code"] = json!(error.code().as_str());
                }
            }
            json
        })
        .collect();
    settle("log.json", &json!({ "chains": chains(), "cases": cases }));
}
