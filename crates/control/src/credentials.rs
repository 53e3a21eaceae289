//! Kubernetes Secrets as credentials of gateways: read and checked once, when they come, so that what
//! is told to a proxy is usable and what is not has its reason.

use bytes::Bytes;
use ir::{Certificate, DataSource, SecretValue, Validation};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tls::{Credential, Revoked, Trust};

/// The keys that matter, in both spellings: those of `kubernetes.io/tls` and of generic Secrets.
const CHAIN: [&str; 2] = ["tls.crt", "cert"];
const KEY: [&str; 2] = ["tls.key", "key"];
const ROOTS: [&str; 2] = ["ca.crt", "cacert"];
const REVOKED: [&str; 2] = ["ca.crl", "crl"];

/// What one Secret holds for TLS. Shared by all worlds in which it is the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Material {
    data: Arc<BTreeMap<&'static str, String>>,
    pub certificate: Part,
    pub roots: Part,
}

/// One of the two things that a Secret can be used for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Absent,
    /// There, and not usable, for this reason.
    Broken(String),
    Usable(SecretValue),
}

impl Material {
    /// `None` where the Secret has nothing to do with TLS.
    pub fn read(object: &Value) -> Option<Material> {
        let data = &object["data"];
        let keys = [CHAIN, KEY, ROOTS, REVOKED].into_iter().flatten();
        let kept: BTreeMap<&'static str, String> =
            keys.filter_map(|key| Some((key, decode(data[key].as_str()?)?))).collect();
        if kept.is_empty() {
            return None;
        }
        let (certificate, roots) = (certificate(&kept), roots(&kept));
        Some(Material { data: Arc::new(kept), certificate, roots })
    }

    /// The same bytes: nothing has to be read again.
    pub fn is_of(&self, object: &Value) -> bool {
        let data = &object["data"];
        let keys = [CHAIN, KEY, ROOTS, REVOKED].into_iter().flatten();
        keys.map(|key| (key, data[key].as_str().and_then(decode)))
            .all(|(key, value)| self.data.get(key) == value.as_ref())
    }
}

fn certificate(data: &BTreeMap<&'static str, String>) -> Part {
    match (either(data, CHAIN), either(data, KEY)) {
        (Some(chain), Some(key)) => match Credential::from_pem(chain, key) {
            Ok(_) => Part::Usable(SecretValue::Certificate(Certificate {
                chain: inline(chain),
                key: inline(key),
            })),
            Err(error) => Part::Broken(error.to_string()),
        },
        (None, None) => Part::Absent,
        (Some(_), None) => Part::Broken("there is no tls.key (or key) in it".to_owned()),
        (None, Some(_)) => Part::Broken("there is no tls.crt (or cert) in it".to_owned()),
    }
}

fn roots(data: &BTreeMap<&'static str, String>) -> Part {
    let Some(roots) = either(data, ROOTS) else { return Part::Absent };
    let revoked = either(data, REVOKED);
    if let Err(error) = Trust::from_pem(roots) {
        return Part::Broken(error.to_string());
    }
    if let Some(Err(error)) = revoked.map(Revoked::from_pem) {
        return Part::Broken(error.to_string());
    }
    Part::Usable(SecretValue::Validation(Validation {
        roots: Some(inline(roots)),
        crl: revoked.map(inline),
        ..Validation::default()
    }))
}

fn either<'a>(data: &'a BTreeMap<&'static str, String>, keys: [&str; 2]) -> Option<&'a str> {
    keys.into_iter().find_map(|key| data.get(key)).map(String::as_str)
}

fn inline(pem: &str) -> DataSource {
    DataSource::Bytes(Bytes::copy_from_slice(pem.as_bytes()))
}

fn decode(base64: &str) -> Option<String> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    String::from_utf8(bytes).ok()
}
