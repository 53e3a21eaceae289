//! Secrets, read once: certificates with their keys, roots, revocations.

use ir::{
    Certificate, CertificateSource, DataSource, Secret, SecretRef, SecretValue, Str, TlsCommon,
    Validation,
};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tls::{Credential, Revoked, Trust};

/// What the secrets of a configuration hold, by name.
#[derive(Debug, Default)]
pub struct Secrets(HashMap<Str, Arc<Material>>);

/// One secret as it came, and what could be read of it.
#[derive(Debug)]
pub struct Material {
    from: Arc<Secret>,
    value: Result<Value, String>,
}

#[derive(Debug)]
enum Value {
    Credential(Credential),
    Peers(Peers),
}

/// How peers are checked, with what that takes.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    pub validation: Validation,
    pub trust: Option<Trust>,
    pub revoked: Option<Revoked>,
}

/// In Envoy's words.
const MISSING: &str = "TLS error: Secret is not supplied by SDS";
/// Where systems keep the roots that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Secrets {
    pub fn new(list: &[Arc<Secret>], previous: Option<&Secrets>) -> Self {
        let read = |secret: &Arc<Secret>| {
            let old = previous.and_then(|p| p.0.get(&secret.name)).filter(|m| m.from == *secret);
            let material = old.cloned().unwrap_or_else(|| Arc::new(Material::read(secret)));
            (secret.name.clone(), material)
        };
        Self(list.iter().map(read).collect())
    }

    /// The secrets that a context names, in order.
    pub fn of(&self, common: &TlsCommon) -> Vec<Option<Arc<Material>>> {
        let certificates = common.certificates.iter().filter_map(|c| match c {
            CertificateSource::Sds(secret) => Some(secret),
            CertificateSource::Inline(_) => None,
        });
        let roots = common.validation.as_ref().and_then(|v| v.roots_sds.as_ref());
        certificates.chain(roots).map(|secret| self.0.get(&secret.name).cloned()).collect()
    }

    fn value(&self, name: &Str) -> Result<&Value, String> {
        let material = self.0.get(name).ok_or(MISSING)?;
        material.value.as_ref().map_err(|why| format!("secret {name}: {why}"))
    }

    pub fn credential(&self, source: &CertificateSource) -> Result<Credential, String> {
        match source {
            CertificateSource::Inline(certificate) => read_credential(certificate),
            CertificateSource::Sds(secret) => match self.value(&secret.name)? {
                Value::Credential(credential) => Ok(credential.clone()),
                Value::Peers(_) => Err(format!("secret {} holds no certificate", secret.name)),
            },
        }
    }

    /// The rules of a context, joined with those that come by SDS.
    pub fn peers(&self, validation: &Validation) -> Result<Peers, String> {
        let mut peers = read_peers(validation)?;
        let Some(SecretRef { name, .. }) = &validation.roots_sds else { return Ok(peers) };
        let Value::Peers(more) = self.value(name)? else {
            return Err(format!("secret {name} holds no roots"));
        };
        let joined = &mut peers.validation;
        joined.sans.extend(more.validation.sans.iter().cloned());
        joined.certificate_hashes.extend(more.validation.certificate_hashes.iter().cloned());
        joined.spki_hashes.extend(more.validation.spki_hashes.iter().cloned());
        joined.accept_untrusted |= more.validation.accept_untrusted;
        peers.trust = more.trust.clone().or(peers.trust);
        peers.revoked = more.revoked.clone().or(peers.revoked);
        if peers.trust.is_none() {
            return Err(format!("secret {name} holds no roots"));
        }
        Ok(peers)
    }
}

impl Material {
    fn read(secret: &Arc<Secret>) -> Self {
        let value = match &secret.value {
            SecretValue::Certificate(c) => read_credential(c).map(Value::Credential),
            SecretValue::Validation(v) => read_peers(v).map(Value::Peers),
        };
        Self { from: secret.clone(), value }
    }
}

fn read_credential(certificate: &Certificate) -> Result<Credential, String> {
    let (chain, key) = (text(&certificate.chain)?, text(&certificate.key)?);
    Credential::from_pem(&chain, &key).map_err(|e| e.to_string())
}

fn read_peers(validation: &Validation) -> Result<Peers, String> {
    let trust = match &validation.roots {
        Some(roots) => Some(Trust::from_pem(&text(roots)?).map_err(|e| e.to_string())?),
        None if validation.system_roots => Some(system_roots()?),
        None => None,
    };
    let revoked = match &validation.crl {
        Some(lists) => Some(Revoked::from_pem(&text(lists)?).map_err(|e| e.to_string())?),
        None => None,
    };
    Ok(Peers { validation: validation.clone(), trust, revoked })
}

fn text(source: &DataSource) -> Result<String, String> {
    match source {
        DataSource::File(path) => {
            std::fs::read_to_string(&**path).map_err(|e| format!("{path}: {e}"))
        }
        DataSource::Bytes(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|_| "is not PEM".to_owned())
        }
    }
}

/// Read once in the life of the process.
fn system_roots() -> Result<Trust, String> {
    static ROOTS: OnceLock<Option<Trust>> = OnceLock::new();
    let read = || {
        let bundle = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
        Trust::from_bundle(&bundle).ok()
    };
    let found = ROOTS.get_or_init(read).clone();
    found.ok_or_else(|| format!("no system roots were found, looked for {SYSTEM_ROOTS:?}"))
}
