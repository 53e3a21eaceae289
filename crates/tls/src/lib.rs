//! TLS as the mesh uses it: certificates that may be replaced while they serve, SPIFFE identities
//! instead of host names, and rustls configurations built from the two. Edges only; nothing here
//! opens a socket or reads a file.

mod certificate;
mod config;
mod request;
mod source;
mod verify;

pub use certificate::{Credential, Facts, TlsError, Trust, facts};
pub use config::{ClientAuth, client_config, server_config};
pub use request::request;
pub use source::{CredentialSource, TrustSource};
pub use verify::{Expect, spiffe_ids};

/// The one crypto provider of the whole program.
pub fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<std::sync::Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}
