//! What is to be signed. The names in a certificate come from the caller's proven identity; what the
//! request asks for beyond its public key is ignored.

use crate::roots::Pace;
use base::{SpiffeId, WallTime};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, ExtendedKeyUsagePurpose,
    KeyUsagePurpose, PublicKey, SanType,
};
use rustls_pki_types::UnixTime;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, UNIX_EPOCH};

/// What a certificate is issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// A workload: one URI name, critical since the subject is empty.
    Workload(SpiffeId),
    /// A server of the control plane, by DNS names.
    Server(Vec<String>),
}

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A signed certificate: PEM, leaf first, then intermediates; last, in one piece, the roots that peers
/// are to be verified against.
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

pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Issued, IssueError>> + Send + 'a>>;

/// An authority as it is at one moment: who signs, and whom peers are to trust.
pub trait Signer: Send + Sync {
    fn issue<'a>(&'a self, order: &'a Order) -> Answer<'a>;
    /// The roots that peers verify against, PEM.
    fn roots(&self) -> String;
    /// For people.
    fn state(&self, pace: Pace) -> State;
}

/// An authority as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub source: &'static str,
    /// Of the rotation.
    pub phase: &'static str,
    /// When the next step comes by itself.
    pub next_at: Option<WallTime>,
    /// What is signed by and what is trusted: what each is there for, and its PEM.
    pub certificates: Vec<(&'static str, String)>,
}

/// A certificate that may be issued: whoever holds one has checked the request and the lifetime.
#[derive(Debug)]
pub struct Order {
    csr: String,
    key: PublicKey,
    names: Names,
    pub ttl: Duration,
    now: WallTime,
}

/// The clock of a caller may be behind ours by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

impl Order {
    /// For `names`, over the public key of `csr_pem`. A zero `asked` means the default.
    pub fn new(
        csr_pem: &str,
        names: Names,
        asked: Duration,
        lifetimes: Lifetimes,
        now: WallTime,
    ) -> Result<Self, IssueError> {
        let ttl = if asked.is_zero() { lifetimes.default } else { asked };
        if ttl > lifetimes.max {
            return Err(IssueError::TooLong { asked: ttl, limit: lifetimes.max });
        }
        let csr = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|e| IssueError::Request(e.to_string()))?;
        Ok(Self { csr: csr_pem.to_owned(), key: csr.public_key, names, ttl, now })
    }

    /// The request, PEM: it proves that who asks has the key, and says nothing else.
    pub fn csr(&self) -> &str {
        &self.csr
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether what somebody else has signed is what was ordered: these names and no others, under these roots.
    pub fn check(&self, chain: &[String], roots: &str) -> Result<(), IssueError> {
        let wrong = |e: &dyn std::fmt::Display| IssueError::Sign(format!("what came back: {e}"));
        let leaf = tls::certificate_chain(&chain.concat()).map_err(|e| wrong(&e))?;
        let (leaf, above) = leaf.split_first().ok_or_else(|| wrong(&"no certificate"))?;
        let names = tls::Names::of(leaf).ok_or_else(|| wrong(&"its names cannot be read"))?;
        let (mut uris, mut hosts) = (names.uris.clone(), names.dns.clone());
        let (expected_uris, mut expected_hosts) = match &self.names {
            Names::Workload(id) => (vec![id.to_string()], Vec::new()),
            Names::Server(hosts) => (Vec::new(), hosts.clone()),
        };
        for list in [&mut uris, &mut hosts, &mut expected_hosts] {
            list.sort();
        }
        if (uris, hosts) != (expected_uris, expected_hosts)
            || !names.emails.is_empty()
            || !names.addresses.is_empty()
        {
            return Err(wrong(&format!("it is for {names}, which was not asked for")));
        }
        let trust = Some(tls::Trust::from_pem(roots).map_err(|e| wrong(&e))?);
        let rules = tls::PeerRules { trust, ..tls::PeerRules::default() };
        let now = UnixTime::since_unix_epoch(Duration::from_nanos(self.now.0));
        rules.check(leaf, above, None, tls::Role::Server, now).map_err(|e| wrong(&e))
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The certificate to sign. It does not outlive who signs it.
    pub(crate) fn leaf(&self, signer_ends: WallTime) -> Result<CertificateParams, IssueError> {
        let ia5 = |s: &str| Ia5String::try_from(s).map_err(|_| IssueError::Name(s.to_owned()));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = match &self.names {
            Names::Workload(id) => vec![SanType::URI(ia5(&id.to_string())?)],
            Names::Server(hosts) => {
                hosts.iter().map(|h| Ok(SanType::DnsName(ia5(h)?))).collect::<Result<_, _>>()?
            }
        };
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let start = UNIX_EPOCH + Duration::from_nanos(self.now.0);
        let end = (start + self.ttl).min(UNIX_EPOCH + Duration::from_nanos(signer_ends.0));
        if end <= start {
            return Err(IssueError::Sign("the authority's own certificate has expired".to_owned()));
        }
        params.not_before = (start - CLOCK_SKEW).into();
        params.not_after = end.into();
        Ok(params)
    }
}
