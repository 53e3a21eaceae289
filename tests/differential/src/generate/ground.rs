//! The upstreams of generated configurations: one port each, that takes plaintext and TLS, HTTP/1 and
//! HTTP/2, with a PROXY header before it or without. What came first is part of the name it answers with.

use super::certificates::Certificates;
use super::stage::{MIRROR, Net, UPSTREAM_PORT, UPSTREAMS};
use crate::second;
use crate::upstream::{self, Seen};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone)]
struct Endings {
    first: Arc<ServerConfig>,
    second: Arc<ServerConfig>,
}

/// Starts them all; they live as long as the process.
pub fn start(net: Net, seen: &Seen, copies: &Seen, certificates: &Certificates) -> io::Result<()> {
    let tls = Endings {
        first: certificates.upstream(b"http/1.1")?,
        second: certificates.upstream(b"h2")?,
    };
    for number in 1..=UPSTREAMS {
        let listener = TcpListener::bind((net.upstream(number), UPSTREAM_PORT))?;
        let seen = if number == MIRROR { copies.clone() } else { seen.clone() };
        let tls = tls.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (seen, tls) = (seen.clone(), tls.clone());
                thread::spawn(move || serve(format!("u{number}"), connection, &seen, &tls));
            }
        });
    }
    Ok(())
}

fn serve(mut name: String, mut connection: TcpStream, seen: &Seen, tls: &Endings) {
    // Whatever goes wrong here, the peer has sent nothing that can be answered.
    let Ok(mut kind) = kind(&connection) else { return };
    if kind == Kind::Proxied {
        let Ok(said) = proxied(&mut connection) else { return };
        name += &said;
        let Ok(next) = self::kind(&connection) else { return };
        kind = next;
    }
    match kind {
        Kind::First => upstream::serve(&name, connection, seen),
        Kind::Second => second_over(name, connection, seen, None),
        Kind::Tls { second: true } => second_over(name, connection, seen, Some(tls.second.clone())),
        Kind::Tls { second: false } => {
            let Ok(session) = ServerConnection::new(tls.first.clone()) else { return };
            let mut stream = StreamOwned::new(session, connection);
            while stream.conn.is_handshaking() {
                let StreamOwned { conn, sock } = &mut stream;
                if conn.complete_io(sock).is_err() {
                    return;
                }
            }
            name += &agreed(&stream.conn);
            upstream::serve(&name, stream, seen);
        }
        Kind::Proxied => {}
    }
}

fn second_over(name: String, connection: TcpStream, seen: &Seen, tls: Option<Arc<ServerConfig>>) {
    let Ok(runtime) = second::runtime() else { return };
    runtime.block_on(async {
        let nonblocking = connection.set_nonblocking(true);
        let Ok(stream) = nonblocking.and_then(|()| tokio::net::TcpStream::from_std(connection))
        else {
            return;
        };
        let Some(tls) = tls else { return second::serve(name, stream, seen.clone()).await };
        let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else { return };
        let name = name + &agreed(stream.get_ref().1);
        second::serve(name, stream, seen.clone()).await;
    });
}

/// What the handshake was about.
fn agreed(session: &ServerConnection) -> String {
    let alpn = session.alpn_protocol().map(String::from_utf8_lossy).unwrap_or_default();
    let sni = session.server_name().unwrap_or("-");
    let certificate = if session.peer_certificates().is_some() { " certificate" } else { "" };
    format!(" tls sni={sni} alpn={alpn}{certificate}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    First,
    Second,
    Tls { second: bool },
    Proxied,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// By the first bytes, which stay where they are.
fn kind(connection: &TcpStream) -> io::Result<Kind> {
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut buffer = vec![0; 8192];
    loop {
        let n = connection.peek(&mut buffer)?;
        let got = &buffer[..n];
        let found = match got {
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            [0x16, ..] => client_hello(got).map(|hello| Kind::Tls { second: has_h2(hello) }),
            [b'\r', ..] => (n >= SIGNATURE.len()).then_some(Kind::Proxied),
            [b'P', ..] if n < 6 => None,
            _ if got.starts_with(b"PROXY ") => Some(Kind::Proxied),
            _ if got.starts_with(b"PRI * ") => Some(Kind::Second),
            _ => Some(Kind::First),
        };
        match found {
            Some(kind) => return Ok(kind),
            None if Instant::now() > deadline => return Ok(Kind::First),
            // A peek does not wait for more than there is.
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The first record, once it is complete.
fn client_hello(got: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*got.get(3)?) << 8 | usize::from(*got.get(4)?);
    got.get(..5 + length)
}

fn has_h2(hello: &[u8]) -> bool {
    hello.windows(3).any(|w| w == b"\x02h2")
}

/// Takes the PROXY header off, and says what was in it but for the ports, which are random.
fn proxied(connection: &mut TcpStream) -> io::Result<String> {
    let mut first = [0; 1];
    connection.read_exact(&mut first)?;
    if first == *b"P" {
        let mut line = vec![b'P'];
        while !line.ends_with(b"\r\n") && line.len() < 108 {
            connection.read_exact(&mut first)?;
            line.push(first[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        return Ok(format!(" {}", words.join(" ")));
    }
    let mut head = [0; 15];
    connection.read_exact(&mut head)?;
    let length = usize::from(head[13]) << 8 | usize::from(head[14]);
    let mut rest = vec![0; length];
    connection.read_exact(&mut rest)?;
    let ip = |at: usize| {
        let bytes = rest.get(at..at + 4).unwrap_or_default();
        bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
    };
    Ok(format!(" PROXYv2 {:02x?} {length} {} {}", &head[11..13], ip(0), ip(4)))
}
