//! Random names and identities.

use aws_lc_rs::rand;

/// Letters that cannot form words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // The operating system's source does not fail on Linux; the lock-step fallback of the library
    // aborts the process if it ever did.
    if rand::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}

/// A version 4 UUID.
pub fn uuid() -> String {
    let mut b = bytes::<16>();
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|x| format!("{x:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The end of a generated name.
pub fn suffix(length: usize) -> String {
    (0..length)
        .map(|_| char::from(ALPHABET[usize::from(bytes::<1>()[0]) % ALPHABET.len()]))
        .collect()
}

/// A number below `bound`.
pub fn below(bound: u32) -> u32 {
    u32::from_le_bytes(bytes()) % bound.max(1)
}
