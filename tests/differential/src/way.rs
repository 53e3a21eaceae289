//! The way of a request: from which address, to which, and with TLS or without.

use ::tls::{Credential, CredentialSource, Expect, TrustSource};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Way {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    pub tls: Option<Tls>,
}

/// The name that is asked for (empty: none), and the certificate that is shown when one is asked for.
#[derive(Clone, Debug)]
pub struct Tls {
    pub sni: String,
    pub own: Option<Credential>,
}

impl Way {
    pub fn plain(to: SocketAddr) -> Self {
        Self { to, from: None, tls: None }
    }

    pub(crate) fn open(&self) -> io::Result<TcpStream> {
        let socket = self.socket()?;
        socket.connect(&self.to.into())?;
        Ok(socket.into())
    }

    pub(crate) async fn open_async(&self) -> io::Result<tokio::net::TcpStream> {
        let socket = self.socket()?;
        socket.set_nonblocking(true)?;
        tokio::net::TcpSocket::from_std_stream(socket.into()).connect(self.to).await
    }

    fn socket(&self) -> io::Result<socket2::Socket> {
        let domain = socket2::Domain::for_address(self.to);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if let Some(from) = self.from {
            // Ports of connections that are over may be taken again, so that they do not run out.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        Ok(socket)
    }

    /// What a client of rustls needs to speak `alpn` by this way.
    pub(crate) fn tls(
        &self,
        alpn: &[u8],
    ) -> io::Result<Option<(Arc<ClientConfig>, ServerName<'static>)>> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let own = tls.own.clone().map(CredentialSource::new);
        // Who the server is, is compared and not checked.
        let config = ::tls::client_config(TrustSource::default(), Expect::Nothing, own, &[alpn])
            .map_err(io::Error::other)?;
        let name = match tls.sni.as_str() {
            // An address is never sent as a name.
            "" => ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
            sni => ServerName::try_from(sni.to_owned()).map_err(io::Error::other)?,
        };
        Ok(Some((config, name)))
    }
}
