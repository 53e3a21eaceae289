//! Signing. The names in a certificate come from the caller's proven identity; what the request
//! asks for beyond its public key is ignored.

use base::{SpiffeId, WallTime};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose,
    KeyUsagePurpose, PublicKey, SanType,
};
use std::time::Duration;

/// What a certificate is issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// A workload: one URI name, critical since the subject is empty.
    Workload(SpiffeId),
    /// A server of the control plane, by DNS names.
    Server(Vec<String>),
}

/// How long certificates live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub default: Duration,
    /// A request for more is refused.
    pub max: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { default: Duration::from_secs(24 * 3600), max: Duration::from_secs(90 * 24 * 3600) }
    }
}

/// A signed certificate: PEM, leaf first, the root last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub chain: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the certificate signing request is refused: {0}; send a PKCS#10 request in PEM")]
    Request(String),
    #[error("a validity of {asked:?} is refused: the limit is {limit:?}")]
    TooLong { asked: Duration, limit: Duration },
    #[error("the name {0:?} cannot stand in a certificate")]
    Name(String),
    #[error("signing failed: {0}")]
    Sign(String),
}

/// Signs what `issue` has decided. A plugged-in or remote authority implements this.
pub trait Signer: Send + Sync {
    fn sign(&self, leaf: CertificateParams, key: &PublicKey) -> Result<Issued, IssueError>;
    /// The root that peers verify against, PEM.
    fn root_pem(&self) -> &str;
}

/// The clock of a caller may be behind ours by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Issues a certificate for `names` over the public key of `csr`. A zero `asked` means the default.
pub fn issue(
    signer: &dyn Signer,
    csr_pem: &str,
    names: &Names,
    asked: Duration,
    lifetimes: Lifetimes,
    now: WallTime,
) -> Result<Issued, IssueError> {
    let ttl = if asked.is_zero() { lifetimes.default } else { asked };
    if ttl > lifetimes.max {
        return Err(IssueError::TooLong { asked: ttl, limit: lifetimes.max });
    }
    let csr = CertificateSigningRequestParams::from_pem(csr_pem)
        .map_err(|e| IssueError::Request(e.to_string()))?;
    signer.sign(leaf(names, ttl, now)?, &csr.public_key)
}

fn leaf(names: &Names, ttl: Duration, now: WallTime) -> Result<CertificateParams, IssueError> {
    let ia5 = |s: &str| Ia5String::try_from(s).map_err(|_| IssueError::Name(s.to_owned()));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = match names {
        Names::Workload(id) => vec![SanType::URI(ia5(&id.to_string())?)],
        Names::Server(hosts) => {
            hosts.iter().map(|h| Ok(SanType::DnsName(ia5(h)?))).collect::<Result<_, _>>()?
        }
    };
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let start = std::time::UNIX_EPOCH + Duration::from_nanos(now.0);
    params.not_before = (start - CLOCK_SKEW).into();
    params.not_after = (start + ttl).into();
    Ok(params)
}
