//! The certificates that generated objects name, made anew for each run: `ca` signs `server`, `client`
//! and `up`, the upstreams' own; `other` signs nothing.

use ::tls::Credential;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How objects name the directory.
pub const WRITTEN: &str = "/etc/certs/";

#[derive(Clone, Debug)]
pub struct Certificates(PathBuf);

impl Certificates {
    pub fn make(dir: &Path) -> io::Result<Self> {
        let this = Self(dir.join("certs"));
        std::fs::create_dir_all(&this.0)?;
        let ca = authority("ca")?;
        let other = authority("other")?;
        this.write("ca.pem", &ca.0)?;
        this.write("other.pem", &other.0)?;
        this.write("ca.crl", &no_revocations(&ca.1)?)?;
        this.leaf("server", &ca.1, &["*.example", "spiffe://edge/sa"])?;
        this.leaf("client", &ca.1, &["client.example", "spiffe://up/sa"])?;
        let up = ["up.example", "spiffe://up/sa", "one", "many", "wide", "stray.example"];
        this.leaf("up", &ca.1, &up)?;
        Ok(this)
    }

    /// Where a path of an object is on this machine.
    pub fn real(&self, written: &str) -> String {
        match written.strip_prefix(WRITTEN) {
            Some(file) => self.0.join(file).display().to_string(),
            None => written.to_owned(),
        }
    }

    pub fn client(&self) -> io::Result<Credential> {
        let file = |name: &str| std::fs::read_to_string(self.0.join(name));
        Credential::from_pem(&file("client.pem")?, &file("client.key")?).map_err(io::Error::other)
    }

    /// An upstream's side, which asks for a client certificate and does without one.
    pub fn upstream(&self, alpn: &[u8]) -> io::Result<Arc<ServerConfig>> {
        let (chain, key) = self.read("up")?;
        let mut roots = RootCertStore::empty();
        let root =
            CertificateDer::from_pem_file(self.0.join("ca.pem")).map_err(io::Error::other)?;
        roots.add(root).map_err(io::Error::other)?;
        let provider = ::tls::provider();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(config))
    }

    fn leaf(&self, name: &str, by: &Issuer<'_, KeyPair>, names: &[&str]) -> io::Result<()> {
        let hosts = names.iter().filter(|n| !n.contains("://")).map(|n| (*n).to_owned());
        let mut params =
            CertificateParams::new(hosts.collect::<Vec<_>>()).map_err(io::Error::other)?;
        for uri in names.iter().filter(|n| n.contains("://")) {
            let uri = (*uri).try_into().map_err(io::Error::other)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let chain = params.signed_by(&key, by).map_err(io::Error::other)?.pem();
        self.write(&format!("{name}.pem"), &chain)?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        std::fs::write(self.0.join(file), text)
    }

    fn read(
        &self,
        name: &str,
    ) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::from_pem_file(self.0.join(format!("{name}.pem")));
        let key = PrivateKeyDer::from_pem_file(self.0.join(format!("{name}.key")));
        Ok((vec![chain.map_err(io::Error::other)?], key.map_err(io::Error::other)?))
    }
}

fn authority(name: &str) -> io::Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let root = params.self_signed(&key).map_err(io::Error::other)?.pem();
    Ok((root, Issuer::new(params, key)))
}

fn no_revocations(by: &Issuer<'_, KeyPair>) -> io::Result<String> {
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).map_err(io::Error::other)?.pem().map_err(io::Error::other)
}
