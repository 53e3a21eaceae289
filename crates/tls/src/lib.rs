//! TLS as the mesh uses it: certificates that may be replaced while they serve, SPIFFE identities
//! instead of host names, and rustls configurations built from the two. Edges only; nothing here
//! opens a socket or reads a file.

mod certificate;
mod chain;
mod check;
mod config;
mod context;
mod names;
mod parameters;
mod possession;
mod request;
mod sessions;
mod source;
mod verify;
mod words;

pub use certificate::{
    Credential, Facts, Revoked, TlsError, Trust, certificate_chain, certificate_facts, facts,
};
pub use chain::{ChainError, Role};
pub use check::{PeerRules, Refusal, hex, sha256};
pub use config::{ClientAuth, client_config, server_config};
pub use context::{ClientContext, ServerContext};
pub use names::{NameRule, Names};
pub use parameters::Parameters;
pub use request::request;
pub use source::{CredentialSource, TrustSource};
pub use verify::{Expect, spiffe_ids};
pub use words::describe;

/// The one crypto provider of the whole program. AES-128 comes first: nothing is known against it, and
/// every hop pays for more.
pub fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    use rustls::crypto::aws_lc_rs::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider};
    static PROVIDER: std::sync::OnceLock<std::sync::Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    let cheapest_first = || {
        let mut provider = default_provider();
        provider.cipher_suites.sort_by_key(|suite| *suite != TLS13_AES_128_GCM_SHA256);
        std::sync::Arc::new(provider)
    };
    PROVIDER.get_or_init(cheapest_first).clone()
}
