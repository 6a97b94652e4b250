use super::*;
use proptest::prelude::*;

fn allow_all(_: &[u8]) -> bool {
    true
}

fn no_secret(name: &[u8]) -> bool {
    !name.eq_ignore_ascii_case(b"secret")
}

fn chunked(bytes: &[u8]) -> Result<(usize, bool), BodyError> {
    let mut body = Body::chunked(no_secret);
    let taken = body.advance(bytes)?;
    Ok((taken, body.is_done()))
}

#[test]
fn a_length_body_takes_exactly_its_length() {
    let mut body = Body::length(5);
    assert_eq!(body.advance(b"abc"), Ok(3));
    assert!(!body.is_done());
    assert_eq!(body.advance(b"deGET"), Ok(2));
    assert!(body.is_done());
    assert_eq!(body.advance(b"GET"), Ok(0));
    assert!(Body::length(0).is_done());
}

#[test]
fn a_chunked_body_ends_at_its_last_byte() {
    let whole = b"5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nx-sum: 1\r\ny: \xc3\xa9\r\n\r\n";
    let mut with_next = whole.to_vec();
    with_next.extend_from_slice(b"GET / HTTP/1.1\r\n");
    assert_eq!(chunked(&with_next), Ok((whole.len(), true)));
    assert_eq!(chunked(b"ffffffffffffffff\r\nab"), Ok((20, false)));
}

#[test]
fn chunk_framing_that_others_read_otherwise_is_refused() {
    let long_extension = format!("1;{}\r\n", "x".repeat(4 * 1024));
    let long_trailer = format!("0\r\nx: {}", "y".repeat(64 * 1024));
    let long_name = format!("0\r\n{}: y", "x".repeat(300));
    let cases: &[(&[u8], BodyError)] = &[
        (b"10000000000000000\r\n", BodyError::ChunkSize),
        (b"\r\n", BodyError::ChunkSize),
        (b";x\r\n", BodyError::ChunkSize),
        (b"0x5\r\n", BodyError::ChunkSize),
        (b"+5\r\n", BodyError::ChunkSize),
        (b"-1\r\n", BodyError::ChunkSize),
        (b"5 \r\n", BodyError::ChunkSize),
        (b" 5\r\n", BodyError::ChunkSize),
        (b"5\n", BodyError::ChunkSize),
        (b"5\rX", BodyError::ChunkSize),
        (b"5;a\nb", BodyError::ChunkExtension),
        (b"5;a\0", BodyError::ChunkExtension),
        (long_extension.as_bytes(), BodyError::ChunkExtension),
        (b"2\r\nabc\r\n", BodyError::ChunkEnd),
        (b"2\r\nab\n", BodyError::ChunkEnd),
        (b"2\r\nab\rX", BodyError::ChunkEnd),
        (b"0\r\n\n", BodyError::TrailerSyntax),
        (b"0\r\n\rX", BodyError::TrailerSyntax),
        (b"0\r\nx : y\r\n", BodyError::TrailerSyntax),
        (b"0\r\nx: y\n", BodyError::TrailerSyntax),
        (b"0\r\nx: y\r\n z\r\n", BodyError::TrailerSyntax),
        (b"0\r\nSecret: y\r\n", BodyError::TrailerForbidden),
        (long_trailer.as_bytes(), BodyError::TrailersTooLarge),
        (long_name.as_bytes(), BodyError::TrailerSyntax),
    ];
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert_eq!(chunked(bytes), Err(*expected), "{shown:?}");
    }
}

proptest! {
    #[test]
    fn a_chunked_body_in_pieces_gives_the_same_result(
        mut bytes in proptest::collection::vec(
            prop_oneof![
                Just("3\r\nabc\r\n"), Just("0\r\n"), Just("\r\n"), Just("x: y\r\n"), Just("5;e\r\n"),
                Just("hello\r\n"), Just("secret: 1\r\n"), Just("\n"), Just("1"), Just("GET / ")
            ],
            1..10,
        ).prop_map(|parts| parts.concat().into_bytes()),
        cut in 0usize..60,
        flip in proptest::option::of((0usize..60, any::<u8>())),
    ) {
        if let Some((at, value)) = flip
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte = value;
        }
        let cut = cut.min(bytes.len());
        let whole = chunked(&bytes);

        let mut body = Body::chunked(no_secret);
        let parts = body.advance(&bytes[..cut]).and_then(|first| {
            if first < cut { return Ok(first) }
            Ok(first + body.advance(&bytes[cut..])?)
        });
        prop_assert_eq!(parts.map(|taken| (taken, body.is_done())), whole);

        let mut body = Body::chunked(no_secret);
        let mut total = Ok(0);
        for byte in &bytes {
            match body.advance(&[*byte]) {
                Ok(0) => break,
                Ok(taken) => total = total.map(|sum| sum + taken),
                Err(e) => { total = Err(e); break }
            }
        }
        prop_assert_eq!(total.map(|taken| (taken, body.is_done())), whole);
    }

    #[test]
    fn well_formed_chunks_are_always_taken_whole(
        chunks in proptest::collection::vec(1usize..3000, 0..10),
        rest in 0usize..50,
    ) {
        let mut bytes = Vec::new();
        for size in chunks {
            bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            bytes.resize(bytes.len() + size, b'\n');
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let end = bytes.len();
        bytes.resize(end + rest, b'Z');
        let mut body = Body::chunked(allow_all);
        prop_assert_eq!(body.advance(&bytes), Ok(end));
        prop_assert!(body.is_done());
    }
}
