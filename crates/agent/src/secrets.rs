//! The secrets that a pod has itself and no control plane brings: the workload's certificate and its
//! roots, and what lies in files of the pod. A data plane names them as Istio's does: `default`,
//! `ROOTCA`, `file-cert:CHAIN~KEY`, `file-root:ROOTS`.

use crate::identity::{Identity, Issued};
use bytes::Bytes;
use ir::{Certificate, Config, DataSource, Secret, SecretRef, SecretValue, Str, Validation};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Files are looked at this often.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Secrets {
    identity: Identity,
}

/// Waits for the next moment at which a secret may be another.
pub struct Follower(watch::Receiver<Option<Arc<Issued>>>);

impl Secrets {
    pub fn new(identity: Identity) -> Self {
        Self { identity }
    }

    pub fn follow(&self) -> Follower {
        Follower(self.identity.follow())
    }

    /// A configuration with those secrets of ours that it names and that are there. What is as it was
    /// in `before` is the same value.
    pub fn complete(&self, config: &Config, before: &Config) -> Config {
        let mut complete = config.clone();
        for SecretRef { name, .. } in xds::secrets_elsewhere(config) {
            let Some(value) = self.value(&name) else { continue };
            let old = before.secrets.iter().find(|s| s.name == name && s.value == value);
            let new = || Arc::new(Secret { name: name.clone(), value: value.clone() });
            complete.secrets.push(old.cloned().unwrap_or_else(new));
        }
        complete
    }

    /// The first secret that a configuration names and that is not there yet, though it will come.
    pub fn missing(&self, config: &Config) -> Option<Str> {
        let named = xds::secrets_elsewhere(config).into_iter().map(|secret| secret.name);
        let coming = |name: &Str| matches!(&**name, "default" | "ROOTCA");
        named.filter(coming).find(|name| self.value(name).is_none())
    }

    /// What is there under this name now.
    pub fn value(&self, name: &str) -> Option<SecretValue> {
        match name {
            "default" => {
                let issued = self.identity.current()?;
                Some(certificate(issued.chain.clone(), issued.key.clone()))
            }
            "ROOTCA" => Some(roots(self.identity.current()?.roots.clone())),
            _ => from_files(name),
        }
    }
}

impl Follower {
    pub async fn changed(&mut self) {
        tokio::select! {
            changed = self.0.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn from_files(name: &str) -> Option<SecretValue> {
    if let Some((chain, key)) = name.strip_prefix("file-cert:").and_then(|f| f.split_once('~')) {
        return Some(certificate(read(chain)?, read(key)?));
    }
    Some(roots(read(name.strip_prefix("file-root:")?)?))
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .inspect_err(|error| tracing::warn!(%error, path, "a secret's file cannot be read"))
        .ok()
}

fn certificate(chain: String, key: String) -> SecretValue {
    SecretValue::Certificate(Certificate { chain: bytes(chain), key: bytes(key) })
}

fn roots(pem: String) -> SecretValue {
    SecretValue::Validation(Validation { roots: Some(bytes(pem)), ..Validation::default() })
}

fn bytes(text: String) -> DataSource {
    DataSource::Bytes(Bytes::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{Cluster, Discovery, UpstreamTls};

    #[test]
    fn a_configuration_gets_what_it_names_and_keeps_what_is_unchanged() {
        let dir = std::env::temp_dir().join(format!("lateen-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("roots.pem").display().to_string();
        let mut tls = UpstreamTls::default();
        let name = format!("file-root:{file}");
        let roots_sds = Some(SecretRef::of_agent(name.as_str()));
        tls.common.validation = Some(Validation { roots_sds, ..Validation::default() });
        tls.common.certificates = vec![ir::CertificateSource::Sds(SecretRef::of_agent("default"))];
        let mut cluster = Cluster::new("a", Discovery::OriginalDst);
        cluster.tls = Some(tls);
        let config = Config { clusters: vec![Arc::new(cluster)], ..Config::default() };
        let secrets = Secrets::new(Identity::default());
        let empty = secrets.complete(&config, &Config::default());
        assert_eq!(empty.secrets, []);
        assert_eq!(secrets.missing(&config).as_deref(), Some("default"));
        std::fs::write(&file, "one").unwrap();
        let one = secrets.complete(&config, &empty);
        assert_eq!(one.secrets.len(), 1);
        assert_eq!(*one.secrets[0].name, *name);
        let same = secrets.complete(&config, &one);
        assert!(Arc::ptr_eq(&same.secrets[0], &one.secrets[0]));
        std::fs::write(&file, "two").unwrap();
        assert_ne!(secrets.complete(&config, &one).secrets, one.secrets);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
