//! A request for a certificate, as the authority gets it: whatever it says, the certificate is for the
//! caller alone.

use base::{SpiffeId, WallTime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ca::{Lifetimes, Names, Order, Roots, SelfSigned, Signer};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// 2026.
const NOW: WallTime = WallTime(1_767_225_600 * 1_000_000_000);

static ROOT: LazyLock<Roots> = LazyLock::new(|| {
    let root = SelfSigned::generate("cluster.local", NOW).expect("a root can be made");
    Roots::Steady(Arc::new(root))
});

fn caller() -> SpiffeId {
    SpiffeId::new("cluster.local", "default", "ratings")
}

/// Text is taken as PEM; what is no text as the DER within.
pub fn run(bytes: &[u8]) {
    let armoured;
    let pem = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => {
            armoured = armour(bytes);
            &armoured
        }
    };
    let names = Names::Workload(caller());
    let order = Order::new(pem, names, Duration::ZERO, Lifetimes::default(), NOW);
    let Ok(order) = order else { return };
    // A root of our own has signed at once.
    let issued = ROOT.issue(&order).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(issued)) = issued else { return };
    let leaf = tls::facts(&der_of(&issued.chain[0])).expect("what was issued can be read");
    assert_eq!(leaf.identity, Some(caller()));
}

fn armour(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

fn der_of(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    STANDARD.decode(body).expect("PEM is base64")
}

pub fn seeds() -> Vec<Vec<u8>> {
    let asked = SpiffeId::new("cluster.local", "kube-system", "admin");
    let (pem, _) = tls::request(&asked).expect("a request can be made");
    vec![der_of(&pem), pem.into_bytes()]
}
