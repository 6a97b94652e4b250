use super::*;
use crate::head::{HeadScanner, header_room, parse_request};
use proptest::prelude::*;

fn rules() -> Rules {
    Rules {
        authorities: ["127.0.0.1:7070", "localhost:7070", "[::1]:7070"]
            .map(str::to_owned)
            .into(),
        token_required: false,
        enabled: true,
    }
}

fn check_with(rules: &Rules, token: &Token, head: &str) -> Result<Admitted, Refusal> {
    let end = HeadScanner::default()
        .find_end(head.as_bytes())
        .map_err(Refusal::Head)?;
    assert_eq!(end, Some(head.len()), "the head of the test is not whole");
    let mut room = header_room();
    let parsed = parse_request(head.as_bytes(), &mut room).map_err(Refusal::Head)?;
    rules.check(&parsed, token)
}

fn check(head: &str) -> Result<Admitted, Refusal> {
    check_with(&rules(), &Token::generate().unwrap(), head)
}

fn with(fields: &str) -> Result<Admitted, Refusal> {
    check(&format!(
        "GET / HTTP/1.1\r\nHost: localhost:7070\r\n{fields}\r\n"
    ))
}

fn refusal(result: Result<Admitted, Refusal>) -> Option<Refusal> {
    result.err()
}

#[test]
fn exactly_one_host_that_is_ours_is_needed() {
    for host in [
        "127.0.0.1:7070",
        "localhost:7070",
        "LocalHost:7070",
        "[::1]:7070",
    ] {
        assert!(
            check(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(),
            "{host}"
        );
    }
    for host in [
        "evil.example:7070",
        "localhost",
        "localhost:7071",
        "localhost:07070",
        "127.0.0.1",
        "127.1:7070",
        "0.0.0.0:7070",
        "localhost.:7070",
        "localhost:7070.evil.example",
        "x.localhost:7070",
        "user@localhost:7070",
        "localhost:7070, localhost:7070",
        "",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refusal(check(&head)), Some(Refusal::BadHost), "{host}");
    }
    let twice = "GET / HTTP/1.1\r\nHost: localhost:7070\r\nhost: localhost:7070\r\n\r\n";
    assert_eq!(refusal(check(twice)), Some(Refusal::BadHost));
    assert_eq!(
        refusal(check("GET / HTTP/1.1\r\na: b\r\n\r\n")),
        Some(Refusal::BadHost)
    );
    assert_eq!(
        refusal(check("GET / HTTP/1.0\r\na: b\r\n\r\n")),
        Some(Refusal::BadHost)
    );
}

#[test]
fn an_origin_has_to_be_the_one_of_this_request() {
    assert!(with("Origin: http://localhost:7070\r\n").is_ok());
    for origin in [
        "null",
        "http://evil.example",
        "http://127.0.0.1:7070",
        "http://[::1]:7070",
        "https://localhost:7070",
        "http://localhost",
        "http://localhost:3000",
        "http://localhost:7070/",
        "localhost:7070",
        "http://localhost:7070 http://localhost:7070",
        "",
    ] {
        let result = with(&format!("Origin: {origin}\r\n"));
        assert_eq!(refusal(result), Some(Refusal::BadOrigin), "{origin}");
    }
    let twice = "Origin: http://localhost:7070\r\nOrigin: http://localhost:7070\r\n";
    assert_eq!(refusal(with(twice)), Some(Refusal::BadOrigin));
}

#[test]
fn other_sites_may_only_link_to_a_page() {
    let navigation = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    for site in ["same-origin", "none"] {
        assert!(
            with(&format!("Sec-Fetch-Site: {site}\r\n")).is_ok(),
            "{site}"
        );
    }
    for site in ["cross-site", "same-site"] {
        assert!(with(&format!("Sec-Fetch-Site: {site}\r\n{navigation}")).is_ok());
        for rest in [
            "",
            "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
            "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: document\r\n",
            "Sec-Fetch-Mode: navigate\r\n",
            "Sec-Fetch-Mode: websocket\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
            "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
            "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nUpgrade: websocket\r\n",
        ] {
            let result = with(&format!("Sec-Fetch-Site: {site}\r\n{rest}"));
            assert_eq!(refusal(result), Some(Refusal::CrossSite), "{rest}");
        }
        for (target, ours) in [
            ("/?from=elsewhere", true),
            ("/api/whoami", false),
            ("/api/files/a.txt", false),
            ("/ws", false),
            ("/.homing/proxy", false),
            ("//", false),
            ("/?/../api/whoami", true),
        ] {
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: localhost:7070\r\nSec-Fetch-Site: {site}\r\n\
                 {navigation}\r\n"
            );
            assert_eq!(check(&head).is_ok(), ours, "{target}");
        }
        for method in ["POST", "OPTIONS", "HEAD", "DELETE"] {
            let head = format!(
                "{method} / HTTP/1.1\r\nHost: localhost:7070\r\nSec-Fetch-Site: {site}\r\n\
                 {navigation}\r\n"
            );
            assert_eq!(refusal(check(&head)), Some(Refusal::CrossSite), "{method}");
        }
    }
    for fields in [
        "Sec-Fetch-Site: unheard-of\r\n",
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: none, cross-site\r\n",
        "Sec-Fetch-Site: \r\n",
    ] {
        assert_eq!(refusal(with(fields)), Some(Refusal::CrossSite), "{fields}");
    }
}

#[test]
fn an_upgrade_and_a_preflight_are_checked_like_any_request() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert!(with(upgrade).unwrap().asked.upgrade);
    let foreign = format!("{upgrade}Origin: http://evil.example\r\n");
    assert_eq!(refusal(with(&foreign)), Some(Refusal::BadOrigin));
    let preflight = "OPTIONS /api HTTP/1.1\r\nHost: localhost:7070\r\n\
                     Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    assert_eq!(refusal(check(preflight)), Some(Refusal::BadOrigin));
}

#[test]
fn only_a_path_is_a_target() {
    for line in [
        "CONNECT localhost:7070",
        "CONNECT /",
        "TRACE /",
        "trace /",
        "Connect /",
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: localhost:7070\r\n\r\n");
        assert_eq!(
            refusal(check(&head)),
            Some(Refusal::MethodNotAllowed),
            "{line}"
        );
    }
    for line in [
        "GET http://localhost:7070/",
        "GET HTTP://evil.example/",
        "OPTIONS *",
        "GET localhost:7070",
        "GET /a#b",
        "GET /\u{e9}",
        "GET ?a",
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: localhost:7070\r\n\r\n");
        let refused = refusal(check(&head));
        assert!(
            matches!(refused, Some(Refusal::BadTarget | Refusal::Head(_))),
            "{line}: {refused:?}"
        );
    }
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content_Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\r\n",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: localhost:7070\r\n{fields}\r\n");
        let refused = refusal(check(&head)).unwrap_or_else(|| panic!("{fields:?} was accepted"));
        assert_eq!(
            refused.reason(),
            crate::refusal::Reason::BadFraming,
            "{fields:?}"
        );
    }
    let old = "POST / HTTP/1.0\r\nHost: localhost:7070\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(refusal(check(old)), Some(Refusal::Framing(_))));
    assert!(with("Transfer-Encoding: \tChunked \r\n").is_ok());
}

#[test]
fn the_token_lifts_the_cap_and_a_stale_one_is_refused() {
    let token = Token::generate().unwrap();
    let stale = Token::generate().unwrap();
    let bearer = |credential: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: localhost:7070\r\nAuthorization: Bearer {credential}\r\n\r\n"
        )
    };
    let protocol = |entries: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: localhost:7070\r\nSec-WebSocket-Protocol: {entries}\r\n\r\n"
        )
    };
    let standing = |rules: &Rules, head: &str| {
        check_with(rules, &token, head).map(|admitted| admitted.standing)
    };
    let open = rules();
    let closed = Rules {
        token_required: true,
        ..rules()
    };
    for rules in [&open, &closed] {
        assert_eq!(
            standing(rules, &bearer(token.reveal())),
            Ok(Standing::Token)
        );
        let entry = format!("v1, homing.token.{}", token.reveal());
        assert_eq!(standing(rules, &protocol(&entry)), Ok(Standing::Token));
        assert_eq!(
            standing(rules, &bearer(stale.reveal())),
            Err(Refusal::TokenWrong)
        );
        let entry = format!("v1, homing.token.{}", stale.reveal());
        assert_eq!(standing(rules, &protocol(&entry)), Err(Refusal::TokenWrong));
        assert_eq!(
            standing(rules, &protocol("homing.token.")),
            Err(Refusal::TokenWrong)
        );
        let both = format!(
            "GET / HTTP/1.1\r\nHost: localhost:7070\r\nAuthorization: Bearer {}\r\n\
             Authorization: Bearer {}\r\n\r\n",
            token.reveal(),
            stale.reveal()
        );
        assert_eq!(standing(rules, &both), Err(Refusal::TokenWrong));
    }
    assert_eq!(
        standing(&open, &bearer("sk-of-an-sdk")),
        Ok(Standing::Capped)
    );
    assert_eq!(
        standing(&closed, &bearer("sk-of-an-sdk")),
        Err(Refusal::TokenMissing)
    );
    assert_eq!(
        standing(&closed, &protocol("v1")),
        Err(Refusal::TokenMissing)
    );
}

#[test]
fn what_the_relay_needs_to_know_is_read_from_the_head() {
    let get = with("").unwrap();
    assert!(get.replayable && !get.close && !get.asked.head_only && !get.asked.upgrade);
    assert!(with("Connection: keep-alive, close\r\n").unwrap().close);
    assert!(!with("Content-Length: 3\r\n").unwrap().replayable);
    assert!(!with("Upgrade: websocket\r\n").unwrap().asked.upgrade);
    let with_body = "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n";
    assert!(!with(with_body).unwrap().asked.upgrade);
    let twice = "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n";
    assert!(!with(twice).unwrap().asked.upgrade);
    let head = check("HEAD / HTTP/1.1\r\nHost: localhost:7070\r\n\r\n").unwrap();
    assert!(head.replayable && head.asked.head_only);
    let old = check("GET / HTTP/1.0\r\nHost: localhost:7070\r\nConnection: keep-alive\r\n\r\n");
    assert!(old.unwrap().close);
    let post = check("POST / HTTP/1.1\r\nHost: localhost:7070\r\nContent-Length: 0\r\n\r\n");
    assert!(!post.unwrap().replayable);
}

#[test]
fn the_status_page_is_the_proxys_own() {
    let destination = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost:7070\r\n\r\n");
        check(&head).unwrap().destination
    };
    assert_eq!(destination("/.homing/proxy"), Destination::StatusPage);
    assert_eq!(destination("/.homing/proxy?x"), Destination::StatusPage);
    assert_eq!(destination("/.homing/proxy2"), Destination::Agent);
    let post = "POST /.homing/proxy HTTP/1.1\r\nHost: localhost:7070\r\n\r\n";
    assert_eq!(refusal(check(post)), Some(Refusal::StatusPageMethod));
}

#[test]
fn trailers_may_not_carry_what_a_head_is_checked_for() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "homing-local",
        "X-Forwarded-For",
        "Authorization",
        "Sec-Fetch-Site",
        "x_real_ip",
    ] {
        assert!(!trailer_allowed(name.as_bytes()), "{name}");
    }
    for name in ["x-checksum", "Digest", "grpc-status"] {
        assert!(trailer_allowed(name.as_bytes()), "{name}");
    }
}

#[test]
fn with_the_guard_off_only_framing_is_decided() {
    let off = Rules {
        enabled: false,
        token_required: true,
        ..rules()
    };
    let token = Token::generate().unwrap();
    let head = "GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: null\r\n\
                Sec-Fetch-Site: cross-site\r\n\r\n";
    assert!(check_with(&rules(), &token, head).is_err());
    assert_eq!(
        check_with(&off, &token, head).unwrap().standing,
        Standing::Capped
    );
}

proptest! {
    #[test]
    fn no_host_but_ours_ever_passes(host in "[a-zA-Z0-9.:\\[\\]@_-]{0,24}") {
        let ours = ["127.0.0.1:7070", "localhost:7070", "[::1]:7070"]
            .iter()
            .any(|own| own.eq_ignore_ascii_case(&host));
        let passed = check(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok();
        prop_assert_eq!(passed, ours);
    }
}
