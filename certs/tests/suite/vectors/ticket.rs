use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use super::*;

pub(crate) fn ticket() -> Ticket {
    Ticket {
        coordinator: coordinator(),
        network_id: chain().network_id(),
        invite_id: InviteId::from([0x1d; 8]),
        secret: TicketSecret::from([0x5c; 16]),
        relay: Some("https://relay.example/".into()),
        addresses: vec![
            "192.0.2.1:7071".parse().unwrap(),
            "[2001:db8::1]:7071".parse().unwrap(),
        ],
    }
}

/// The bytes of a good ticket without its checksum.
fn bytes_of(ticket: &Ticket) -> Vec<u8> {
    let text = ticket.encode().to_ascii_uppercase();
    let bytes = BASE32_NOPAD.decode(&text.as_bytes()[6..]).unwrap();
    bytes[..bytes.len() - 4].to_vec()
}

fn text_of(bytes: &[u8]) -> String {
    format!("homing{}", BASE32_NOPAD.encode(bytes).to_ascii_lowercase())
}

/// Any bytes with a checksum that fits.
fn summed(mut bytes: Vec<u8>) -> String {
    let sum = Sha256::digest([b"homing/ticket/v1\0", &bytes[..]].concat());
    bytes.extend(&sum[..4]);
    text_of(&bytes)
}

fn cases() -> Vec<(&'static str, &'static str, String)> {
    let text = ticket().encode();
    let bare = Ticket {
        relay: None,
        addresses: vec![],
        ..ticket()
    };
    let bare_bytes = bytes_of(&bare);
    let most = Ticket {
        relay: Some("r".repeat(MAX_RELAY_LEN)),
        addresses: vec!["[2001:db8::1]:7071".parse().unwrap(); MAX_ADDRESSES],
        ..ticket()
    };
    let tail = |tail: &[u8]| summed([&bare_bytes[..73], tail].concat());
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(40)
        .map(|l| String::from_utf8_lossy(l).into())
        .collect();
    let mut changed = text.clone().into_bytes();
    changed[30] = if changed[30] == b'a' { b'b' } else { b'a' };
    let mut versioned = bare_bytes.clone();
    versioned[0] = 2;
    // 79 bytes are 126.4 characters, so the last one has bits that must be zero.
    let mut loose = bare.encode().into_bytes();
    let last = loose.last_mut().unwrap();
    *last = if *last == b'7' { b'6' } else { b'7' };
    vec![
        ("a ticket", "ok", text.clone()),
        ("the least ticket", "ok", bare.encode()),
        ("the longest ticket", "ok", most.encode()),
        ("in upper case", "ok", text.to_ascii_uppercase()),
        (
            "over several lines",
            "ok",
            format!("\n  {}\r\n", lines.join("\r\n\t")),
        ),
        (
            "too much text",
            "too_long",
            format!("{text}{}", " ".repeat(4096)),
        ),
        ("nothing", "wrong_kind", String::new()),
        (
            "another kind",
            "wrong_kind",
            text.replacen("homing", "blobac", 1),
        ),
        (
            "a digit that base32 does not have",
            "not_base32",
            text.replacen("homing", "homing1", 1),
        ),
        (
            "a letter of another alphabet",
            "not_base32",
            format!("{text}é"),
        ),
        (
            "bits left over",
            "not_base32",
            String::from_utf8(loose).unwrap(),
        ),
        ("only its kind", "garbled", "homing".into()),
        ("version 2", "unsupported_version", summed(versioned)),
        (
            "a changed letter",
            "garbled",
            String::from_utf8(changed).unwrap(),
        ),
        (
            "the end left out",
            "garbled",
            text[..6 + (text.len() - 10) / 8 * 8].to_owned(),
        ),
        ("a version and a checksum", "wrong_length", summed(vec![1])),
        (
            "cut in the secret",
            "wrong_length",
            summed(bare_bytes[..70].to_vec()),
        ),
        ("a relay that is cut off", "wrong_length", tail(&[9, b'x'])),
        ("a relay with a space", "bad_relay", tail(&[1, b' ', 0])),
        (
            "a relay that is not ASCII",
            "bad_relay",
            tail(&[2, 0xc3, 0xa9, 0]),
        ),
        ("nine addresses", "too_many_addresses", tail(&[0, 9])),
        (
            "an address of no family",
            "bad_address",
            tail(&[0, 1, 5, 1, 2, 3, 4, 0, 1]),
        ),
        (
            "an address without a port",
            "bad_address",
            tail(&[0, 1, 4, 1, 2, 3, 4, 0, 0]),
        ),
        (
            "an address that is cut off",
            "wrong_length",
            tail(&[0, 1, 4, 1, 2]),
        ),
        (
            "a byte behind the addresses",
            "wrong_length",
            tail(&[0, 0, 0]),
        ),
    ]
}

#[test]
fn ticket_vectors_hold() {
    let cases: Vec<Json> = cases()
        .into_iter()
        .map(|(name, result, text)| {
            let mut json = json!({ "name": name, "text": text, "result": result });
            match Ticket::decode(&text) {
                Ok(ticket) => {
                    assert_eq!(result, "ok", "{name}");
                    json["fields"] = json!({
                        "coordinator": hex(ticket.coordinator.as_bytes()),
                        "network_id": hex(ticket.network_id.as_bytes()),
                        "invite_id": hex(ticket.invite_id.as_bytes()),
                        "secret": hex(ticket.secret.expose()),
                        "secret_digest": hex(ticket.secret.digest()),
                        "relay": ticket.relay,
                        "addresses": ticket.addresses.iter().map(|a| json!([a.ip().to_string(), a.port()])).collect::<Vec<_>>(),
                    });
                }
                Err(error) => assert_eq!(error.reason(), result, "{name}: {error:?}"),
            }
            json
        })
        .collect();
    settle("ticket.json", &json!({ "cases": cases }));
}

#[test]
fn check_code_vectors_hold() {
    let cases: Vec<Json> = (0..8u8)
        .map(|n| {
            let (network, invite) = (NetworkId::from([n; 16]), InviteId::from([n + 1; 8]));
            let code = check_code(network, invite, node(n), node(n + 100));
            assert_eq!(normalize_check_code(&code), Some(code.clone()));
            let typed: Vec<Json> = [
                code.to_lowercase(),
                format!(" {} ", code.replace('-', " ")),
                code.replace('-', ""),
                code[..8].to_owned(),
                format!("{code}B"),
                code.replacen(&code[..1], "A", 1),
            ]
            .iter()
            .map(|typed| json!([typed, normalize_check_code(typed)]))
            .collect();
            json!({
                "name": format!("code {n}"), "network_id": hex(network.as_bytes()), "invite_id": hex(invite.as_bytes()),
                "device": hex(node(n).as_bytes()), "coordinator": hex(node(n + 100).as_bytes()),
                "code": code, "typed": typed,
            })
        })
        .collect();
    settle("check_code.json", &json!({ "cases": cases }));
}
