//! Certificates, keys and roots as values: read from PEM, checked at once, so that what exists is usable.

use base::{SpiffeId, WallTime};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::sync::Arc;
use webpki::{CertRevocationList, OwnedCertRevocationList};

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
    /// As they were given: a peer may present one of them itself.
    pub(crate) certificates: Arc<[CertificateDer<'static>]>,
}

/// Lists of certificates that are revoked.
#[derive(Clone, Debug)]
pub struct Revoked(pub(crate) Arc<[CertRevocationList<'static>]>);

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
        let key = crate::provider().key_provider.load_private_key(key);
        let key = key.map_err(TlsError::Mismatch)?;
        belong_together(leaf, &*key)?;
        Ok(Self { key: Arc::new(CertifiedKey::new(chain, key)), facts })
    }

    /// The chain in DER, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

impl Trust {
    pub fn from_pem(roots: &str) -> Result<Self, TlsError> {
        let list = certificates(roots, "the root certificate")?;
        let mut store = RootCertStore::empty();
        for root in &list {
            store.add(root.clone()).map_err(|e| TlsError::Certificate(e.to_string()))?;
        }
        Self::of(store, list)
    }

    /// From a collection made by others, of which some may be unreadable to us.
    pub fn from_bundle(bundle: &str) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        let list = CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten();
        store.add_parsable_certificates(list);
        Self::of(store, Vec::new())
    }

    fn of(store: RootCertStore, list: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        if store.is_empty() {
            return Err(TlsError::Empty { what: "the root certificate" });
        }
        Ok(Self { roots: Arc::new(store), certificates: list.into() })
    }
}

impl Revoked {
    pub fn from_pem(lists: &str) -> Result<Self, TlsError> {
        let what = "the revocation list";
        let unreadable = |reason: String| TlsError::Pem { what, reason };
        let mut read = Vec::new();
        for list in CertificateRevocationListDer::pem_slice_iter(lists.as_bytes()) {
            let list = list.map_err(|e| unreadable(e.to_string()))?;
            let list = OwnedCertRevocationList::from_der(&list);
            read.push(list.map_err(|e| unreadable(e.to_string()))?.into());
        }
        if read.is_empty() {
            return Err(TlsError::Empty { what });
        }
        Ok(Self(read.into()))
    }
}

/// Compares public keys. Certificates of any version are welcome, since only peers judge them.
fn belong_together(leaf: &[u8], key: &dyn SigningKey) -> Result<(), TlsError> {
    let (_, cert) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|e| TlsError::Certificate(e.to_string()))?;
    match key.public_key() {
        Some(public) if public.as_ref() == cert.public_key().raw => Ok(()),
        _ => Err(TlsError::Mismatch(InconsistentKeys::KeyMismatch.into())),
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
        serial: crate::hex(cert.raw_serial()),
    })
}

/// Those of every certificate in a PEM text that can be read.
pub fn certificate_facts(pem: &str) -> Vec<Facts> {
    let list = CertificateDer::pem_slice_iter(pem.as_bytes());
    list.filter_map(|der| facts(&der.ok()?).ok()).collect()
}

/// The certificates of a PEM text, leaf first.
pub fn certificate_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(pem, "the certificate chain")
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::Pem { what, reason: e.to_string() })
}
