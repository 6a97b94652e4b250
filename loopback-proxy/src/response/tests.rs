use super::*;
use proptest::prelude::*;

const GET: Asked = Asked {
    head_only: false,
    upgrade: false,
};
const HEAD: Asked = Asked {
    head_only: true,
    upgrade: false,
};
const UPGRADE: Asked = Asked {
    head_only: false,
    upgrade: true,
};

fn run(asked: Asked, bytes: &[u8]) -> Result<(usize, Response), ResponseError> {
    let mut response = Response::new(asked);
    let taken = response.advance(bytes)?;
    Ok((taken, response))
}

#[test]
fn responses_end_where_their_head_says() {
    let cases: &[(Asked, &[u8], &[u8], bool)] = &[
        (GET, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"X", false),
        (GET, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"X", false),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n", b"X", false),
        (GET, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", b"X", false),
        (HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"X", false),
        (HEAD, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"X", false),
        (GET, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", b"X", false),
        (GET, b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na", b"X", true),
        (GET, b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", b"X", true),
        (GET, b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na", b"", false),
        (
            GET,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            b"X",
            false,
        ),
        (UPGRADE, b"HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\na", b"X", false),
    ];
    for (asked, message, rest, closes) in cases {
        let mut bytes = message.to_vec();
        bytes.extend_from_slice(rest);
        let (taken, response) = run(*asked, &bytes).unwrap();
        assert_eq!(taken, message.len(), "{}", String::from_utf8_lossy(message));
        assert!(response.is_done() && response.may_end_here());
        assert_eq!(response.closes(), *closes);
    }
}

#[test]
fn a_response_without_a_length_ends_with_the_stream() {
    let (taken, response) = run(GET, b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
    assert_eq!(taken, 22);
    assert!(!response.is_done() && response.may_end_here() && response.closes());
}

#[test]
fn a_cut_response_may_not_end_where_it_was_cut() {
    for bytes in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab".as_slice(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"",
    ] {
        let (_, response) = run(GET, bytes).unwrap();
        assert!(
            !response.may_end_here(),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn a_switch_is_opaque_if_it_was_asked_for() {
    let bytes = b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\n\r\n\x81\x00\n\0";
    let (taken, response) = run(UPGRADE, bytes).unwrap();
    assert_eq!(taken, bytes.len());
    assert!(response.is_opaque() && response.closes());
    assert_eq!(run(GET, bytes).unwrap_err(), ResponseError::UnaskedSwitch);
}

#[test]
fn event_streams_are_recognised() {
    let (_, response) = run(
        GET,
        b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n\r\n",
    )
    .unwrap();
    assert!(response.is_event_stream());
    let (_, response) = run(GET, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").unwrap();
    assert!(!response.is_event_stream());
}

#[test]
fn contradicting_responses_are_refused() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\ncontent-length: 3\n\n",
        "HTTP/1.1 700 OK\r\n\r\n",
        "HTTP/3.1 200 OK\r\n\r\n",
        "<html>\r\n\r\n",
    ] {
        assert!(
            run(GET, bytes.as_bytes()).is_err(),
            "{bytes:?} was accepted"
        );
    }
}

proptest! {
    #[test]
    fn a_response_in_pieces_gives_the_same_result(
        which in 0usize..6,
        cuts in proptest::collection::vec(0usize..160, 0..6),
    ) {
        let samples: [&[u8]; 6] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcX",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nt: v\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
            b"HTTP/1.1 101 S\r\n\r\n\0\x01",
            b"HTTP/1.1 204 No\r\n\r\nX",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n",
        ];
        let bytes = samples[which];
        let whole = run(UPGRADE, bytes).map(|(taken, r)| (taken, r.is_done(), r.is_opaque()));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut response = Response::new(UPGRADE);
        let mut taken = 0;
        let mut result = Ok(());
        for cut in cuts {
            match response.advance(&bytes[taken..cut]) {
                Ok(more) => taken += more,
                Err(e) => { result = Err(e); break }
            }
        }
        let pieces = result.map(|()| (taken, response.is_done(), response.is_opaque()));
        prop_assert_eq!(pieces, whole);
    }
}
