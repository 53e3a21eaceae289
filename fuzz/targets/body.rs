//! A chunked body: what is decoded does not depend on the pieces it comes in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::h1::{Body, Decoder, Piece};

fn run(bytes: &[u8], step: usize) -> Option<(Vec<u8>, usize)> {
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

fuzz_target!(|input: (u8, &[u8])| {
    let step = usize::from(input.0).max(1);
    assert_eq!(run(input.1, step), run(input.1, input.1.len().max(1)));
});
