//! Peers for measuring: what rustls alone needs for a handshake with certificates on both sides, and
//! clients that do nothing but handshakes. `cargo xtask bench --only handshakes` puts it beside the proxy.
//!
//! `serve PORT DIR`: takes connections, one after another, ends them after the handshake.
//! `connect PORT DIR SECONDS CLIENTS`: so many clients, each with one handshake after another, none resumed;
//! prints how many.
//! `hold PORT DIR COUNT`: keeps that many connections open, each after one request, until its input ends.

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const REQUEST: &[u8] = b"GET /128 HTTP/1.1\r\nHost: backend.default.svc.cluster.local\r\n\r\n";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, port, dir, rest @ ..] = &args[..] else {
        return Err("serve|connect|hold PORT DIR".into());
    };
    let (port, dir) = (port.parse()?, Path::new(dir));
    let number =
        |at: usize| -> Result<u64> { Ok(rest.get(at).ok_or("a number is missing")?.parse()?) };
    match what.as_str() {
        "serve" => serve(port, dir),
        "connect" => connect(port, dir, Duration::from_secs(number(0)?), number(1)?),
        "hold" => hold(port, dir, number(0)?),
        other => Err(format!("{other}: use serve, connect or hold").into()),
    }
}

fn serve(port: u16, dir: &Path) -> Result<()> {
    let provider = tls::provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(dir)?, provider.clone()).build()?;
    let (chain, key) = credential(dir, "server")?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let config = Arc::new(config);
    for socket in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let mut socket = socket?;
        let mut session = ServerConnection::new(config.clone())?;
        // A client that goes away (as the one that looks whether somebody listens) ends nothing.
        while session.is_handshaking()
            && session.complete_io(&mut socket).is_ok_and(|n| n != (0, 0))
        {}
    }
    Ok(())
}

fn connect(port: u16, dir: &Path, time: Duration, clients: u64) -> Result<()> {
    let config = client(dir)?;
    let end = Instant::now() + time;
    let one = || -> Option<u64> {
        let mut done = 0;
        while Instant::now() < end {
            drop(open(port, &config).ok()?);
            done += 1;
        }
        Some(done)
    };
    let done: Option<u64> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|client| client.join().ok().flatten()).sum()
    });
    println!("{} requests in {}s", done.ok_or("a handshake has failed")?, time.as_secs());
    Ok(())
}

fn hold(port: u16, dir: &Path, count: u64) -> Result<()> {
    let config = client(dir)?;
    let mut held = Vec::new();
    for _ in 0..count {
        let (mut session, mut socket) = open(port, &config)?;
        let mut stream = Stream::new(&mut session, &mut socket);
        stream.write_all(REQUEST)?;
        let _ = stream.read(&mut [0; 4096])?;
        held.push((session, socket));
    }
    println!("{count} requests in 1s");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn open(port: u16, config: &Arc<ClientConfig>) -> Result<(ClientConnection, TcpStream)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut session = ClientConnection::new(config.clone(), ServerName::try_from("server")?)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    while session.wants_write() {
        session.write_tls(&mut socket)?;
    }
    Ok((session, socket))
}

fn client(dir: &Path) -> Result<Arc<ClientConfig>> {
    let (chain, key) = credential(dir, "client")?;
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(dir)?)
        .with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(dir: &Path) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem"))?)?;
    Ok(Arc::new(roots))
}

fn credential(
    dir: &Path,
    name: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_file_iter(dir.join(format!("{name}.pem")))?;
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key")))?;
    Ok((chain.collect::<std::result::Result<_, _>>()?, key))
}
