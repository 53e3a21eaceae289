//! rustls configurations from certificate sources: TLS 1.2 and 1.3, aws-lc-rs, post-quantum key
//! exchange preferred. Sessions are not resumed: a resumed session would carry an old certificate,
//! or a peer whose root is gone, past the replacement.

use crate::verify::{ClientCheck, ServerCheck};
use crate::{CredentialSource, Expect, TlsError, TrustSource, provider};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// What a server asks of its clients.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// No certificate is asked for; callers prove themselves by a token.
    None,
    /// A certificate is checked when one is sent.
    Optional(TrustSource),
    /// Without a valid certificate there is no connection.
    Required(TrustSource),
}

pub fn server_config(
    credential: CredentialSource,
    clients: ClientAuth,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    let builder = match clients {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Optional(trust) => {
            builder.with_client_cert_verifier(ClientCheck::shared(trust, false))
        }
        ClientAuth::Required(trust) => {
            builder.with_client_cert_verifier(ClientCheck::shared(trust, true))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(credential));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}

pub fn client_config(
    trust: TrustSource,
    expect: Expect,
    credential: Option<CredentialSource>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(ServerCheck::shared(trust, expect));
    let mut config = match credential {
        Some(credential) => builder.with_client_cert_resolver(Arc::new(credential)),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}
