//! Certificates as configurations have them, and a client that speaks TLS.

pub use authority::{Authority, DnType, Leaf};

use crate::support::PATIENCE;
use ir::{Certificate, CertificateSource, DataSource, DownstreamTls, SecretValue, Validation};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// What a validation says of an authority.
pub trait Trusted {
    fn roots(&self) -> Validation;
}

impl Trusted for Authority {
    fn roots(&self) -> Validation {
        Validation { roots: Some(bytes(&self.root)), ..Validation::default() }
    }
}

/// A certificate as a configuration has it.
pub trait Shown {
    fn certificate(&self) -> Certificate;

    fn source(&self) -> CertificateSource {
        CertificateSource::Inline(self.certificate())
    }
}

impl Shown for Leaf {
    fn certificate(&self) -> Certificate {
        Certificate { chain: bytes(&self.chain), key: bytes(&self.key) }
    }
}

pub fn bytes(text: &str) -> DataSource {
    DataSource::Bytes(text.as_bytes().to_vec().into())
}

pub fn secret(name: &str, value: SecretValue) -> Arc<ir::Secret> {
    Arc::new(ir::Secret { name: name.into(), value })
}

/// A server's settings with this certificate.
pub fn serving(leaf: &Leaf) -> DownstreamTls {
    let mut tls = DownstreamTls::default();
    tls.common.certificates = vec![leaf.source()];
    tls.common.alpn = vec!["h2".into(), "http/1.1".into()];
    tls
}

/// A client that trusts one authority.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    pub fn new(authority: &Authority, own: Option<&Leaf>, alpn: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.root.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// Connects and shakes hands.
    pub fn connect(&self, at: SocketAddr, name: &str) -> std::io::Result<Stream> {
        let tcp = TcpStream::connect(at)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let name = name.to_owned().try_into().unwrap();
        let tls = ClientConnection::new(self.0.clone(), name).unwrap();
        let mut stream = StreamOwned::new(tls, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// One request on a connection of its own, read to the connection's end.
    pub fn get(&self, at: SocketAddr, name: &str, path: &str) -> std::io::Result<String> {
        ask(&mut self.connect(at, name)?, name, path, true)
    }
}

/// A request, and its answer: up to the end of the connection, or by its length.
pub fn ask(stream: &mut Stream, name: &str, path: &str, last: bool) -> std::io::Result<String> {
    let close = if last { "Connection: close\r\n" } else { "" };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {name}\r\n{close}\r\n")?;
    stream.flush()?;
    let mut answer = Vec::new();
    if last {
        stream.read_to_end(&mut answer)?;
        return Ok(String::from_utf8(answer).unwrap());
    }
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8(body).unwrap())
}
