//! A certificate of an authority with its key: a root of our own, made here, or one that was given to us.

use crate::issue::{IssueError, Issued, Order};
use base::WallTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::Value;
use std::time::Duration;

/// Ten years, as Istio's.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

pub struct SelfSigned {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    key_pem: String,
    pub facts: tls::Facts,
}

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error(
        "Secret istio-ca-secret: {key} is missing or unreadable; delete the Secret to have a new root made"
    )]
    Key { key: &'static str },
    #[error(
        "Secret istio-ca-secret does not hold a usable root: {0}; delete it to have a new root made"
    )]
    Unusable(String),
    #[error("a root cannot be made: {0}")]
    Make(rcgen::Error),
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's to see.
        f.debug_struct("SelfSigned").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl SelfSigned {
    pub fn generate(trust_domain: &str, now: WallTime) -> Result<Self, RootError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let start = std::time::UNIX_EPOCH + Duration::from_nanos(now.0);
        params.not_before = (start - Duration::from_secs(120)).into();
        params.not_after = (start + ROOT_LIFETIME).into();
        let key = KeyPair::generate().map_err(RootError::Make)?;
        let cert_pem = params.self_signed(&key).map_err(RootError::Make)?.pem();
        Self::from_pem(cert_pem, key.serialize_pem())
    }

    pub fn from_pem(cert_pem: String, key_pem: String) -> Result<Self, RootError> {
        let unusable = |e: &dyn std::fmt::Display| RootError::Unusable(e.to_string());
        // Checks that key and certificate belong together, which the issuer does not.
        let own = tls::Credential::from_pem(&cert_pem, &key_pem).map_err(|e| unusable(&e))?;
        let key = KeyPair::from_pem(&key_pem).map_err(|e| unusable(&e))?;
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key).map_err(|e| unusable(&e))?;
        Ok(Self { issuer, cert_pem, key_pem, facts: own.facts })
    }

    /// Reads `data` of the Secret.
    pub(crate) fn from_secret(data: &Value) -> Result<Self, RootError> {
        Self::from_pem(text(data, "ca-cert.pem")?, text(data, "ca-key.pem")?)
    }

    pub fn pem(&self) -> &str {
        &self.cert_pem
    }

    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// `between`: the certificates that lead from us to a root.
    pub(crate) fn sign(
        &self,
        order: &Order,
        between: &[String],
        roots: String,
    ) -> Result<Issued, IssueError> {
        let leaf = order.leaf(self.facts.not_after)?;
        let cert = leaf.signed_by(order.key(), &self.issuer);
        let cert = cert.map_err(|e| IssueError::Sign(e.to_string()))?.pem();
        let between = between.iter().cloned();
        Ok(Issued { chain: [cert].into_iter().chain(between).chain([roots]).collect() })
    }
}

/// One value of a Secret's `data`.
pub(crate) fn text(data: &Value, key: &'static str) -> Result<String, RootError> {
    let encoded = data[key].as_str().ok_or(RootError::Key { key })?;
    let bytes = STANDARD.decode(encoded).map_err(|_| RootError::Key { key })?;
    String::from_utf8(bytes).map_err(|_| RootError::Key { key })
}
