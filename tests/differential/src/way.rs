//! The way of a request: from which address, to which, and with TLS or without.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
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
    pub own: Option<Own>,
}

#[derive(Clone, Debug)]
pub struct Own {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<PrivateKeyDer<'static>>,
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
        let provider = ::tls::provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut config = match &tls.own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
                .map_err(io::Error::other)?,
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = match tls.sni.as_str() {
            // An address is never sent as a name.
            "" => ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
            sni => ServerName::try_from(sni.to_owned()).map_err(io::Error::other)?,
        };
        Ok(Some((Arc::new(config), name)))
    }
}

/// Believes every server: who it is, is compared and not checked.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
