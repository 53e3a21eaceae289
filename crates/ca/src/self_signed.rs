//! A root of our own: made once, kept in the Secret `istio-ca-secret` under Istio's keys, read
//! again at every start.

use crate::issue::{IssueError, Issued, Signer};
use base::WallTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKey,
};
use serde_json::{Map, Value};
use std::time::Duration;

/// Ten years, as Istio's.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

pub struct SelfSigned {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    key_pem: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error(
        "Secret istio-ca-secret: {key} is missing or not base64; delete the Secret to have a new root made"
    )]
    Key { key: &'static str },
    #[error(
        "Secret istio-ca-secret does not hold a usable root: {0}; delete it to have a new root made"
    )]
    Unusable(String),
    #[error("a root cannot be made: {0}")]
    Make(rcgen::Error),
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
        tls::Credential::from_pem(&cert_pem, &key_pem).map_err(|e| unusable(&e))?;
        let key = KeyPair::from_pem(&key_pem).map_err(|e| unusable(&e))?;
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key).map_err(|e| unusable(&e))?;
        Ok(Self { issuer, cert_pem, key_pem })
    }

    /// Reads `data` of the Secret.
    pub fn from_secret(data: &Value) -> Result<Self, RootError> {
        let read = |key: &'static str| {
            let text = data[key].as_str().ok_or(RootError::Key { key })?;
            let bytes = STANDARD.decode(text).map_err(|_| RootError::Key { key })?;
            String::from_utf8(bytes).map_err(|_| RootError::Key { key })
        };
        Self::from_pem(read("ca-cert.pem")?, read("ca-key.pem")?)
    }

    /// `data` of the Secret (type `istio.io/ca-root`).
    pub fn to_secret(&self) -> Value {
        let mut data = Map::new();
        data.insert("ca-cert.pem".into(), STANDARD.encode(&self.cert_pem).into());
        data.insert("ca-key.pem".into(), STANDARD.encode(&self.key_pem).into());
        for unused in ["cert-chain.pem", "key.pem", "root-cert.pem"] {
            data.insert(unused.into(), "".into());
        }
        Value::Object(data)
    }
}

impl Signer for SelfSigned {
    fn sign(&self, leaf: CertificateParams, key: &PublicKey) -> Result<Issued, IssueError> {
        let cert =
            leaf.signed_by(key, &self.issuer).map_err(|e| IssueError::Sign(e.to_string()))?;
        Ok(Issued { chain: vec![cert.pem(), self.cert_pem.clone()] })
    }

    fn root_pem(&self) -> &str {
        &self.cert_pem
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lifetimes, Names, issue};
    use base::SpiffeId;

    const NOW: WallTime = WallTime(1_800_000_000_000_000_000);

    fn ratings() -> SpiffeId {
        SpiffeId::new("cluster.local", "default", "ratings")
    }

    #[test]
    fn a_root_survives_its_secret() {
        let root = SelfSigned::generate("cluster.local", NOW).unwrap();
        let again = SelfSigned::from_secret(&root.to_secret()).unwrap();
        assert_eq!(again.root_pem(), root.root_pem());
        let mut broken = root.to_secret();
        broken["ca-key.pem"] = STANDARD.encode(KeyPair::generate().unwrap().serialize_pem()).into();
        assert!(SelfSigned::from_secret(&broken).is_err(), "a key of another root");
        assert!(SelfSigned::from_secret(&Value::Null).is_err());
    }

    #[test]
    fn names_come_from_the_caller_and_not_from_the_request() {
        let root = SelfSigned::generate("cluster.local", NOW).unwrap();
        let (csr, key) =
            tls::request(&SpiffeId::new("cluster.local", "kube-system", "admin")).unwrap();
        let names = Names::Workload(ratings());
        let issued = issue(&root, &csr, &names, Duration::ZERO, Lifetimes::default(), NOW).unwrap();
        let leaf = tls::Credential::from_pem(&issued.chain.concat(), &key).unwrap();
        assert_eq!(tls::spiffe_ids(&leaf.chain()[0]), vec![ratings()]);
        let day = 24 * 3600 * 1_000_000_000;
        assert_eq!(leaf.facts.not_after, WallTime(NOW.0 + day));
        assert!(leaf.facts.not_before < NOW);
    }

    #[test]
    fn too_long_a_life_and_a_forged_request_are_refused() {
        let root = SelfSigned::generate("cluster.local", NOW).unwrap();
        let (csr, _) = tls::request(&ratings()).unwrap();
        let names = Names::Workload(ratings());
        let try_it = |csr: &str, ttl| issue(&root, csr, &names, ttl, Lifetimes::default(), NOW);
        let long = Duration::from_secs(91 * 24 * 3600);
        assert!(matches!(try_it(&csr, long), Err(IssueError::TooLong { .. })));
        assert!(matches!(try_it("", Duration::ZERO), Err(IssueError::Request(_))));
        // One bit of the signature, which ends the request.
        let mut lines: Vec<String> = csr.lines().map(str::to_owned).collect();
        let body: String = lines[1..lines.len() - 1].concat();
        let mut der = STANDARD.decode(body).unwrap();
        *der.last_mut().unwrap() ^= 1;
        let end = lines.pop().unwrap();
        let forged = format!("{}\n{}\n{end}\n", lines[0], STANDARD.encode(der));
        assert!(matches!(try_it(&forged, Duration::ZERO), Err(IssueError::Request(_))));
    }
}
