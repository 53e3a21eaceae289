//! A request head, whole and in pieces: both ways must give the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::h1::{HeadScan, Limits, parse_request};
use wire::{Request, RequestHead};

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = (usize::from(input.0).max(1), input.1);
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
});
