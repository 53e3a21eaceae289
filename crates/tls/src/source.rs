//! Certificates and roots that are replaced while connections are made: a handshake takes what is
//! current when it begins, and nothing restarts.

use crate::{Credential, Trust};
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};

/// The current certificate of one party; empty until the first one arrives, and then handshakes fail.
#[derive(Clone, Debug, Default)]
pub struct CredentialSource(Arc<RwLock<Option<Credential>>>);

/// The current roots; empty until the first ones arrive, and then every peer is refused.
#[derive(Clone, Debug, Default)]
pub struct TrustSource(Arc<RwLock<Option<Trust>>>);

impl CredentialSource {
    pub fn new(credential: Credential) -> Self {
        let source = Self::default();
        source.replace(credential);
        source
    }

    pub fn replace(&self, credential: Credential) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(credential);
    }

    pub fn current(&self) -> Option<Credential> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TrustSource {
    pub fn new(trust: Trust) -> Self {
        let source = Self::default();
        source.replace(trust);
        source
    }

    pub fn replace(&self, trust: Trust) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(trust);
    }

    pub(crate) fn roots(&self) -> Option<Arc<RootCertStore>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|trust| trust.roots.clone())
    }
}

impl ResolvesServerCert for CredentialSource {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().map(|c| c.key)
    }
}

impl ResolvesClientCert for CredentialSource {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current().map(|c| c.key)
    }

    fn has_certs(&self) -> bool {
        self.current().is_some()
    }
}
