//! Writes the head that goes to the agent: our own field first, hop-by-hop fields anew, identity
//! fields and our credentials left out, everything else byte for byte. It decides nothing.

use crate::guard::{Admitted, Standing};
use crate::head::{RequestHead, list_entries};
use crate::token::{TOKEN_PREFIX, WEBSOCKET_TOKEN_PREFIX};

/// Appends the head for the agent to `out`.
pub(crate) fn write_head(head: &RequestHead<'_, '_>, admitted: &Admitted, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_bytes());
    out.extend_from_slice(if head.minor == 0 {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    });
    out.extend_from_slice(match admitted.standing {
        Standing::Capped => b"homing-local: capped\r\n".as_slice(),
        Standing::Token => b"homing-local: token\r\n",
    });
    write_connection(admitted, out);
    for header in head.headers {
        let (name, value) = (header.name, header.value);
        if is_hop_by_hop(name, admitted.asked.upgrade) || is_stripped(name) {
            continue;
        }
        if name.eq_ignore_ascii_case("authorization") && has_our_token(value) {
            continue;
        }
        if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            write_protocols(value, out);
            continue;
        }
        write_field(name.as_bytes(), value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields by which something in front of a server tells it who the client is. Nothing is in front
/// of this proxy, so a client that sends one makes it up. `_` counts as `-`, as it does for servers
/// that turn both into the same variable.
pub(crate) fn is_stripped(name: &str) -> bool {
    const EXACT: [&[u8]; 12] = [
        b"forwarded",
        b"http2-settings",
        b"keep-alive",
        b"node-id",
        b"peer-id",
        b"remote-user",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-node-id",
        b"x-peer-id",
        b"x-real-ip",
    ];
    const PREFIXES: [&[u8]; 10] = [
        b"client-cert",
        b"homing-",
        b"proxy-",
        b"ssl-client",
        b"x-client-cert",
        b"x-forwarded",
        b"x-homing-",
        b"x-original-forwarded",
        b"x-remote-",
        b"x-ssl-",
    ];
    // No field outside these letters is in the lists above.
    if !matches!(
        name.bytes().next().map(|first| first.to_ascii_lowercase()),
        Some(b'c' | b'f' | b'h' | b'k' | b'n' | b'p' | b'r' | b's' | b't' | b'x')
    ) {
        return false;
    }
    let mut room = [0; 64];
    let mut length = 0;
    for (target, byte) in room.iter_mut().zip(name.bytes()) {
        *target = if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        };
        length += 1;
    }
    // A longer name is cut: it can still match a prefix, which is all that such a name can match.
    let folded = room.get(..length).unwrap_or_default();
    (name.len() == length && EXACT.contains(&folded))
        || PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
        || (folded.starts_with(b"x-")
            && folded
                .split(|&byte| byte == b'-')
                .any(|word| word == b"device"))
}

fn is_hop_by_hop(name: &str, upgrade: bool) -> bool {
    name.eq_ignore_ascii_case("connection") || (!upgrade && name.eq_ignore_ascii_case("upgrade"))
}

/// `Connection` is written anew: a client could name any field in it, ours among them, and have it
/// dropped by the next reader.
fn write_connection(admitted: &Admitted, out: &mut Vec<u8>) {
    let entries: [(bool, &[u8]); 3] = [
        (admitted.close, b"close"),
        (admitted.asked.upgrade, b"upgrade"),
        (admitted.names_te, b"te"),
    ];
    let mut separator: &[u8] = b"connection: ";
    for (_, entry) in entries.iter().filter(|(wanted, _)| *wanted) {
        out.extend_from_slice(separator);
        out.extend_from_slice(entry);
        separator = b", ";
    }
    if separator == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

fn has_our_token(value: &[u8]) -> bool {
    value
        .windows(TOKEN_PREFIX.len())
        .any(|window| window == TOKEN_PREFIX.as_bytes())
}

fn write_protocols(value: &[u8], out: &mut Vec<u8>) {
    let prefix = WEBSOCKET_TOKEN_PREFIX.as_bytes();
    let mut kept = Vec::with_capacity(value.len());
    for entry in list_entries(value).filter(|entry| !entry.starts_with(prefix)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(entry);
    }
    if !kept.is_empty() {
        write_field(b"sec-websocket-protocol", &kept, out);
    }
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Rules;
    use crate::head::{header_room, parse_request};
    use crate::token::Token;

    fn rewritten(head: &str, token: &Token) -> String {
        let rules = Rules {
            authorities: vec!["localhost:7070".to_owned()],
            token_required: false,
            enabled: true,
        };
        let mut room = header_room();
        let parsed = parse_request(head.as_bytes(), &mut room).unwrap();
        let admitted = rules.check(&parsed, token).unwrap();
        let mut out = Vec::new();
        write_head(&parsed, &admitted, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn our_field_comes_first_and_the_rest_is_kept_byte_for_byte() {
        let token = Token::generate().unwrap();
        assert_eq!(
            rewritten(
                "POST /a?b=%20 HTTP/1.1\r\nHost: localhost:7070\r\nX-Odd:  two\r\nCookie: a\r\n\
                 cookie: b\r\nContent-Length: 3\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
                &token
            ),
            "POST /a?b=%20 HTTP/1.1\r\nhoming-local: capped\r\nconnection: te\r\n\
             Host: localhost:7070\r\nX-Odd: two\r\nCookie: a\r\ncookie: b\r\n\
             Content-Length: 3\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n"
        );
    }

    #[test]
    fn identity_fields_are_left_out() {
        let token = Token::generate().unwrap();
        for field in [
            "Forwarded: for=1.2.3.4",
            "X-Forwarded-For: 1.2.3.4",
            "x_forwarded_for: 1.2.3.4",
            "X-Forwarded: 1",
            "X-Real-IP: 1.2.3.4",
            "homing-local: token",
            "HOMING-Principal: owner",
            "homing_local: token",
            "X-Homing-Role: owner",
            "Peer-Id: abc",
            "X-OpenAgent-Device: abc",
            "X-Some-Device-Id: abc",
            "X-Device: abc",
            "Client-Cert: :abc:",
            "Client-Cert-Chain: :abc:",
            "X-Client-Cert: abc",
            "X-SSL-Client-Verify: SUCCESS",
            "SSL_CLIENT_S_DN: cn",
            "Remote-User: root",
            "Proxy-Authorization: Basic abc",
            "Proxy-Connection: keep-alive",
            "Keep-Alive: timeout=5",
            "HTTP2-Settings: abc",
        ] {
            let head = format!("GET / HTTP/1.1\r\nhost: localhost:7070\r\n{field}\r\n\r\n");
            assert_eq!(
                rewritten(&head, &token),
                "GET / HTTP/1.1\r\nhoming-local: capped\r\nhost: localhost:7070\r\n\r\n",
                "{field}"
            );
        }
        for name in [
            "content-type",
            "cookie",
            "x-request-id",
            "sec-fetch-site",
            "x-devices",
        ] {
            assert!(!is_stripped(name), "{name}");
        }
    }

    #[test]
    fn connection_names_only_what_the_proxy_put_there() {
        let token = Token::generate().unwrap();
        let cases = [
            ("GET / HTTP/1.1", "Connection: homing-local, keep-alive", ""),
            (
                "GET / HTTP/1.1",
                "Connection: Host, Close",
                "connection: close\r\n",
            ),
            (
                "GET / HTTP/1.0",
                "Connection: keep-alive",
                "connection: close\r\n",
            ),
            ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c", ""),
        ];
        for (line, fields, connection) in cases {
            let head = format!("{line}\r\nhost: localhost:7070\r\n{fields}\r\n\r\n");
            assert_eq!(
                rewritten(&head, &token),
                format!(
                    "{line}\r\nhoming-local: capped\r\n{connection}host: localhost:7070\r\n\r\n"
                )
            );
        }
        assert_eq!(
            rewritten(
                "GET / HTTP/1.1\r\nhost: localhost:7070\r\nconnection: keep-alive, Upgrade\r\n\
                 upgrade: websocket\r\n\r\n",
                &token
            ),
            "GET / HTTP/1.1\r\nhoming-local: capped\r\nconnection: upgrade\r\n\
             host: localhost:7070\r\nupgrade: websocket\r\n\r\n"
        );
    }

    #[test]
    fn the_token_is_taken_out_and_other_credentials_are_kept() {
        let token = Token::generate().unwrap();
        let secret = token.reveal();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: localhost:7070\r\nauthorization: bearer {secret}\r\n\r\n"
        );
        assert_eq!(
            rewritten(&head, &token),
            "GET / HTTP/1.1\r\nhoming-local: token\r\nhost: localhost:7070\r\n\r\n"
        );
        let head = format!(
            "GET / HTTP/1.1\r\nhost: localhost:7070\r\n\
             sec-websocket-protocol: homing.token.{secret}, homing.v1,other\r\n\r\n"
        );
        assert_eq!(
            rewritten(&head, &token),
            "GET / HTTP/1.1\r\nhoming-local: token\r\nhost: localhost:7070\r\n\
             sec-websocket-protocol: homing.v1, other\r\n\r\n"
        );
        let head = "GET / HTTP/1.1\r\nhost: localhost:7070\r\nauthorization: Bearer sk-1\r\n\r\n";
        assert!(rewritten(head, &token).contains("authorization: Bearer sk-1\r\n"));
    }
}
