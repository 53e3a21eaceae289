//! The self-made certificate authority of a cluster, kept in its state directory.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use super::jwt::TokenKey;

#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("{path}: {source}; the state directory must be writable by its owner")]
    File { path: PathBuf, source: io::Error },
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS refused the server's own certificate: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the stored {0} cannot be read; remove the state directory's pki folder to make anew")]
    Broken(&'static str),
}

pub struct Authority {
    ca_pem: String,
    ca_key_pem: String,
    pub token_key: TokenKey,
}

impl Authority {
    /// Reads the authority of a state directory, or makes it.
    pub fn open(state_dir: &Path) -> Result<Authority, AuthorityError> {
        let dir = state_dir.join("pki");
        fs::create_dir_all(&dir).map_err(|source| file_error(&dir, source))?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() || !key.exists() {
            let (certificate_pem, key_pem) = make_ca()?;
            write_private(&key, key_pem.as_bytes())?;
            write_private(&certificate, certificate_pem.as_bytes())?;
        }
        let token_key = dir.join("sa.key");
        if !token_key.exists() {
            let key = TokenKey::generate().ok_or(AuthorityError::Broken("token key"))?;
            write_private(&token_key, STANDARD.encode(key).as_bytes())?;
        }
        let token_key = STANDARD
            .decode(read(&token_key)?.trim())
            .ok()
            .and_then(|bytes| TokenKey::load(&bytes))
            .ok_or(AuthorityError::Broken("token key (pki/sa.key)"))?;
        Ok(Authority { ca_pem: read(&certificate)?, ca_key_pem: read(&key)?, token_key })
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's TLS settings, with a fresh certificate for these names and addresses.
    pub fn server_config(&self, names: &[String]) -> Result<rustls::ServerConfig, AuthorityError> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = distinguished("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(params)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca_der()?)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|_| AuthorityError::Broken("certificate authority (pki/ca.crt)"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| AuthorityError::Broken("server key"))?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| AuthorityError::Broken("server certificate"))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate, self.ca_der()?], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// A client certificate (PEM, with its key) for a user in a group.
    pub fn client_certificate(
        &self,
        user: &str,
        group: &str,
    ) -> Result<(String, String), AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(user, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<(String, String), AuthorityError> {
        let ca_key = KeyPair::from_pem(&self.ca_key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem, ca_key)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn ca_der(&self) -> Result<CertificateDer<'static>, AuthorityError> {
        CertificateDer::from_pem_slice(self.ca_pem.as_bytes())
            .map_err(|_| AuthorityError::Broken("certificate authority (pki/ca.crt)"))
    }
}

/// The kubeconfig of the administrator. The caller writes it with mode 0600.
pub fn admin_kubeconfig(state_dir: &Path, server_url: &str) -> Result<String, AuthorityError> {
    let authority = Authority::open(state_dir)?;
    let dir = state_dir.join("pki");
    let (certificate, key) = (dir.join("admin.crt"), dir.join("admin.key"));
    if !certificate.exists() || !key.exists() {
        let (certificate_pem, key_pem) =
            authority.client_certificate("kubernetes-admin", "system:masters")?;
        write_private(&key, key_pem.as_bytes())?;
        write_private(&certificate, certificate_pem.as_bytes())?;
    }
    let encoded = |text: String| STANDARD.encode(text);
    Ok(format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lateen\nclusters:\n- name: lateen\n  cluster:\n    \
         server: {server_url}\n    certificate-authority-data: {}\ncontexts:\n- name: lateen\n  context:\n    \
         cluster: lateen\n    user: lateen-admin\nusers:\n- name: lateen-admin\n  user:\n    \
         client-certificate-data: {}\n    client-key-data: {}\n",
        encoded(authority.ca_pem.clone()),
        encoded(read(&certificate)?),
        encoded(read(&key)?),
    ))
}

fn make_ca() -> Result<(String, String), AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished("lateen-cluster-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn distinguished(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    if let Some(group) = group {
        distinguished.push(DnType::OrganizationName, group);
    }
    distinguished
}

/// Writes a file whole or not at all, readable by its owner only.
fn write_private(path: &Path, content: &[u8]) -> Result<(), AuthorityError> {
    let error = |source| file_error(path, source);
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(error)?;
    file.write_all(content).map_err(error)?;
    file.sync_all().map_err(error)?;
    fs::rename(&temporary, path).map_err(error)
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::File { path: path.to_owned(), source }
}
