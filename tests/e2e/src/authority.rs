//! Certificate authorities for tests: leaves with ECDSA or RSA keys, client certificates, lists of what
//! is revoked; written to files where programs want files.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    SignatureAlgorithm,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Authority {
    /// The root's certificate, PEM.
    pub root: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub chain: String,
    pub key: String,
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Its public key as it stands in it (SubjectPublicKeyInfo).
    pub public: Vec<u8>,
    serial: u64,
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").pem();
        Self { root, issuer: Issuer::new(params, key) }
    }

    /// Names with `://` are URIs, the others DNS names or addresses; the first is the subject's.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(&rcgen::PKCS_ECDSA_P256_SHA256, names)
    }

    pub fn rsa_leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(&rcgen::PKCS_RSA_SHA256, names)
    }

    fn leaf_with(&self, algorithm: &'static SignatureAlgorithm, names: &[&str]) -> Leaf {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let plain = names.iter().filter(|n| !n.contains("://")).map(|n| (*n).to_owned());
        let mut params = CertificateParams::new(plain.collect::<Vec<_>>()).expect("names");
        let uris = names.iter().filter(|n| n.contains("://"));
        let uris = uris.map(|n| SanType::URI((*n).try_into().expect("a URI")));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            public: rcgen::PublicKeyData::subject_public_key_info(&key),
            serial,
        }
    }

    pub fn revocation_of(&self, leaf: &Leaf) -> String {
        let before = rcgen::date_time_ymd(2020, 1, 1);
        let params = CertificateRevocationListParams {
            this_update: before,
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(leaf.serial),
                revocation_time: before,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }
}

/// A directory of PEM files.
pub struct Files(pub PathBuf);

impl Files {
    pub fn new(dir: PathBuf) -> Files {
        std::fs::create_dir_all(&dir).expect("a directory of our own");
        Files(dir)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path: &Path = &self.0.join(name);
        std::fs::write(path, text).expect("a directory of our own");
        path.display().to_string()
    }
}
