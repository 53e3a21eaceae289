//! How a data plane checks a peer: by the rules of its configuration, which name roots, revocations,
//! alternative names and fingerprints. The first rule that does not hold refuses the peer.

use crate::chain::{self, ChainError, Role};
use crate::possession::proof_of_possession;
use crate::{NameRule, Names, Revoked, Trust};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, OtherError};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// What a peer's certificate must be.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// Without roots the chain is not looked at.
    pub trust: Option<Trust>,
    pub revoked: Option<Revoked>,
    /// One of these must hold, if there are any.
    pub names: Vec<NameRule>,
    /// Instead, the name that was dialled must stand in the certificate.
    pub dialled_name: bool,
    /// SHA-256 of the certificate; one must be it.
    pub fingerprints: Vec<[u8; 32]>,
    /// SHA-256 of its public key, likewise.
    pub keys: Vec<[u8; 32]>,
    /// Every certificate passes.
    pub accept_untrusted: bool,
}

/// Why a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("X509_verify_cert: certificate verification error at depth 0: {0}")]
    Chain(#[from] ChainError),
    #[error("SAN matcher, certificate SANs are [{0}]")]
    Names(String),
    #[error("verify hash")]
    Fingerprint,
    #[error("the certificate cannot be read")]
    Unreadable,
}

impl PeerRules {
    /// Fingerprints as configurations write them: hexadecimal, with colons or without.
    pub fn fingerprint(text: &str) -> Option<[u8; 32]> {
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
        let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let pairs: Option<Vec<u8>> =
            digits.chunks(2).map(|p| Some(digit(p[0])? << 4 | digit(*p.get(1)?)?)).collect();
        pairs?.try_into().ok()
    }

    /// The digest of a public key as configurations write it: base64.
    pub fn key_digest(text: &str) -> Option<[u8; 32]> {
        STANDARD.decode(text).ok()?.try_into().ok()
    }

    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: Option<&str>,
        role: Role,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        if self.accept_untrusted {
            return Ok(());
        }
        if let Some(trust) = &self.trust {
            chain::verify(leaf, intermediates, trust, self.revoked.as_ref(), role, now)?;
        }
        if self.dialled_name || !self.names.is_empty() {
            let names = Names::of(leaf).ok_or(Refusal::Unreadable)?;
            let holds = match dialled.filter(|_| self.dialled_name) {
                Some(host) => names.cover(host),
                None => self.names.iter().any(|rule| rule.holds(&names)),
            };
            if !holds {
                return Err(Refusal::Names(names.to_string()));
            }
        }
        self.check_fingerprints(leaf)
    }

    fn check_fingerprints(&self, leaf: &CertificateDer<'_>) -> Result<(), Refusal> {
        if self.fingerprints.is_empty() && self.keys.is_empty() {
            return Ok(());
        }
        let (_, cert) =
            x509_parser::parse_x509_certificate(leaf).map_err(|_| Refusal::Unreadable)?;
        let known = self.fingerprints.contains(&sha256(leaf))
            || self.keys.contains(&sha256(cert.public_key().raw));
        if known { Ok(()) } else { Err(Refusal::Fingerprint) }
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// In lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |b: u8| char::from(DIGITS[usize::from(b & 15)]);
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.extend([digit(byte >> 4), digit(*byte)]);
    }
    out
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        let alert = match &refusal {
            Refusal::Chain(ChainError::Expired) => CertificateError::Expired,
            Refusal::Chain(ChainError::NotYetValid) => CertificateError::NotValidYet,
            Refusal::Chain(ChainError::Revoked) => CertificateError::Revoked,
            Refusal::Chain(ChainError::UnknownIssuer) => CertificateError::UnknownIssuer,
            _ => CertificateError::Other(OtherError(Arc::new(refusal))),
        };
        rustls::Error::InvalidCertificate(alert)
    }
}

/// The rules as rustls asks for them.
#[derive(Debug)]
pub(crate) struct PeerCheck {
    rules: PeerRules,
    /// Clients: the handshake fails without a certificate.
    mandatory: bool,
    /// Clients: the roots whose certificates are asked for.
    hints: Vec<DistinguishedName>,
}

impl PeerCheck {
    pub fn of_servers(rules: PeerRules) -> Arc<Self> {
        Arc::new(Self { rules, mandatory: true, hints: Vec::new() })
    }

    pub fn of_clients(rules: PeerRules, mandatory: bool) -> Arc<Self> {
        let hints = rules.trust.as_ref().map(|t| t.roots.subjects()).unwrap_or_default();
        Arc::new(Self { rules, mandatory, hints })
    }
}

impl ServerCertVerifier for PeerCheck {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.rules.check(leaf, intermediates, Some(&name.to_str()), Role::Server, now)?;
        Ok(ServerCertVerified::assertion())
    }

    proof_of_possession!();
}

impl ClientCertVerifier for PeerCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.rules.check(leaf, intermediates, None, Role::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    proof_of_possession!();
}
