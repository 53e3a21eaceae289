//! Frames of HTTP/2 on their way in: however the bytes are cut into reads, the same ones are passed on, and
//! what is left out is whole empty frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Sieve;

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

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = (usize::from(input.0) + 1, input.1);
    let whole = sift(bytes, bytes.len().max(1));
    assert_eq!(sift(bytes, piece), whole);
    assert_eq!((bytes.len() - whole.len()) % 9, 0);
});
