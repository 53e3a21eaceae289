//! Certificates, keys and roots as values: read from PEM, checked at once, so that what exists is usable.

use base::{SpiffeId, WallTime};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// A certificate chain with its private key.
#[derive(Clone, Debug)]
pub struct Credential {
    pub(crate) key: Arc<CertifiedKey>,
    pub facts: Facts,
}

/// The certificates that a peer's chain may end in.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(crate) roots: Arc<RootCertStore>,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub identity: Option<SpiffeId>,
    pub not_before: WallTime,
    pub not_after: WallTime,
    /// As hexadecimal digits.
    pub serial: String,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{what} is not PEM as expected: {reason}; give a file that `openssl x509` can read")]
    Pem { what: &'static str, reason: String },
    #[error("{what} holds no certificate")]
    Empty { what: &'static str },
    #[error("the certificate and the private key do not belong together or cannot be used: {0}")]
    Mismatch(rustls::Error),
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    #[error("a TLS configuration is impossible: {0}")]
    Config(rustls::Error),
}

impl Credential {
    /// Reads a chain (leaf first) and a key, and checks that they belong together.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, TlsError> {
        let chain = certificates(chain, "the certificate chain")?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|e| TlsError::Pem { what: "the private key", reason: e.to_string() })?;
        let leaf = chain.first().ok_or(TlsError::Empty { what: "the certificate chain" })?;
        let facts = facts(leaf)?;
        let key =
            CertifiedKey::from_der(chain, key, &crate::provider()).map_err(TlsError::Mismatch)?;
        Ok(Self { key: Arc::new(key), facts })
    }

    /// The chain in DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

impl Trust {
    pub fn from_pem(roots: &str) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for root in certificates(roots, "the root certificate")? {
            store.add(root).map_err(|e| TlsError::Certificate(e.to_string()))?;
        }
        if store.is_empty() {
            return Err(TlsError::Empty { what: "the root certificate" });
        }
        Ok(Self { roots: Arc::new(store) })
    }
}

/// Reads a certificate's dates, serial number and SPIFFE identity.
pub fn facts(der: &[u8]) -> Result<Facts, TlsError> {
    let (_, cert) = x509_parser::parse_x509_certificate(der)
        .map_err(|e| TlsError::Certificate(e.to_string()))?;
    let wall =
        |seconds: i64| WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000));
    Ok(Facts {
        identity: crate::spiffe_ids(der).into_iter().next(),
        not_before: wall(cert.validity().not_before.timestamp()),
        not_after: wall(cert.validity().not_after.timestamp()),
        serial: cert.raw_serial().iter().map(|b| format!("{b:02x}")).collect(),
    })
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::Pem { what, reason: e.to_string() })
}
