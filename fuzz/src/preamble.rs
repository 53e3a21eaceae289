//! The first bytes of a connection: ClientHello with its server name, detection, the PROXY protocol. More
//! bytes never take back what fewer have decided.

use wire::client_hello::{self, Outcome};
use wire::detect::{ENOUGH, Wanted, detect};
use wire::proxy_protocol::{self, Preamble};

pub fn hello(bytes: &[u8]) {
    let whole = client_hello::parse(bytes);
    if let Outcome::Hello(hello) = &whole {
        let name = hello.server_name.as_deref().unwrap_or_default();
        assert_eq!(name, name.to_ascii_lowercase());
    }
    let wanted = Wanted { tls: true, http: true };
    let found = detect(bytes, wanted);
    assert!(found.is_some() || bytes.len() < ENOUGH);
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let before = client_hello::parse(&bytes[..cut]);
        assert!(before == Outcome::More || before == whole, "{before:?} became {whole:?}");
        let before = detect(&bytes[..cut], wanted);
        assert!(before.is_none() || before == found, "{before:?} became {found:?}");
    }
}

pub fn proxied(bytes: &[u8]) {
    let whole = proxy_protocol::parse(bytes);
    let half = proxy_protocol::parse(&bytes[..bytes.len() / 2]);
    if !bytes.is_empty() && !matches!(half, Ok(None)) && bytes.len() > 1 {
        assert_eq!(half, whole);
    }
    let Ok(Some((preamble, len))) = whole else { return };
    assert!(len <= bytes.len());
    let Preamble::Proxied { source, destination } = preamble else { return };
    for write in [proxy_protocol::write_v1, proxy_protocol::write_v2] {
        let mut again = Vec::new();
        write(source, destination, &mut again);
        let read = proxy_protocol::parse(&again);
        assert!(matches!(read, Ok(Some((_, n))) if n == again.len()), "{read:?}");
    }
}

pub fn hellos() -> Vec<Vec<u8>> {
    let host = b"reviews.example.com";
    let name = [&[0, 0, host.len() as u8][..], host].concat();
    let sni = extension(0, &vector(&name));
    let alpn = extension(16, &vector(b"\x05istio\x02h2"));
    let extensions = vector(&[sni, alpn].concat());
    let fixed = [&[3, 3][..], &[7; 32], &[0], &vector(&[0x13, 0x01]), &[1, 0]].concat();
    let body = [fixed, extensions].concat();
    let message = [&[1, 0][..], &vector(&body)].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &vector(part)].concat();
    let (one, other) = message.split_at(40);
    vec![
        record(&message),
        [record(one), record(other)].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ]
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(body)].concat()
}

/// With its length before it.
fn vector(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

pub fn proxies() -> Vec<Vec<u8>> {
    let mut seeds = vec![b"PROXY UNKNOWN\r\n".to_vec()];
    for (source, destination) in [("10.0.0.1:4711", "10.0.0.2:80"), ("[2001:db8::1]:1", "[::1]:2")]
    {
        let parse = |text: &str| text.parse().expect("an address");
        for write in [proxy_protocol::write_v1, proxy_protocol::write_v2] {
            let mut seed = Vec::new();
            write(parse(source), parse(destination), &mut seed);
            seed.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
            seeds.push(seed);
        }
    }
    seeds
}
