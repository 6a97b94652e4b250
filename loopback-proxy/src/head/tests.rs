use super::*;
use proptest::prelude::*;

fn whole(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    HeadScanner::default().find_end(bytes)
}

fn parse(bytes: &[u8]) -> Result<(), HeadError> {
    let end = whole(bytes)?.ok_or(HeadError::Syntax)?;
    let mut room = header_room();
    parse_request(&bytes[..end], &mut room).map(|_| ())
}

#[test]
fn the_end_is_found_and_what_follows_is_left_alone() {
    let bytes = b"POST / HTTP/1.1\r\nhost: x\r\n\r\nbody\n\0";
    assert_eq!(whole(bytes), Ok(Some(bytes.len() - 6)));
}

#[test]
fn ambiguous_syntax_is_refused() {
    let cases: &[(&[u8], HeadError)] = &[
        (b"GET / HTTP/1.1\nhost: x\r\n\r\n", HeadError::BareLf),
        (b"GET / HTTP/1.1\r\nhost: x\n\r\n", HeadError::BareLf),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\n", HeadError::BareLf),
        (
            b"GET / HTTP/1.1\r\nhost: x\ry: z\r\n\r\n",
            HeadError::BareCr,
        ),
        (b"GET / HTTP/1.1\r\nhost: x\r\r\n\r\n", HeadError::BareCr),
        (b"GET / HTTP/1.1\r\nhost: x\0\r\n\r\n", HeadError::Nul),
        (b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n", HeadError::Nul),
        (
            b"GET / HTTP/1.1\r\na: b\r\n c: d\r\n\r\n",
            HeadError::ObsFold,
        ),
        (
            b"GET / HTTP/1.1\r\na: b\r\n\tc: d\r\n\r\n",
            HeadError::ObsFold,
        ),
        (b" GET / HTTP/1.1\r\n\r\n", HeadError::ObsFold),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", HeadError::LeadingEmptyLine),
        (b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", HeadError::Syntax),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", HeadError::Syntax),
        (b"GET / HTTP/1.1\r\nhost\r\n\r\n", HeadError::Syntax),
        (b"GET / HTTP/1.1\r\nho\x7fst: x\r\n\r\n", HeadError::Syntax),
        (b"GET / HTTP/1.1\r\nhost: \x01\r\n\r\n", HeadError::Syntax),
        (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", HeadError::Version),
        (b"GET / HTTP/1.2\r\nhost: x\r\n\r\n", HeadError::Version),
        (b"GET / \r\nhost: x\r\n\r\n", HeadError::Version),
        (b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", HeadError::Version),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", HeadError::Nul),
    ];
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(bytes);
        assert!(parse(bytes).is_err(), "{shown:?} was accepted");
        assert_eq!(parse(bytes), Err(*expected), "{shown:?}");
    }
}

#[test]
fn one_header_over_the_limit_is_refused_and_the_limit_is_not() {
    let build = |count: usize| {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        for i in 0..count {
            head.extend_from_slice(format!("h{i}: v\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    };
    assert_eq!(parse(&build(MAX_HEADERS)), Ok(()));
    assert_eq!(
        parse(&build(MAX_HEADERS + 1)),
        Err(HeadError::TooManyHeaders)
    );
    assert_eq!(parse(&build(5_000)), Err(HeadError::TooManyHeaders));
}

#[test]
fn one_byte_over_64_kib_is_refused_and_64_kib_is_not() {
    let build = |size: usize| {
        let mut head = b"GET / HTTP/1.1\r\na: ".to_vec();
        head.resize(size - 4, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    assert_eq!(parse(&build(MAX_HEAD)), Ok(()));
    assert_eq!(parse(&build(MAX_HEAD + 1)), Err(HeadError::TooLarge));
}

#[test]
fn list_entries_are_trimmed_and_empty_ones_left_out() {
    let entries: Vec<&[u8]> = list_entries(b" a , ,b\t,").collect();
    assert_eq!(entries, [b"a".as_slice(), b"b"]);
}

proptest! {
    #[test]
    fn a_head_that_arrives_in_pieces_gives_the_same_result(
        lines in proptest::collection::vec("[a-z :\t]{0,12}(\r\n|\n|\r|\0|\r\n\r\n)", 0..8),
        cuts in proptest::collection::vec(0usize..200, 0..8),
    ) {
        let bytes = lines.concat().into_bytes();
        let expected = whole(&bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut scanner = HeadScanner::default();
        let mut result = Ok(None);
        for cut in cuts {
            result = scanner.find_end(&bytes[..cut]);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        prop_assert_eq!(result, expected);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }
}
