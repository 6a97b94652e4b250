//! Golden and negative vectors. Each file is made from fixed keys and must be what is on disk;
//! `HOMING_WRITE_VECTORS=1` writes it anew. Every case is also run through this crate.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use data_encoding::HEXLOWER;
use homing_certs::*;
use serde_json::{Value as Json, json};

use crate::support::*;

mod certificate;
mod form;
mod log;
mod root;
pub(crate) mod ticket;

const FILES: [&str; 5] = [
    "certificate.json",
    "check_code.json",
    "log.json",
    "root.json",
    "ticket.json",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn hex(bytes: impl AsRef<[u8]>) -> Json {
    json!(HEXLOWER.encode(bytes.as_ref()))
}

fn hexes(wires: &[Vec<u8>]) -> Json {
    wires.iter().map(hex).collect()
}

/// The chains that cases refer to: one epoch; two with the same signer; two with another one.
fn chains() -> Json {
    let genesis = chain().wires()[0].clone();
    json!({
        "one": hexes(std::slice::from_ref(&genesis)),
        "two": hexes(&[genesis.clone(), second_wire(&signer_key())]),
        "two, another signer": hexes(&[genesis, second_wire(&next_signer_key())]),
    })
}

fn chain_named(name: &str) -> RootChain {
    let all = chains();
    let wires = all[name].as_array().unwrap().iter();
    RootChain::from_chain(
        wires.map(|wire| HEXLOWER.decode(wire.as_str().unwrap().as_bytes()).unwrap()),
        None,
    )
    .unwrap()
}

/// Writes or compares one file.
fn settle(name: &str, content: &Json) {
    let path = folder().join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(content).unwrap());
    if std::env::var_os("HOMING_WRITE_VECTORS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(
        kept == text,
        "{name} differs: a format has changed, or write it with HOMING_WRITE_VECTORS=1"
    );
}

/// Every reason that a case of `file` is refused for.
fn results(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let json: Json = serde_json::from_str(&text).unwrap();
    let cases = json["cases"].as_array().unwrap();
    cases
        .iter()
        .map(|case| case["result"].as_str().unwrap_or("").to_owned())
        .collect()
}

/// The strings behind `=>` in the source that names refusals: the list that cannot be outdated.
fn reasons_in(source: &str, from: &str) -> BTreeSet<String> {
    let (_, source) = source.split_once(from).unwrap();
    let (source, _) = source.split_once("\n}").unwrap();
    let (_, source) = source.split_once("fn reason").unwrap();
    let arms = source.split("=> \"").skip(1);
    arms.map(|arm| arm.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_reason_of_refusal_has_a_vector_for_every_kind_and_stands_on_the_page() {
    let form = reasons_in(include_str!("../../src/error/form.rs"), "impl FormError");
    let names = include_str!("../../src/error/refusal.rs");
    let page = include_str!("../../../docs/trust.md");
    let only_certificates = [
        "bad_handle",
        "unknown_role",
        "bad_scope",
        "unsorted_scopes",
        "reserved_generation",
    ];
    let only_log = ["unknown_revoke_reason", "unsorted_entries", "seq_zero"];
    // These need a great many documents; limits.rs has them.
    let elsewhere = ["full", "chain_too_long"];
    for (file, own, not) in [
        (
            "certificate.json",
            "impl CertificateError",
            only_log.as_slice(),
        ),
        (
            "root.json",
            "impl RootError",
            &[only_certificates.as_slice(), &only_log].concat(),
        ),
        (
            "log.json",
            "impl LogError",
            &[only_certificates.as_slice(), &["reserved_field"]].concat(),
        ),
    ] {
        let own = reasons_in(names, own);
        let wanted = form
            .iter()
            .filter(|reason| !not.contains(&reason.as_str()))
            .chain(&own);
        let got = results(file);
        for reason in wanted {
            assert!(
                page.contains(&format!("`{reason}`")),
                "{reason} is not in docs/trust.md"
            );
            if !elsewhere.contains(&reason.as_str()) {
                assert!(got.contains(reason), "{file} has no case of {reason}");
            }
        }
    }
    let tickets = reasons_in(include_str!("../../src/ticket.rs"), "impl TicketError");
    for reason in tickets {
        assert!(
            page.contains(&format!("`{reason}`")),
            "{reason} is not in docs/trust.md"
        );
        assert!(
            results("ticket.json").contains(&reason),
            "ticket.json has no case of {reason}"
        );
    }
    for code in ReasonCode::ALL {
        assert!(
            page.contains(&format!("`{code}`")),
            "{code} is not in docs/trust.md"
        );
        assert_eq!(code.as_str().parse(), Ok(code));
    }
}

#[test]
fn a_verifier_written_from_the_page_alone_agrees_on_every_vector() {
    let script = folder().with_file_name("verify_vectors.py");
    let output = Command::new("python3")
        .arg(&script)
        .args(FILES.map(|file| folder().join(file)))
        .output()
        .expect("python3 is needed for this test");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let cases: usize = FILES
        .map(|file| {
            let text = std::fs::read_to_string(folder().join(file)).unwrap();
            serde_json::from_str::<Json>(&text).unwrap()["cases"]
                .as_array()
                .unwrap()
                .len()
        })
        .iter()
        .sum();
    assert!(text.contains(&format!("{cases} cases agree")), "{text}");
}
