//! The first bytes of a connection: ClientHello, PROXY protocol, detection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::detect::{Wanted, detect};

fuzz_target!(|bytes: &[u8]| {
    let _ = wire::client_hello::parse(bytes);
    let _ = detect(bytes, Wanted { tls: true, http: true });
    if let Ok(Some((_, len))) = wire::proxy_protocol::parse(bytes) {
        assert!(len <= bytes.len());
    }
});
