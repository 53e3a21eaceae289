//! The certificates that generated objects name, made anew for each run: `ca` signs `server`, `client`
//! and `up`, the upstreams' own; `other` signs nothing.

use ::tls::Credential;
use authority::{Authority, DnType};
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
        let ca = Authority::new("ca");
        this.write("ca.pem", &ca.root)?;
        this.write("other.pem", &Authority::new("other").root)?;
        this.write("ca.crl", &ca.revocation_of(&[]))?;
        this.leaf("server", &ca, &["*.example", "spiffe://edge/sa"])?;
        this.leaf("client", &ca, &["client.example", "spiffe://up/sa"])?;
        let up = ["up.example", "spiffe://up/sa", "one", "many", "wide", "stray.example"];
        this.leaf("up", &ca, &up)?;
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

    fn leaf(&self, name: &str, by: &Authority, names: &[&str]) -> io::Result<()> {
        let leaf = by.leaf_of(&[(DnType::CommonName, name)], names);
        self.write(&format!("{name}.pem"), &leaf.chain)?;
        self.write(&format!("{name}.key"), &leaf.key)
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
