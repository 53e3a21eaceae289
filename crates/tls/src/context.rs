//! What a data plane's connections are begun with: made once for each filter chain or cluster and
//! version of its secrets, and shared by all workers. Sessions are resumed only within one such
//! version, so never across identities, roots or rules.

use crate::check::PeerCheck;
use crate::sessions::Sessions;
use crate::{Credential, Names, Parameters, PeerRules, TlsError};
use rustls::client::{ClientConnection, ResolvesClientCert, Resumption};
use rustls::server::{Accepted, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use rustls_pki_types::ServerName;
use std::sync::Arc;

/// For connections that are accepted.
#[derive(Debug)]
pub struct ServerContext {
    negotiating: Arc<ServerConfig>,
    /// Without ALPN, for clients that offer none of our protocols.
    silent: Arc<ServerConfig>,
    require_sni: bool,
    /// The URI name of our certificate.
    identity: Option<String>,
}

/// For connections that are made.
#[derive(Debug)]
pub struct ClientContext {
    config: Arc<ClientConfig>,
    /// Where no server name is to be said.
    nameless: Arc<ClientConfig>,
    alpn: Vec<Vec<u8>>,
    /// The URI name of our certificate.
    identity: Option<String>,
}

impl ServerContext {
    /// `clients`: whether a certificate is asked for, how it is checked, and whether it is needed.
    pub fn new(
        parameters: &Parameters,
        credentials: Vec<Credential>,
        clients: Option<(PeerRules, bool)>,
        alpn: &[ir::Str],
        require_sni: bool,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(parameters.provider.clone())
            .with_protocol_versions(&parameters.versions)
            .map_err(TlsError::Config)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((rules, mandatory)) => {
                builder.with_client_cert_verifier(PeerCheck::of_clients(rules, mandatory))
            }
        };
        let names: Vec<Names> = credentials.iter().map(names).collect();
        let identity = names.first().and_then(|n| n.uris.first().cloned());
        let mut config = builder.with_cert_resolver(Arc::new(ByName { credentials, names }));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Config)?;
        config.send_tls13_tickets = 1;
        let silent = Arc::new(config.clone());
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(Self { negotiating: Arc::new(config), silent, require_sni, identity })
    }

    /// The configuration for a client that says this. `None`: it is to be refused.
    pub fn config_for(&self, accepted: &Accepted) -> Option<Arc<ServerConfig>> {
        let hello = accepted.client_hello();
        if self.require_sni && hello.server_name().is_none() {
            return None;
        }
        let ours = &self.negotiating.alpn_protocols;
        let common = hello.alpn().is_some_and(|mut offered| {
            offered.any(|theirs| ours.iter().any(|o| o.as_slice() == theirs))
        });
        Some(if common { self.negotiating.clone() } else { self.silent.clone() })
    }

    /// The URI name of our own certificate.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }
}

impl ClientContext {
    pub fn new(
        parameters: &Parameters,
        credential: Option<Credential>,
        server: PeerRules,
        alpn: &[ir::Str],
    ) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(parameters.provider.clone())
            .with_protocol_versions(&parameters.versions)
            .map_err(TlsError::Config)?
            .dangerous()
            .with_custom_certificate_verifier(PeerCheck::of_servers(server));
        let identity = credential.as_ref().and_then(|c| names(c).uris.into_iter().next());
        let mut config = match credential {
            Some(credential) => builder.with_client_cert_resolver(Arc::new(Only(credential))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::store(Arc::new(Sessions::default()));
        let named = Arc::new(config.clone());
        config.enable_sni = false;
        let alpn = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(Self { config: named, nameless: Arc::new(config), alpn, identity })
    }

    /// The URI name of our own certificate.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Begins a connection. `name` is what the server is asked for; `fallback` are protocols to offer
    /// where the context names none.
    pub fn connect(
        &self,
        name: Option<&str>,
        fallback: &[&[u8]],
    ) -> Result<ClientConnection, TlsError> {
        match self.alpn.is_empty() {
            true => self.connect_with(name, fallback),
            false => self.begin(name, self.alpn.clone()),
        }
    }

    /// Begins a connection that offers these protocols and no others.
    pub fn connect_with(
        &self,
        name: Option<&str>,
        protocols: &[&[u8]],
    ) -> Result<ClientConnection, TlsError> {
        self.begin(name, protocols.iter().map(|p| p.to_vec()).collect())
    }

    fn begin(&self, name: Option<&str>, alpn: Vec<Vec<u8>>) -> Result<ClientConnection, TlsError> {
        let (config, name) = match name {
            Some(name) => {
                let name = ServerName::try_from(name.to_owned());
                let named = name.map_err(|e| TlsError::Certificate(e.to_string()))?;
                (&self.config, named)
            }
            // Sessions are kept under this name, and nobody else sees it.
            None => (&self.nameless, ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())),
        };
        ClientConnection::new_with_alpn(config.clone(), name, alpn).map_err(TlsError::Config)
    }
}

fn names(credential: &Credential) -> Names {
    credential.chain().first().and_then(Names::of).unwrap_or_default()
}

/// Certificates of a server: the first that covers the name and that the client can check.
#[derive(Debug)]
struct ByName {
    credentials: Vec<Credential>,
    names: Vec<Names>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |c: &Credential| c.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let covers = |n: &Names| hello.server_name().is_some_and(|name| n.cover(name));
        let with_names = || self.credentials.iter().zip(&self.names);
        let best = with_names().find(|(c, n)| covers(n) && usable(c)).map(|(c, _)| c);
        let usable = best.or_else(|| self.credentials.iter().find(|c| usable(c)));
        // With none the handshake fails with the reason.
        usable.or(self.credentials.first()).map(|c| c.key.clone())
    }
}

/// The one certificate of a client, whatever roots the server names.
#[derive(Debug)]
struct Only(Credential);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.key.choose_scheme(schemes).map(|_| self.0.key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
