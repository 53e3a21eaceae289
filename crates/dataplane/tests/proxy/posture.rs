//! What two of our proxies agree on when nothing is configured: read off the wire between them, where the
//! server's hello still goes in the clear.

use crate::certificates::*;
use crate::support::*;
use ir::{Config, UpstreamTls};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const X25519_MLKEM768: u16 = 0x11ec;
const X25519: u16 = 0x001d;
const TLS_1_3: u16 = 0x0304;

#[test]
fn our_proxies_agree_on_a_key_exchange_that_outlasts_quantum_computers() {
    assert_eq!(agreed(&[]), (TLS_1_3, X25519_MLKEM768));
    // That is what they prefer, and not what is read from everything.
    assert_eq!(agreed(&["X25519"]), (TLS_1_3, X25519));
}

/// Version and group between a proxy that offers these groups (none: as it likes) and another.
fn agreed(groups: &[&str]) -> (u16, u16) {
    let ca = Authority::new("ca");
    let mut inner = simple(echo().0);
    let own = serving(&ca.leaf(&["a.example"]));
    Arc::make_mut(&mut inner.listeners[0]).chains[0].tls = Some(own);
    let (_inner, at) = run(&inner);
    let (between, hello) = tap(at);
    let mut tls = UpstreamTls::default();
    tls.common.validation = Some(ca.roots());
    tls.common.ecdh_curves = groups.iter().map(|g| (*g).into()).collect();
    let (_outer, front) = run(&client(between, tls));
    assert_eq!(Peer::connect(front).get("/").status(), 200);
    std::iter::from_fn(|| hello.recv_timeout(Duration::from_secs(10)).ok())
        .find_map(|heard| chosen(&heard))
        .expect("the hello of a server")
}

fn client(to: SocketAddr, tls: UpstreamTls) -> Config {
    let mut config = simple(to);
    Arc::make_mut(&mut config.clusters[0]).tls = Some(tls);
    config
}

/// Passes one connection on, and tells all that the server has said, whenever it says more.
fn tap(to: SocketAddr) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(to).unwrap();
        let (up_from, up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || copy(up_from, up_to, |_| {}));
        let mut heard = Vec::new();
        copy(server, client, |bytes| {
            heard.extend_from_slice(bytes);
            let _ = tell.send(heard.clone());
        });
    });
    (at, told)
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut heed: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        heed(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// What a ServerHello has chosen: `supported_versions` and the group of `key_share`.
fn chosen(bytes: &[u8]) -> Option<(u16, u16)> {
    let number = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
    // A record's head of 5 bytes, the message's of 4, version, random, the session's name, suite, compression.
    if bytes.first() != Some(&22) || bytes.get(5) != Some(&2) {
        return None;
    }
    let name = usize::from(*bytes.get(43)?);
    let mut rest = bytes.get(44 + name + 3..)?;
    let mut extensions = rest.get(2..2 + usize::from(number(rest)?))?;
    let (mut version, mut group) = (None, None);
    while !extensions.is_empty() {
        let (kind, len) = (number(extensions)?, usize::from(number(extensions.get(2..)?)?));
        rest = extensions.get(4..4 + len)?;
        match kind {
            43 => version = number(rest),
            51 => group = number(rest),
            _ => {}
        }
        extensions = &extensions[4 + len..];
    }
    Some((version?, group?))
}
