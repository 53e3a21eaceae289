//! HTTP on its way in: heads, chunked bodies, frames of HTTP/2. What is read does not depend on the pieces
//! that it comes in. The first byte says what is read, the second how long the pieces are.

use wire::h1::{Body, Decoder, HeadScan, Limits, Piece, parse_request, parse_response};
use wire::{Request, RequestHead, Response, Sieve};

pub fn run(bytes: &[u8]) {
    let [what, step, rest @ ..] = bytes else { return };
    let step = usize::from(*step).max(1);
    match what % 4 {
        0 => request(rest, step),
        1 => response(rest),
        2 => assert_eq!(body(rest, step), body(rest, rest.len().max(1))),
        _ => frames(rest, step),
    }
}

fn request(bytes: &[u8], step: usize) {
    let limits = Limits::default();
    let mut whole = Request::default();
    let at_once = parse_request(bytes, &mut HeadScan::default(), &limits, &mut whole);
    let mut pieces = Request::default();
    let mut scan = HeadScan::default();
    let mut have = 0;
    let in_pieces = loop {
        have = (have + step).min(bytes.len());
        match parse_request(&bytes[..have], &mut scan, &limits, &mut pieces) {
            Ok(None) if have < bytes.len() => {}
            other => break other,
        }
    };
    assert_eq!(at_once.is_ok(), in_pieces.is_ok());
    if let (Ok(Some(a)), Ok(Some(b))) = (at_once, in_pieces) {
        assert_eq!(a, b);
        assert_eq!(whole.path(), pieces.path());
        assert_eq!(whole.authority(), pieces.authority());
    }
}

fn response(bytes: &[u8]) {
    let mut into = Response::default();
    let limits = Limits::default();
    for method in [&b"GET"[..], b"HEAD", b"CONNECT"] {
        let _ = parse_response(bytes, &mut HeadScan::default(), &limits, method, &mut into);
    }
}

/// The data of a chunked body and its length on the wire; `None` if it is malformed or does not end.
fn body(bytes: &[u8], step: usize) -> Option<(Vec<u8>, usize)> {
    let mut decoder = Decoder::new(Body::Chunked);
    let (mut data, mut at, mut have) = (Vec::new(), 0, step.min(bytes.len()));
    loop {
        match decoder.decode(&bytes[at..have]).ok()? {
            Piece::Data { skip, len } => {
                data.extend_from_slice(&bytes[at + skip..at + skip + len]);
                at += skip + len;
            }
            Piece::More { skip } => {
                at += skip;
                if have == bytes.len() {
                    return None;
                }
                have = (have + step).min(bytes.len());
            }
            Piece::End { skip } => return Some((data, at + skip)),
        }
    }
}

/// The same bytes are passed on, and what is left out is whole empty frames.
fn frames(bytes: &[u8], step: usize) {
    let whole = sift(bytes, bytes.len().max(1));
    assert_eq!(sift(bytes, step), whole);
    assert_eq!((bytes.len() - whole.len()) % 9, 0);
}

fn sift(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut sieve = Sieve::of_server();
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut held = sieve.carried().to_vec();
        held.extend_from_slice(piece);
        let n = sieve.pass(&mut held);
        out.extend_from_slice(&held[..n]);
    }
    out.extend_from_slice(sieve.carried());
    out
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, body: &[u8]| {
        [&[0, 0, body.len() as u8, kind, flags, 0, 0, 0, 1][..], body].concat()
    };
    let frames = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, b""),
        frame(1, 4, b"\x82"),
        frame(0, 0, b""),
        frame(0, 1, b"x"),
    ];
    [
        &b"\x00\x07POST /a%2F/../b?q=1 HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 3\r\n\r\nabc"[..],
        b"\x00\x03GET http://a/ HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x00\x09CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\x01\x01HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: \r\n\r\n",
        b"\x01\x01HTTP/1.0 304\r\ncontent-length: 5, 5\r\n\r\n",
        b"\x02\x02a;x=\"y\"\r\n0123456789\r\n0\r\nt: v\r\n\r\n",
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .chain([[&[3, 5][..], &frames.concat()].concat()])
    .collect()
}
