//! Certificate authorities for tests: leaves with ECDSA or RSA keys, client certificates, lists of what
//! is revoked. What cannot be made ends the test.

pub use rcgen::DnType;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    SignatureAlgorithm,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

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

/// What a test makes is told apart by its serial number, whoever signed it.
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

    /// One that is there already.
    pub fn of_pem(root: &str, key: &str) -> Self {
        let key = KeyPair::from_pem(key).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(root, key).expect("a root");
        Self { root: root.to_owned(), issuer }
    }

    /// The root's key, PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Names with `://` are URIs, the others DNS names or addresses; the first is the subject's.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_of(&[(DnType::CommonName, names[0])], names)
    }

    /// With a subject of its own.
    pub fn leaf_of(&self, subject: &[(DnType, &str)], names: &[&str]) -> Leaf {
        self.sign(&rcgen::PKCS_ECDSA_P256_SHA256, subject, names, None)
    }

    /// Whose life ends then.
    pub fn leaf_until(&self, names: &[&str], end: SystemTime) -> Leaf {
        let subject = [(DnType::CommonName, names[0])];
        self.sign(&rcgen::PKCS_ECDSA_P256_SHA256, &subject, names, Some(end))
    }

    /// Vouched for by nobody else.
    pub fn self_signed(names: &[&str]) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        let uris = names.iter().map(|n| SanType::URI((*n).try_into().expect("a URI")));
        params.subject_alt_names.extend(uris);
        let certificate = params.self_signed(&key).expect("a certificate");
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            public: rcgen::PublicKeyData::subject_public_key_info(&key),
            serial: 0,
        }
    }

    pub fn rsa_leaf(&self, names: &[&str]) -> Leaf {
        self.sign(&rcgen::PKCS_RSA_SHA256, &[(DnType::CommonName, names[0])], names, None)
    }

    fn sign(
        &self,
        algorithm: &'static SignatureAlgorithm,
        subject: &[(DnType, &str)],
        names: &[&str],
        end: Option<SystemTime>,
    ) -> Leaf {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let plain = names.iter().filter(|n| !n.contains("://")).map(|n| (*n).to_owned());
        let mut params = CertificateParams::new(plain.collect::<Vec<_>>()).expect("names");
        let uris = names.iter().filter(|n| n.contains("://"));
        let uris = uris.map(|n| SanType::URI((*n).try_into().expect("a URI")));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        if let Some(end) = end {
            params.not_after = end.into();
        }
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

    /// The list of those that are revoked.
    pub fn revocation_of(&self, leaves: &[&Leaf]) -> String {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: leaves.iter().map(|leaf| revoked(leaf.serial)).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }
}

fn revoked(serial: u64) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: rcgen::date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    }
}
