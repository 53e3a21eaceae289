//! A client that speaks TLS with whatever name and protocols a test wants, as no tool offers them.

use crate::authority::Leaf;
use base::TrustDomain;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tls::{Credential, CredentialSource, Expect, TlsError, Trust, TrustSource};

const PATIENCE: Duration = Duration::from_secs(10);

/// Where to connect, and what to say in the handshake.
pub struct Secure<'a> {
    /// `address:port`
    pub at: &'a str,
    pub server_name: &'a str,
    pub alpn: &'a [&'a str],
    /// Whom to trust, PEM.
    pub root: &'a str,
    /// Who the client is. Then the server must be of the mesh, whatever it is called.
    pub own: Option<&'a Leaf>,
}

impl Secure<'_> {
    /// Sends a text and reads until the answer ends with `end`, or the connection does.
    pub fn say(&self, text: &str, end: &str) -> std::io::Result<String> {
        let tcp = TcpStream::connect(self.at)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let name = self.server_name.to_owned().try_into().map_err(std::io::Error::other)?;
        let tls = ClientConnection::new(self.config().map_err(std::io::Error::other)?, name);
        let mut stream = StreamOwned::new(tls.map_err(std::io::Error::other)?, tcp);
        stream.write_all(text.as_bytes())?;
        stream.flush()?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(end.as_bytes()) && stream.read(&mut byte)? > 0 {
            answer.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let trust = TrustSource::new(Trust::from_pem(self.root)?);
        let alpn: Vec<&[u8]> = self.alpn.iter().map(|p| p.as_bytes()).collect();
        let Some(own) = self.own else {
            return tls::client_config(trust, Expect::DialledName, None, &alpn);
        };
        let own = CredentialSource::new(Credential::from_pem(&own.chain, &own.key)?);
        let mesh = TrustDomain("cluster.local".into());
        tls::client_config(trust, Expect::AnyOf(mesh), Some(own), &alpn)
    }
}
