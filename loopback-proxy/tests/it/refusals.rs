//! Every refusal shows who refused: the proxy's own counter rises, nothing reaches the agent, and
//! the same bytes pass when the guard is off.

use homing_loopback_proxy::{RefusedSnapshot, UpstreamError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{PATIENCE, start, status};

struct Case {
    bytes: String,
    status: u16,
    counter: fn(&RefusedSnapshot) -> u64,
}

fn case(status: u16, counter: fn(&RefusedSnapshot) -> u64, bytes: &str) -> Case {
    Case {
        bytes: bytes.to_owned(),
        status,
        counter,
    }
}

/// A GET with these fields after the right `Host`.
fn get(fields: &str) -> String {
    format!("GET /small HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n{fields}\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /count HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n{fields}\r\n{body}")
}

async fn each_is_refused_by_the_guard(cases: Vec<Case>) {
    let on = start(|_| {}).await;
    let off = start(|config| config.guard = false).await;
    for Case {
        bytes,
        status: wanted,
        counter,
    } in cases
    {
        let shown = bytes.chars().take(200).collect::<String>();
        let before = on.counters();
        let answer = on.exchange(&bytes).await;
        assert_eq!(
            status(&answer),
            wanted,
            "{shown:?} was answered with {answer:?}"
        );
        let json: serde_json::Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        for part in ["code", "message", "hint"] {
            assert!(
                json["error"][part]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{answer}"
            );
        }
        let after = on.counters();
        assert_eq!(
            counter(&after.refused),
            counter(&before.refused) + 1,
            "{shown:?}"
        );
        assert_eq!(
            after.refused.total(),
            before.refused.total() + 1,
            "{shown:?}"
        );
        assert_eq!(
            after.requests_forwarded, before.requests_forwarded,
            "{shown:?}"
        );

        let before = off.counters();
        off.exchange(&bytes).await;
        let after = off.counters();
        assert_eq!(
            after.refused.total(),
            before.refused.total(),
            "off: {shown:?}"
        );
        assert!(
            after.requests_forwarded > before.requests_forwarded,
            "off: {shown:?}"
        );
    }
}

#[tokio::test]
async fn other_hosts_origins_and_sites_are_refused() {
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    each_is_refused_by_the_guard(vec![
        case(
            421,
            |c| c.bad_host,
            "GET /small HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        ),
        case(421, |c| c.bad_host, &get("Host: HOST\r\n")),
        case(
            421,
            |c| c.bad_host,
            "GET /small HTTP/1.1\r\nConnection: close\r\n\r\n",
        ),
        case(
            403,
            |c| c.bad_origin,
            &get("Origin: http://evil.example\r\n"),
        ),
        case(403, |c| c.bad_origin, &get("Origin: null\r\n")),
        case(
            403,
            |c| c.cross_site,
            &get("Sec-Fetch-Site: cross-site\r\n"),
        ),
        case(
            403,
            |c| c.cross_site,
            &get("Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\n"),
        ),
        case(
            403,
            |c| c.bad_origin,
            "OPTIONS /small HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example\r\n\
             Access-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n",
        ),
        case(
            403,
            |c| c.cross_site,
            "OPTIONS /small HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\n\
             Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nConnection: close\r\n\r\n",
        ),
        case(
            403,
            |c| c.bad_origin,
            &get(&format!(
                "Connection: upgrade\r\n{upgrade}Origin: http://a\r\n"
            )),
        ),
        case(
            403,
            |c| c.cross_site,
            &get(&format!(
                "Connection: upgrade\r\n{upgrade}Sec-Fetch-Site: same-site\r\n"
            )),
        ),
    ])
    .await;
}

#[tokio::test]
async fn other_targets_are_refused() {
    each_is_refused_by_the_guard(vec![
        case(
            405,
            |c| c.bad_target,
            "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        ),
        case(
            405,
            |c| c.bad_target,
            "TRACE / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        ),
        case(
            400,
            |c| c.bad_target,
            "GET http://HOST/small HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        ),
        case(
            400,
            |c| c.bad_target,
            "OPTIONS * HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        ),
    ])
    .await;
}

#[tokio::test]
async fn smuggling_is_refused() {
    let framing: fn(&RefusedSnapshot) -> u64 = |c| c.bad_framing;
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let mut cases = vec![
        // CL.TE, TE.CL and a length said twice.
        post(
            "Content-Length: 44\r\nTransfer-Encoding: chunked\r\n",
            smuggled,
        ),
        post(
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            smuggled,
        ),
        post("Content-Length: 5\r\nContent-Length: 44\r\n", smuggled),
        post("Content-Length: 5, 44\r\n", smuggled),
        post("Content-Length: +5\r\n", "hello"),
        // Lines that end otherwise.
        "GET /small HTTP/1.1\nHost: HOST\nConnection: close\n\n".to_owned(),
        post("X: y\nTransfer-Encoding: chunked\r\n", smuggled),
        get("X: y\rZ: a\r\n"),
        get("X: y\r\n continued\r\n"),
        get("X: y\r\n\tTransfer-Encoding: chunked\r\n"),
        get("X: y\0z\r\n"),
        get("Host : HOST\r\n"),
        get("X Y: z\r\n"),
        get("no colon\r\n"),
        "\r\nGET /small HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /small HTTP/2.0\r\nHost: HOST\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /small\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ];
    // TE.TE: a coding that one reader takes for chunked and another does not.
    for coding in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer_Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
    ] {
        cases.push(post(&format!("{coding}\r\nX-After: 1\r\n"), smuggled));
    }
    // Chunks that end otherwise.
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nHost: a\r\n\r\n",
        "0\r\nhoming-local: token\r\n\r\n",
    ] {
        cases.push(post("Transfer-Encoding: chunked\r\n", body));
    }
    each_is_refused_by_the_guard(
        cases
            .iter()
            .map(|bytes| case(400, framing, bytes))
            .collect(),
    )
    .await;
}

#[tokio::test]
async fn heads_over_the_limits_are_refused() {
    let proxy = start(|_| {}).await;
    let many = get(&(0..10_000)
        .map(|i| format!("h{i}: v\r\n"))
        .collect::<String>());
    let long = get(&format!("x: {}\r\n", "y".repeat(64 * 1024)));
    let endless = "x".repeat(70_000);
    for (count, bytes) in [many, long, endless].into_iter().enumerate() {
        let answer = proxy.exchange(bytes).await;
        assert_eq!(status(&answer), 431, "{answer}");
        assert_eq!(proxy.counters().refused.head_too_large, count as u64 + 1);
    }
    let fits = (0..97).map(|i| format!("h{i}: v\r\n")).collect::<String>();
    assert_eq!(status(&proxy.exchange(get(&fits)).await), 200);
    assert_eq!(proxy.counters().requests_forwarded, 1);
}

#[tokio::test]
async fn a_slow_head_is_given_up_and_an_idle_connection_is_closed() {
    let proxy = start(|config| {
        config.limits.head_timeout = Duration::from_millis(200);
        config.limits.idle_timeout = Duration::from_millis(400);
    })
    .await;
    let mut slow = proxy.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if slow.write_all(b"a: b\r\n").await.is_err() {
                break;
            }
        }
    };
    let refused = proxy.until("the slow head is refused", |now| {
        now.refused.head_timeout == 1
    });
    tokio::select! { () = drip => {}, () = refused => {} }
    assert_eq!(proxy.counters().refused.head_timeout, 1);

    let mut idle = proxy.connect().await;
    let mut nothing = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut nothing))
        .await
        .expect("closed in time")
        .unwrap();
    assert!(nothing.is_empty());
    assert_eq!(proxy.counters().refused.total(), 1);
}

#[tokio::test]
async fn every_head_of_a_connection_is_checked_and_earlier_answers_come_first() {
    let proxy = start(|_| {}).await;
    let good = "GET /small HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let bad = "GET /small HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let answer = proxy.exchange(format!("{good}{good}{bad}{good}")).await;
    let codes: Vec<u16> = answer
        .split("HTTP/1.1")
        .skip(1)
        .map(|part| status(&format!("H{part}")))
        .collect();
    assert_eq!(codes, [200, 200, 421], "{answer}");
    assert_eq!(proxy.counters().requests_forwarded, 2);
    assert_eq!(proxy.counters().refused.bad_host, 1);
}

#[tokio::test]
async fn connections_over_the_rate_and_over_the_number_are_refused() {
    let slow = start(|config| {
        config.limits.accepts_per_second = 1;
        config.limits.accept_burst = 2;
    })
    .await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(status(&slow.exchange(get("")).await));
    }
    assert_eq!(codes[..2], [200, 200]);
    assert!(codes[2..].contains(&429), "{codes:?}");
    assert!(slow.counters().refused.rate_limited >= 1);

    let few = start(|config| config.limits.max_connections = 1).await;
    let held = few.connect().await;
    few.until("the first is served", |now| now.open_connections == 1)
        .await;
    assert_eq!(status(&few.exchange(get("")).await), 503);
    assert_eq!(few.counters().refused.too_many_connections, 1);
    drop(held);
    few.until("the first is gone", |now| now.open_connections == 0)
        .await;
    assert_eq!(status(&few.exchange(get("")).await), 200);
}

#[tokio::test]
async fn an_agent_that_cannot_be_reached_is_told_with_its_reason() {
    let proxy = start(|_| {}).await;
    for (code, wanted) in [
        ("revoked", 403),
        ("cert_expired", 403),
        ("forbidden", 403),
        ("not_reachable", 502),
        ("busy", 503),
        ("timeout", 504),
    ] {
        proxy
            .upstream
            .errors
            .lock()
            .unwrap()
            .push_back(UpstreamError {
                code: code.to_owned(),
                message: "because".to_owned(),
                hint: "do this".to_owned(),
            });
        let answer = proxy.exchange(get("")).await;
        assert_eq!(status(&answer), wanted, "{answer}");
        let expected = format!("\"code\":\"{code}\",\"hint\":\"do this\",\"message\":\"because\"");
        assert!(answer.contains(&expected), "{answer}");
    }
    assert_eq!(proxy.counters().upstream_errors, 6);
    assert_eq!(proxy.counters().refused.total(), 0);
}
