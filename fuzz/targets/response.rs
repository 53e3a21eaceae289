//! A response head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Response;
use wire::h1::{HeadScan, Limits, parse_response};

fuzz_target!(|bytes: &[u8]| {
    let mut into = Response::default();
    let limits = Limits::default();
    let _ = parse_response(bytes, &mut HeadScan::default(), &limits, b"GET", &mut into);
});
