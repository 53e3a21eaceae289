use super::*;

/// Decodes `input` in pieces of `step` bytes; gives the data and what was left over.
fn run(
    body: Body,
    input: &[u8],
    step: usize,
) -> Result<(Vec<u8>, usize, Option<Fields>), BodyError> {
    let mut decoder = Decoder::new(body);
    let (mut data, mut at, mut have) = (Vec::new(), 0, step.min(input.len()));
    loop {
        match decoder.decode(&input[at..have])? {
            Piece::Data { skip, len } => {
                data.extend_from_slice(&input[at + skip..at + skip + len]);
                at += skip + len;
            }
            Piece::More { skip } => {
                at += skip;
                if have == input.len() {
                    decoder.finish()?;
                    return Ok((data, 0, None));
                }
                have = (have + step).min(input.len());
            }
            Piece::End { skip } => {
                at += skip;
                return Ok((data, input.len() - at, decoder.trailers().cloned()));
            }
        }
    }
}

#[test]
fn bodies_end_where_they_say_whatever_the_pieces() {
    let table: [(Body, &[u8], &[u8], usize); 6] = [
        (Body::Empty, b"next", b"", 4),
        (Body::Length(3), b"abcnext", b"abc", 4),
        (Body::Chunked, b"0\r\n\r\nnext", b"", 4),
        (Body::Chunked, b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n00\r\n\r\nn", b"abc0123456789", 1),
        (Body::Chunked, b"1 \r\nz\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"z", 0),
        (Body::UntilClose, b"all of it", b"all of it", 0),
    ];
    for (body, input, data, left) in table {
        for step in 1..=input.len() {
            let (got, rest, _) = run(body, input, step).unwrap();
            assert_eq!((got.as_slice(), rest >= left), (data, rest == left), "{body:?} {step}");
        }
    }
}

#[test]
fn trailers_are_kept() {
    let (_, _, trailers) = run(Body::Chunked, b"0\r\nGrpc-Status: 0 \r\nb:c\r\n\r\n", 3).unwrap();
    let trailers = trailers.unwrap();
    let list: Vec<_> = trailers.iter().collect();
    assert_eq!(list, [(&b"Grpc-Status"[..], &b"0"[..]), (&b"b"[..], &b"c"[..])]);
}

#[test]
fn ambiguous_chunks_are_refused() {
    let table: [&[u8]; 14] = [
        b"z\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3;\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3 4\r\nabc\r\n0\r\n\r\n",
        b"0\r\nX T: 1\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\n\n",
        b"3\r\rabc\r\n0\r\n\r\n",
    ];
    for input in table {
        for step in [1, input.len()] {
            assert!(
                run(Body::Chunked, input, step).is_err(),
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }
}

#[test]
fn a_cut_body_is_an_error() {
    assert_eq!(run(Body::Length(5), b"abc", 3).unwrap_err(), BodyError::Truncated);
    assert_eq!(run(Body::Chunked, b"5\r\nabc", 3).unwrap_err(), BodyError::Truncated);
}
